/**
 * Completes Markdown that is still being written, so that a preview shows styles instead of markers: open fences,
 * emphasis and inline code are closed, a half-written link shows its label. The final text never passes through here.
 */
export function healMarkdown(source: string): string {
  const fence = openFence(source);
  if (fence !== undefined) return `${source.replace(/\n[`~]{1,2}$/, '')}\n${fence}`;
  const start = Math.max(source.lastIndexOf('\n\n') + 2, source.lastIndexOf('\n', source.length - tailMax) + 1, 0);
  return source.slice(0, start) + healInline(source.slice(start));
}

/** Only the tail of the last paragraph is healed: longer emphasis is rare and the preview is shown for seconds. */
const tailMax = 4_000;

/** The fence that would close the code block the text ends in. */
function openFence(source: string): string | undefined {
  let open: string | undefined;
  for (const match of source.matchAll(/^ {0,3}(?:(?:>|[-+*]|\d{1,9}[.)]) *)*(`{3,}|~{3,})([^\n]*)$/gm)) {
    const [, marks = '', info = ''] = match;
    if (open === undefined) {
      if (!(marks.startsWith('`') && info.includes('`'))) open = marks;
    } else if (marks[0] === open[0] && marks.length >= open.length && info.trim() === '') open = undefined;
  }
  return open;
}

function healInline(tail: string): string {
  // A marker that was just begun says nothing yet.
  let text = tail.replace(/(?:^|(?<=\s))(?:\*{1,3}|_{1,3}|~{1,2}|`{1,2}|!?\[)$/, '');
  text = text.replace(/!?\[([^\]\n]*)\]\([^)\s]*$/, '$1').replace(/!?\[([^\]\n]*)\]?$/, '$1');
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
      toggle(open, text, index, run);
      index += run;
    } else index += 1;
  }
  if (open.length === 0) return text;
  // A closing marker must touch a word: "**bold " + "**" would stay literal.
  const end = text.trimEnd();
  const dangling = /[*_~]+$/.exec(end)?.[0] ?? '';
  if (dangling !== '' && open.join('').endsWith(dangling)) {
    return end.slice(0, -dangling.length) + open.join('').slice(0, -dangling.length).split('').reverse().join('');
  }
  return end + open.reverse().join('');
}

function runLength(text: string, index: number): number {
  let end = index;
  while (text[end] === text[index]) end += 1;
  return end - index;
}

function toggle(open: string[], text: string, index: number, run: number): void {
  const marker = text.slice(index, index + run);
  const before = text[index - 1] ?? ' ';
  const after = text[index + run] ?? ' ';
  if ((marker[0] === '~' && run !== 2) || run > 3) return;
  const canClose = !/\s/.test(before);
  const last = open.lastIndexOf(marker);
  if (canClose && last !== -1) {
    open.length = last;
    return;
  }
  const isInsideWord = marker[0] === '_' && /\w/.test(before);
  if (!/\s/.test(after) && !isInsideWord) open.push(marker);
}
