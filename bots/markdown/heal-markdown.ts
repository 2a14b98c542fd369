/**
 * Completes Markdown that is still being written, so that a preview shows styles instead of markers: open fences,
 * emphasis and inline code are closed, a half-written link shows its label. The final text never passes through here.
 */
export function healMarkdown(source: string): string {
  const fence = openFence(source);
  if (fence !== undefined) return `${source.replace(/\n[`~]{1,2}$/, '')}\n${fence}`;
  const paragraph = source.lastIndexOf('\n\n');
  const start = Math.max(paragraph === -1 ? 0 : paragraph + 2, source.length - tailMax, 0);
  return source.slice(0, start) + healInline(source.slice(start));
}

/** Only the tail of the last paragraph is healed: longer emphasis is rare, and time stays bounded for any input. */
const tailMax = 4_000;

/** The fence that would close the code block the text ends in; undefined outside of code. */
export function openFence(source: string): string | undefined {
  let open: string | undefined;
  for (const match of source.matchAll(/^ {0,3}(?:(?:>|[-+*]|\d{1,9}[.)]) {0,4}){0,12}(`{3,}|~{3,})([^\n]*)$/gm)) {
    const [, marks = '', info = ''] = match;
    if (open === undefined) {
      if (!(marks.startsWith('`') && info.includes('`'))) open = marks;
    } else if (marks[0] === open[0] && marks.length >= open.length && info.trim() === '') open = undefined;
  }
  return open;
}

function healInline(tail: string): string {
  // A marker that was just begun says nothing yet, and neither does a link without its end.
  let text = tail.replace(/(?:^|(?<=\s))(?:\*{1,3}|_{1,3}|~{1,2}|`{1,2}|!?\[)$/, '');
  text = text.replace(/!?\[([^\]\n]{0,200})\]\([^)\s]*$/, '$1').replace(/!?\[([^\]\n]{0,200})$/, '$1');
  const open: string[] = [];
  for (let index = 0; index < text.length; ) {
    const unit = text[index];
    if (unit === '\\') {
      index += 2;
    } else if (unit === '`') {
      const run = runLength(text, index);
      const close = text.indexOf('`'.repeat(run), index + run);
      if (close === -1) return `${text}${'`'.repeat(run)}${open.reverse().join('')}`;
      index = close + run;
    } else if (unit === '*' || unit === '_' || unit === '~') {
      const run = runLength(text, index);
      const isUsed = toggle(open, text, index, run);
      // Half of a closing marker: the other half is about to come.
      if (!isUsed && index + run === text.length) text = text.slice(0, index);
      index += run;
    } else index += 1;
  }
  // A closing marker must touch a word: "**bold " + "**" would stay literal.
  return open.length === 0 ? text : text.trimEnd() + open.reverse().join('');
}

function runLength(text: string, index: number): number {
  let end = index;
  while (text[end] === text[index]) end += 1;
  return end - index;
}

/** Opens or closes emphasis at a run of markers; false when the run is neither. */
function toggle(open: string[], text: string, index: number, run: number): boolean {
  const marker = text.slice(index, index + run);
  const before = text[index - 1] ?? ' ';
  const after = text[index + run] ?? ' ';
  if ((marker[0] === '~' && run !== 2) || run > 3) return false;
  const last = /\s/.test(before) ? -1 : open.lastIndexOf(marker);
  if (last !== -1) {
    open.length = last;
    return true;
  }
  const isInsideWord = marker[0] === '_' && /\w/.test(before);
  if (/\s/.test(after) || isInsideWord) return false;
  open.push(marker);
  return true;
}
