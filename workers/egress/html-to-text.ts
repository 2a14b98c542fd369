/** Elements whose content is no text of the page. */
const silent: readonly string[] = [
  'script',
  'style',
  'template',
  'noscript',
  'svg',
  'iframe',
  'object',
  'head',
  'textarea',
  'select',
];
/** Elements that go on in the same line. */
const inline = new Set(
  'a abbr acronym b bdi bdo big cite code data del dfn em font i img ins kbd label mark q s samp small span strong sub sup time tt u var wbr'.split(
    ' ',
  ),
);
const entities: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
  nbsp: ' ',
  ndash: '–',
  mdash: '—',
  hellip: '…',
  lsquo: '‘',
  rsquo: '’',
  ldquo: '“',
  rdquo: '”',
  copy: '©',
  reg: '®',
  euro: '€',
  middot: '·',
  bull: '•',
  laquo: '«',
  raquo: '»',
  times: '×',
  shy: '',
};

/**
 * The text of an HTML page by one walk over its characters: no tree is built, so no nesting can make it slow. For pages
 * that the reader cannot take.
 */
export function htmlToText(html: string): string {
  const parts: string[] = [];
  const lower = html.toLowerCase();
  let at = 0;
  while (at < html.length) {
    const open = html.indexOf('<', at);
    if (open === -1) {
      parts.push(html.slice(at));
      break;
    }
    parts.push(html.slice(at, open));
    if (html.startsWith('<!--', open)) {
      const end = html.indexOf('-->', open + 4);
      at = end === -1 ? html.length : end + 3;
      continue;
    }
    const name = nameAt(lower, open);
    if (name === undefined) {
      parts.push('<');
      at = open + 1;
      continue;
    }
    const close = html.indexOf('>', open);
    if (close === -1) break;
    at = close + 1;
    if (silent.includes(name) && html[close - 1] !== '/') {
      const end = lower.indexOf(`</${name}`, at);
      at = end === -1 ? html.length : end;
    } else if (!inline.has(name.replace('/', ''))) parts.push('\n');
  }
  return tidy(decodeEntities(parts.join('')));
}

/** The page's title, as far as it says one. */
export function titleOf(html: string): string | undefined {
  const start = /<title[^>]{0,200}>/i.exec(html.slice(0, 200_000));
  if (start === null) return undefined;
  const from = start.index + start[0].length;
  const end = html.indexOf('<', from);
  const title = tidy(decodeEntities(html.slice(from, end === -1 ? from + 300 : Math.min(end, from + 300))));
  return title === '' ? undefined : title;
}

function nameAt(lower: string, open: number): string | undefined {
  return /^<(\/?[a-z][a-z0-9-]{0,30}|!doctype|\?xml)/.exec(lower.slice(open, open + 40))?.[1];
}

function decodeEntities(text: string): string {
  return text.replaceAll(/&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]{2,8}));/gi, (whole, decimal, hex, name) => {
    if (typeof name === 'string') return entities[name.toLowerCase()] ?? whole;
    const code = typeof decimal === 'string' ? Number(decimal) : Number.parseInt(String(hex), 16);
    return code > 0 && code <= 0x10_ff_ff && !(code >= 0xd8_00 && code <= 0xdf_ff) ? String.fromCodePoint(code) : '';
  });
}

function tidy(text: string): string {
  return text
    .replaceAll(/[^\S\n]+/g, ' ')
    .split('\n')
    .map((line) => line.trim())
    .join('\n')
    .replaceAll(/\n{3,}/g, '\n\n')
    .trim();
}
