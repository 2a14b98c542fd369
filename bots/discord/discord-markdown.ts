import type { Token, Tokens } from 'marked';
import { cleanText, parseMarkdown } from '#bots/markdown/parse-markdown.ts';
import { renderStyled } from '#bots/markdown/render-styled.ts';
import { splitStyled } from '#bots/markdown/split-styled.ts';
import { joinStyled, type Span, type StyledBlock, type StyledText } from '#bots/markdown/styled-text.ts';

export interface DiscordBlocks {
  readonly blocks: readonly StyledBlock[];
  /** The source was too long to be shown in chat; only its head is here. */
  readonly isClipped: boolean;
}

/** Stand for `#`, `##` and `###` at the start of a line; written text never holds these private characters. */
const headingMarks = ['\ue001', '\ue002', '\ue003'] as const;
const privateMarks = /[\ue001-\ue003]/g;

/** Markdown as blocks of styled text, with headings kept for Discord, which shows three sizes of them. */
export function renderBlocks(markdown: string): DiscordBlocks {
  const { tokens, isClipped } = parseMarkdown(markdown.replace(privateMarks, ''));
  // Definitions of reference links stand apart from the blocks that use them.
  const definitions = tokens.flatMap((token) => (token.type === 'def' ? [`\n\n${token.raw}`] : [])).join('');
  const blocks: StyledBlock[] = [];
  let run = '';
  const flush = (): void => {
    if (run !== '') blocks.push(...renderStyled(run + definitions).blocks);
    run = '';
  };
  for (const token of tokens) {
    if (!isHeading(token)) {
      if (token.type !== 'def') run += token.raw;
      continue;
    }
    flush();
    const mark = headingMarks[Math.min(token.depth, 3) - 1] ?? headingMarks[2];
    const title = joinStyled(renderStyled(token.text.replaceAll('\n', ' ') + definitions).blocks.slice(0, 1), '');
    if (title.text !== '') {
      blocks.push({ ...joinStyled([{ text: mark, spans: [] }, title], ''), kind: 'text', headLength: 0 });
    }
  }
  flush();
  return { blocks, isClipped };
}

/** Sizes of a part in styled text that are tried until every part fits once it is written in Discord's Markdown. */
const budgetShares = [1, 0.92, 0.8, 0.65, 0.5, 0.35, 0.2, 0.1];

/**
 * Packs blocks into Discord Markdown of at most `textMax` UTF-16 units each, cut as `splitStyled` cuts.
 * @param mentions ids of the people who may be pinged; every other mention is shown as plain text.
 */
export function splitForDiscord(
  blocks: readonly StyledBlock[],
  textMax: number,
  mentions: ReadonlySet<string>,
): string[] {
  let parts: string[] = [];
  for (const share of budgetShares) {
    parts = splitStyled(blocks, Math.floor(textMax * share)).map((part) => writeDiscord(part, mentions));
    if (parts.every((part) => part.length <= textMax)) return parts;
  }
  return parts.map((part) => part.slice(0, textMax).toWellFormed());
}

/** Writes styled text in Discord's Markdown dialect; whatever is not a style of ours is escaped. */
function writeDiscord(source: StyledText, mentions: ReadonlySet<string>): string {
  return writeRange(source, 0, source.text.length, sorted(source.spans), mentions)
    .replace(/^( *)[•◦] /gm, '$1- ')
    .replace(/^\ue001/gm, '# ')
    .replace(/^\ue002/gm, '## ')
    .replace(/^\ue003/gm, '### ')
    .replace(privateMarks, '');
}

function isHeading(token: Token): token is Tokens.Heading {
  return token.type === 'heading';
}

/** Outer styles before the ones inside them. */
function sorted(spans: readonly Span[]): readonly Span[] {
  return [...spans].sort((a, b) => a.offset - b.offset || b.length - a.length);
}

