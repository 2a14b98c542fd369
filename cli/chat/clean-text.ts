import { stripSequences } from '#core/kit/strip-sequences.ts';

/**
 * Makes text from outside safe to print: escape sequences, control characters and the marks that reverse the reading
 * direction are taken out, because they could rewrite the screen or make a command read as another one.
 */
export function cleanText(text: string): string {
  return (
    stripSequences(text.toWellFormed().replaceAll('\r\n', '\n').replaceAll('\r', '\n'))
      // What the pattern above does not take for a sequence: C0 but tab and newline, DEL, C1.
      .replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '')
      .replaceAll(/[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]/g, '\ufffd')
  );
}

/** The same on one line, for names and labels. */
export function cleanLine(text: string): string {
  return cleanText(text).replaceAll(/\s+/g, ' ').trim();
}

/** Columns a text takes in a terminal, as most terminals count. */
export function textWidth(text: string): number {
  // Most words; telling characters apart takes a hundred times as long.
  if (/^[ -~]*$/.test(text)) return text.length;
  let width = 0;
  for (const { segment } of segmenter.segment(text)) width += segmentWidth(segment);
  return width;
}

/** Cuts text into rows of at most `columns`, at any character: for a preview that is thrown away again. */
export function wrapText(text: string, columns: number): string[] {
  const rows: string[] = [];
  for (const line of text.replaceAll('\t', '  ').split('\n')) {
    let row = '';
    let width = 0;
    for (const { segment } of segmenter.segment(line)) {
      const next = segmentWidth(segment);
      if (width + next > columns) {
        rows.push(row);
        row = '';
        width = 0;
      }
      row += segment;
      width += next;
    }
    rows.push(row);
  }
  return rows;
}

/**
 * Breaks one line of prose between words so that no row is wider than `columns`; rows after the first start under the
 * text of a list item. Styles are kept and take no room. A word that is too long is left to the terminal.
 */
export function wrapWords(line: string, columns: number): string {
  const indent = ' '.repeat(/^\s*(?:(?:[•│]|\d+[.)]) (?:[☐☑] )?)?/.exec(stripSequences(line))?.[0].length ?? 0);
  let wrapped = '';
  let width = 0;
  for (const [index, word] of line.split(' ').entries()) {
    const wordWidth = textWidth(stripSequences(word));
    if (index > 0 && width + 1 + wordWidth > columns && width > indent.length) {
      wrapped += `\n${indent}${word}`;
      width = indent.length + wordWidth;
    } else {
      wrapped += index > 0 ? ` ${word}` : word;
      width += (index > 0 ? 1 : 0) + wordWidth;
    }
  }
  return wrapped;
}

const segmenter = new Intl.Segmenter();
const wide =
  /\p{Emoji_Presentation}|\ufe0f|[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97c\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}]/u;

function segmentWidth(segment: string): number {
  if (/^[ -~]$/.test(segment)) return 1;
  if (/^\p{M}+$/u.test(segment)) return 0;
  return wide.test(segment) ? 2 : 1;
}
