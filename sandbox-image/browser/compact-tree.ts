/** Longest address shown with a link. */
const addressMax = 160;

interface Level {
  /** Depth in the text that came in. */
  readonly given: number;
  /** Depth in the text that goes out. */
  readonly shown: number;
}

/**
 * A page's accessibility tree for a model, in fewer words: containers that only group are left out and their children
 * moved up, and references stay only on what can be acted on. Depth is two spaces a level, as it comes in.
 */
export function compactTree(tree: string): string {
  const lines: string[] = [];
  const open: Level[] = [];
  for (const line of tree.split('\n')) {
    const text = line.trimStart();
    if (text === '') continue;
    const given = line.length - text.length;
    while ((open.at(-1)?.given ?? -1) >= given) open.pop();
    const above = open.at(-1);
    const shown = above === undefined ? 0 : above.shown;
    const isPlain = /^- (generic|group|none|presentation)( \[(active|ref=[a-z0-9]+)\])*:?$/.test(text);
    if (isPlain) {
      open.push({ given, shown });
      continue;
    }
    lines.push(' '.repeat(shown) + shorten(text));
    open.push({ given, shown: shown + 2 });
  }
  return lines.join('\n');
}

function shorten(text: string): string {
  const url = /^- \/url: (.*)$/.exec(text)?.[1];
  if (url !== undefined) return `- /url: ${url.length > addressMax ? `${url.slice(0, addressMax)}…` : url}`;
  const [head = '', ...rest] = splitQuoted(text);
  const canAct =
    text.includes('[cursor=pointer]') ||
    !/^- '?(generic|paragraph|heading|text|list|listitem|row|rowgroup|table|cell|img|main|navigation|banner|contentinfo|region|article|strong|emphasis|time)\b/.test(
      text,
    );
  const marks = rest.join('').replace(' [cursor=pointer]', '').replace(' [active]', '');
  return head + (canAct ? marks : marks.replace(/ \[ref=[a-z0-9]+\]/, ''));
}

/** The role and the quoted name, which is the page's and may hold anything, then the marks behind it. */
function splitQuoted(text: string): readonly string[] {
  const found = /^(- '?[a-z]+(?: "(?:[^"\\]|\\.)*")?)((?: \[[^\]]*\])*)(.*)$/s.exec(text);
  return found === null ? [text] : [found[1] ?? '', found[2] ?? '', found[3] ?? ''];
}