function writeRange(
  source: StyledText,
  start: number,
  end: number,
  spans: readonly Span[],
  mentions: ReadonlySet<string>,
): string {
  const out: string[] = [];
  let at = start;
  for (const [index, span] of spans.entries()) {
    const from = Math.max(span.offset, at);
    const to = Math.min(span.offset + span.length, end);
    if (to <= from) continue;
    out.push(escapeText(source.text.slice(at, from), mentions));
    const inner = spans.slice(index + 1).filter((other) => other.offset < to);
    out.push(writeSpan(source, span, from, to, inner, mentions));
    at = to;
  }
  out.push(escapeText(source.text.slice(at, end), mentions));
  return out.join('');
}

function writeSpan(
  source: StyledText,
  span: Span,
  from: number,
  to: number,
  inner: readonly Span[],
  mentions: ReadonlySet<string>,
): string {
  const raw = source.text.slice(from, to);
  switch (span.style) {
    case 'pre': {
      const before = from > 0 && source.text[from - 1] !== '\n' ? '\n' : '';
      const after = to < source.text.length && source.text[to] !== '\n' ? '\n' : '';
      return `${before}${fence(raw, span.language)}${after}`;
    }
    case 'code':
      return inlineCode(raw);
    case 'link':
      return writeLink(raw, span.url ?? '');
    case 'blockquote':
      return writeRange(source, from, to, inner, mentions)
        .split('\n')
        .map((line) => `> ${line}`)
        .join('\n');
    case 'bold':
    case 'italic':
    case 'strikethrough': {
      // Markers must touch a word, so white space at the edges stays outside of them.
      const first = from + (raw.length - raw.trimStart().length);
      const last = to - (raw.length - raw.trimEnd().length);
      if (last <= first) return raw;
      const isInsideWord = /\w/.test(source.text[first - 1] ?? '') || /\w/.test(source.text[last] ?? '');
      const marker = span.style === 'bold' ? '**' : span.style === 'strikethrough' ? '~~' : isInsideWord ? '*' : '_';
      const text = writeRange(source, first, last, inner, mentions);
      return `${source.text.slice(from, first)}${marker}${text}${marker}${source.text.slice(last, to)}`;
    }
  }
}

/** A code block. Discord has no longer fences, so three backticks inside are kept apart by an invisible character. */
function fence(text: string, language?: string): string {
  const info = /^[\w+#.-]{1,20}$/.test(language ?? '') ? language : '';
  return `\`\`\`${info}\n${text.replaceAll('```', '`\u200b`\u200b`')}\n\`\`\``;
}

function inlineCode(text: string): string {
  if (!text.includes('`')) return `\`${text}\``;
  return `\`\` ${text.replaceAll('``', '`\u200b`')} \`\``;
}

/** The address in angle brackets, so that no preview is fetched from it. */
function writeLink(label: string, url: string): string {
  const address = url.replaceAll('<', '%3C').replaceAll('>', '%3E');
  const text = cleanText(label).replaceAll('\n', ' ').trim();
  // Discord shows a link whose text is an address itself as it was written.
  if (text === '' || /^https?:\/\//i.test(text)) return `<${address}>`;
  return `[${text.replace(/[\\[\]*_~`|<]/g, '\\$&')}](<${address}>)`;
}

/** Escapes text piece by piece; addresses stay whole, because a backslash would become part of them. */
function escapeText(text: string, mentions: ReadonlySet<string>): string {
  return text
    .split(/(https?:\/\/[^\s<>]+)/g)
    .map((piece, index) => (index % 2 === 1 ? piece : escapePiece(piece, mentions)))
    .join('');
}

function escapePiece(text: string, mentions: ReadonlySet<string>): string {
  return (
    text
      .replace(/[\\*_~`|]/g, '\\$&')
      // Masked links, and everything that is written <…>: people, roles, channels, commands, emoji, times.
      .replace(/\](?=\()/g, '\\]')
      .replace(/<(?=[@#:/ait])/g, '\\<')
      .replace(/\\<@!?(\d{1,20})>/g, (whole, id: string) => (mentions.has(id) ? `<@${id}>` : whole))
      .replace(/@(?=everyone|here)/g, '@\u200b')
      .replace(/^(?=#{1,3} |-# |>)/gm, '\\')
  );
}
