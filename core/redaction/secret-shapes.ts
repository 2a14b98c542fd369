import type { Span } from './known-scan.ts';

/** A kind of credential that can be told by its shape alone. */
export interface SecretShape {
  readonly what: string;
  /** Global. A group named `secret` is what must not be seen; without one the whole match is. */
  readonly pattern: RegExp;
}

const keyMark = /-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----/g;

/**
 * Shapes of credentials that are unmistakable: a prefix of the vendor's own, or a key block. A word that merely looks
 * random is not among them, because commit hashes and ids look the same.
 */
export const vendorShapes: readonly SecretShape[] = [
  { what: 'a private key', pattern: keyMark },
  { what: 'an Anthropic key', pattern: /\bsk-ant-[\w-]{20,}/g },
  { what: 'an OpenAI key', pattern: /\bsk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,}/g },
  { what: 'a Slack token', pattern: /\bx(?:ox[abeprs]|app)-[\w-]{10,}/g },
  { what: 'a GitHub token', pattern: /\b(?:gh[opusr]_[A-Za-z0-9]{30,}|github_pat_\w{30,})/g },
  { what: 'a GitLab token', pattern: /\bglpat-[\w-]{20,}/g },
  { what: 'an AWS key', pattern: /\b(?:AKIA|ASIA)[0-9A-Z]{16}\b/g },
  { what: 'a Google key', pattern: /\bAIza[\w-]{35}\b/g },
  { what: 'a Stripe key', pattern: /\b[rs]k_live_[A-Za-z0-9]{20,}/g },
  { what: 'a Telegram bot token', pattern: /\b\d{8,10}:[\w-]{35}\b/g },
  { what: 'a Discord bot token', pattern: /\b[MNO][\w-]{23,27}\.[\w-]{6}\.[\w-]{27,}/g },
  { what: 'an npm token', pattern: /\bnpm_[A-Za-z0-9]{36}\b/g },
  { what: 'a token of ours', pattern: /\bsy_mcp_[\w-]{30,}/g },
];

