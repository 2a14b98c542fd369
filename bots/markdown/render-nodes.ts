import type { Token, Tokens } from 'marked';
import { decodeEntities } from './decode-entities.ts';
import { parseMarkdown } from './parse-markdown.ts';

/** Element names a reader of the tree may make; everything else in a source is text. */
type NodeTag =
  | 'p'
  | 'h1'
  | 'h2'
  | 'h3'
  | 'h4'
  | 'h5'
  | 'h6'
  | 'strong'
  | 'em'
  | 'del'
  | 'code'
  | 'pre'
  | 'blockquote'
  | 'ul'
  | 'ol'
  | 'li'
  | 'table'
  | 'thead'
  | 'tbody'
  | 'tr'
  | 'th'
  | 'td'
  | 'a'
  | 'br'
  | 'hr';

/** A piece of a document: text, or an element. There is no way to say HTML in it. */
export type DocumentNode =
  | string
  | {
      readonly t: NodeTag;
      readonly c?: readonly DocumentNode[];
      /** Of `a`: always http, https or mailto. */
      readonly href?: string;
      /** Of `pre`: the language that was named, letters and digits only. */
      readonly lang?: string;
      /** Of `ol`: its first number. */
      readonly start?: number;
      /** Of `th` and `td`. */
      readonly align?: 'left' | 'center' | 'right';
      /** Of `li`: a task and whether it is done. */
      readonly checked?: boolean;
    };

/** Depth of recursion after which tokens are shown as their source. */
const depthMax = 40;
const urlCharsMax = 2_048;

/**
 * Markdown as a tree for a browser, which makes elements from it one by one. HTML in the source stays text, images become
 * links (nothing is fetched from elsewhere), and only web and mail addresses are links. Never throws; bounded time.
 */
export function renderNodes(markdown: string): readonly DocumentNode[] {
  const { tokens, isClipped } = parseMarkdown(markdown);
  const nodes = blocks(tokens, 0);
  return isClipped ? [...nodes, { t: 'p', c: ['…'] }] : nodes;
}

function blocks(tokens: readonly Token[], depth: number): DocumentNode[] {
  return tokens.flatMap((token) => block(token, depth));
}

function block(token: Token, depth: number): DocumentNode[] {
  if (depth > depthMax) return [token.raw];
  switch (token.type) {
    case 'space':
    case 'def':
    case 'checkbox':
      return [];
    case 'paragraph':
      return [{ t: 'p', c: inlines(childrenOf(token), depth + 1) }];
    case 'heading':
      return [{ t: headingTag((token as Tokens.Heading).depth), c: inlines(childrenOf(token), depth + 1) }];
    case 'code': {
      const { text, lang } = token as Tokens.Code;
      const language = /^[\w+#.-]{1,30}/.exec(lang?.trim() ?? '')?.[0];
      return [{ t: 'pre', c: [text], ...(language === undefined ? {} : { lang: language }) }];
    }
    case 'blockquote':
      return [{ t: 'blockquote', c: blocks(childrenOf(token), depth + 1) }];
    case 'list':
      return [list(token as Tokens.List, depth)];
    case 'table':
      return [table(token as Tokens.Table, depth)];
    case 'hr':
      return [{ t: 'hr' }];
    case 'html':
      return [{ t: 'p', c: htmlText(token.raw.trimEnd()) }];
    default:
      return inlines([token], depth);
  }
}

function headingTag(depth: number): NodeTag {
  const tags = ['h1', 'h2', 'h3', 'h4', 'h5', 'h6'] as const;
  return tags[depth - 1] ?? 'h6';
}

function list(token: Tokens.List, depth: number): DocumentNode {
  const items = token.items.map(
    (item): DocumentNode => ({
      t: 'li',
      c: blocks(item.tokens, depth + 1),
      ...(item.task ? { checked: item.checked === true } : {}),
    }),
  );
  if (!token.ordered) return { t: 'ul', c: items };
  return { t: 'ol', c: items, ...(typeof token.start === 'number' && token.start !== 1 ? { start: token.start } : {}) };
}

function table(token: Tokens.Table, depth: number): DocumentNode {
  const row = (cells: readonly Tokens.TableCell[], t: 'th' | 'td'): DocumentNode => ({
    t: 'tr',
    c: cells.map((cell) => ({
      t,
      c: inlines(cell.tokens, depth + 1),
      ...(cell.align === null ? {} : { align: cell.align }),
    })),
  });
  return {
    t: 'table',
    c: [
      { t: 'thead', c: [row(token.header, 'th')] },
      { t: 'tbody', c: token.rows.map((cells) => row(cells, 'td')) },
    ],
  };
}

function inlines(tokens: readonly Token[], depth: number): DocumentNode[] {
  return tokens.flatMap((token) => inline(token, depth));
}

function inline(token: Token, depth: number): DocumentNode[] {
  if (depth > depthMax) return [token.raw];
  switch (token.type) {
    case 'strong':
    case 'em':
    case 'del':
      return [{ t: token.type, c: inlines(childrenOf(token), depth + 1) }];
    case 'codespan':
      return [{ t: 'code', c: [(token as Tokens.Codespan).text] }];
    case 'link':
      return link((token as Tokens.Link).href, inlines(childrenOf(token), depth + 1));
    case 'image': {
      const { href, text } = token as Tokens.Image;
      return link(href, [text === '' ? 'image' : text]);
    }
    case 'br':
      return [{ t: 'br' }];
    case 'html':
      return htmlText(token.raw);
    case 'escape':
      return [(token as Tokens.Escape).text];
    case 'checkbox':
      return [];
    default: {
      const children = childrenOf(token);
      if (children.length > 0) return inlines(children, depth + 1);
      return [decodeEntities('text' in token ? String(token.text) : token.raw)];
    }
  }
}

function link(href: string, label: DocumentNode[]): DocumentNode[] {
  const url = href.length <= urlCharsMax && URL.canParse(href) ? new URL(href) : undefined;
  if (url === undefined || !['http:', 'https:', 'mailto:'].includes(url.protocol)) return label;
  return [{ t: 'a', href: url.href, c: label.map(unlinked) }];
}

/** A link in a link would end the outer one where a browser parses it; made as elements it would only confuse. */
function unlinked(node: DocumentNode): DocumentNode {
  if (typeof node === 'string' || node.c === undefined) return node;
  const c = node.c.map(unlinked);
  if (node.t !== 'a') return { ...node, c };
  const { href: _, ...rest } = node;
  return { ...rest, t: 'em', c };
}

/** Models use a little HTML; line breaks are honoured, comments are dropped, every other tag is shown as it is. */
function htmlText(source: string): DocumentNode[] {
  return source
    .replace(/<!--[\s\S]*?(?:-->|$)/g, '')
    .split(/<br\s*\/?>/i)
    .flatMap((text, index): DocumentNode[] => [
      ...(index === 0 ? [] : [{ t: 'br' as const }]),
      ...(text === '' ? [] : [decodeEntities(text)]),
    ]);
}

function childrenOf(token: Token): readonly Token[] {
  return 'tokens' in token && token.tokens !== undefined ? token.tokens : [];
}
