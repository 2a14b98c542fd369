/** A piece of a stream is held back at most for this many characters of an unfinished link or table row. */
const holdMax = 400;

/**
 * How much of a growing Markdown text may be appended to a stream for good: what is appended cannot be taken back, so
 * that a marker, a link, a table row or a letter of several code units is not cut in two.
 *
 * @param text all of the text so far.
 * @param from how much of it was appended before.
 * @returns the end of what may be appended now, `from` or more.
 */
export function safeCut(text: string, from: number): number {
  let end = text.length;
  // A run of markers may still grow: `*` becomes `**`, two backticks become a fence.
  while (end > from && /[*_~`\\|<!&]/.test(text[end - 1] ?? '')) end -= 1;
  const unit = text.charCodeAt(end - 1);
  const isHalfLetter = unit >= 0xd800 && unit <= 0xdbff;
  // What joins onto a letter later (skin tones, accents, joined emoji) belongs to it.
  if (isHalfLetter || text[end - 1] === '\u200d') end -= 1;
  const lineStart = text.lastIndexOf('\n', end - 1) + 1;
  const line = text.slice(lineStart, end);
  // Of a fence the whole first line, with its language; of a table whole rows.
  if (/^\s*(?:`{3}|~{3}|\|)/.test(line) && text.length - lineStart < holdMax) end = Math.min(end, lineStart);
  else {
    const opened = /!?\[[^\]\n]*(?:\](?:\([^)\n]*)?)?$/.exec(line);
    if (opened !== null && opened[0].length < holdMax) end = Math.min(end, lineStart + opened.index);
  }
  return Math.max(from, end);
}