/** Shapes that are common in harmless talk too: taken out of what is shown and kept, but no reason to refuse a message. */
const quietShapes: readonly SecretShape[] = [
  { what: 'a signed token', pattern: /\beyJ[\w-]{10,500}\.eyJ[\w-]{10,}\.[\w-]{10,}/g },
  { what: 'credentials', pattern: /\b(?:Bearer|Basic)\s{1,4}(?<secret>(?=[^\s"']*\d)[\w.+/~-]{16,}=*)/gi },
  {
    what: 'a password',
    pattern: /\b[a-z][a-z0-9+.-]{1,20}:\/\/[^\s/?#:@"'<>]{0,200}:(?<secret>[^\s/?#@"'<>]{3,200})@/gi,
  },
];

/** What documentation writes in place of a password. */
const placeholders = /^(?:pass(?:word|wd)?|secret|pw|xxx+|\*+|\.{3}|…|\$.*|\{.*|\[redacted.*)$/i;

/**
 * Whether any shape can be in a text, JSON text included: without regard to where words begin, because an escaped line
 * break ends in a letter. Nearly every text ends its way here.
 */
const anyShape =
  /sk-[\w-]{20}|x(?:ox[abeprs]|app)-[\w-]{10}|gh[opusr]_\w{30}|_pat_\w{30}|glpat-|A[KS]IA[0-9A-Z]{16}|AIza[\w-]{35}|k_live_|npm_\w{36}|sy_mcp_[\w-]{30}|\d:[\w-]{35}|\.[\w-]{6}\.[\w-]{27}|eyJ[\w-]{10,500}\.eyJ|PRIVATE KEY-----|(?:earer|EARER|asic|ASIC)\s{1,4}[\w.+/~-]{16}|:\/\/[^\s/?#@"]{0,200}:[^\s/?#@"]{1,200}@/;

/** What may stand in a key block besides its marks. */
const keyBlock = /[A-Za-z0-9+/=\s\\]*/y;
const keyEnd = /-----END (?:[A-Z]+ )*PRIVATE KEY-----/g;
/** Longest key block: RSA with 16,384 bits needs about 13,000 characters. */
const keyCharsMax = 16_384;

/** Whether a text may hold a credential by its shape; never false for one that does. */
export function mayHoldShape(text: string): boolean {
  return anyShape.test(text);
}

/** Calls `found` for every credential that is told by its shape; places may overlap. */
export function findShapes(text: string, found: (span: Span, what: string) => void): void {
  findKeys(text, found);
  for (const { what, pattern } of [...vendorShapes, ...quietShapes]) {
    if (pattern === keyMark) continue;
    for (const match of text.matchAll(pattern)) {
      const secret = match.groups?.['secret'];
      if (secret === undefined) {
        found({ start: match.index, end: match.index + match[0].length }, what);
      } else if (!placeholders.test(secret)) {
        const start = match.index + match[0].lastIndexOf(secret);
        found({ start, end: start + secret.length }, what);
      }
    }
  }
}

/** Key blocks from mark to mark; one without its end is taken as far as it looks like one. */
function findKeys(text: string, found: (span: Span, what: string) => void): void {
  const marks = [...text.matchAll(keyMark)];
  if (marks.length === 0) return;
  const ends = [...text.matchAll(keyEnd)].map((match) => match.index + match[0].length);
  let next = 0;
  for (const mark of marks) {
    const from = mark.index + mark[0].length;
    while ((ends[next] ?? Number.POSITIVE_INFINITY) <= from) next += 1;
    keyBlock.lastIndex = from;
    const open = from + (keyBlock.exec(text)?.[0].length ?? 0);
    const end = ends[next] ?? open;
    found({ start: mark.index, end: end - from <= keyCharsMax ? end : open }, 'a private key');
  }
}

/** What a credential begins with, at the beginning of a word. */
const vendorStarts = ['sk-', 'sk_live_', 'rk_live_', 'xox', 'xapp-', 'github_pat_', 'glpat-', 'AKIA', 'ASIA', 'AIza'];
const starters = [...vendorStarts, 'npm_', 'gho_', 'ghp_', 'ghu_', 'ghs_', 'ghr_', 'eyJ'];
const heads = [...new Set(starters.flatMap((start) => [...start].map((_, index) => start.slice(0, index + 1))))];
const begun = new RegExp(`\\b(?:${starters.join('|')})[\\w.-]*$`);
/** A number that may be a bot's, the first part of a Discord token, a URL, an authorization, a key block. */
const others = [
  /\b\d{1,10}$/,
  /\b\d{8,10}:[\w-]*$/,
  /\b[MNO][\w-]{0,27}(?:\.[\w-]{0,6}(?:\.[\w-]*)?)?$/,
  /\b[a-z][a-z0-9+.-]{1,20}:(?:\/(?:\/[^\s/?#@"'<>]*)?)?$/i,
  /\b(?:Bearer|Basic)\s{0,4}[^\s"']*$/i,
];
const keyHead = '-----BEGIN ';
/** Longer than any credential but a key block. */
const tailCharsMax = 600;

/** Where the end of a text starts that a credential may begin with; its length when there is none. */
export function shapeHeldFrom(text: string): number {
  const offset = Math.max(0, text.length - tailCharsMax);
  const tail = text.slice(offset);
  let from = tail.length;
  for (const pattern of [begun, ...others]) {
    const at = tail.search(pattern);
    if (at !== -1) from = Math.min(from, at);
  }
  for (const head of heads) {
    const at = tail.length - head.length;
    if (at >= 0 && tail.endsWith(head) && !/\w/.test(tail[at - 1] ?? '')) from = Math.min(from, at);
  }
  return Math.min(offset + from, keyHeldFrom(text));
}

function keyHeldFrom(text: string): number {
  const at = text.lastIndexOf(keyHead);
  if (at !== -1 && text.length - at < keyCharsMax) {
    const block = text.slice(at);
    const isKey = /^-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----/.test(block);
    if (isKey && block.search(keyEnd) === -1) return at;
    if (!isKey && /^-----BEGIN (?:[A-Z]+ )*[A-Z]*-{0,5}$/.test(block)) return at;
  }
  const dashes = /-{1,5}(?:B(?:E(?:G(?:I(?:N ?)?)?)?)?)?$/.exec(text.slice(-keyHead.length));
  return dashes === null ? text.length : text.length - dashes[0].length;
}
