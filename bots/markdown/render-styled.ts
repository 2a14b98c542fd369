import type { Token, Tokens } from 'marked';
import { codeText } from './code-text.ts';
import { decodeEntities } from './decode-entities.ts';
import { neutralise } from './neutralise.ts';
import { cleanText, parseMarkdown } from './parse-markdown.ts';
import { renderTable } from './render-table.ts';
import { type StyledBlock, StyledBuilder, type StyledText } from './styled-text.ts';

export interface RenderedMarkdown {
  readonly blocks: readonly StyledBlock[];
  /** The source was too long to be shown in chat; only its head was rendered. */
  readonly isClipped: boolean;
}

export interface RenderOptions {
  /** Breaks `@name` apart invisibly outside code, so that a platform does not turn it into a mention that pings. */
  readonly shieldMentions?: boolean;
  /** Lets a link through that is not a web address; the channel gives it its meaning. */
  readonly allowUrl?: (href: string) => boolean;
}

/** Renders Markdown to blocks of styled text. Never throws; bounded time for any input. */
export function renderStyled(markdown: string, options: RenderOptions = {}): RenderedMarkdown {
  const { tokens, isClipped } = parseMarkdown(markdown);
  const blocks: StyledBlock[] = [];
  for (const token of tokens) {
    const block = renderBlock(token, options);
    if (block !== undefined && block.text !== '') blocks.push(block);
  }
  return { blocks, isClipped };
}

/** A block of code that is not written as Markdown, so that nothing in it can end the fence. */
export function renderCode(text: string, language?: string): StyledBlock {
  const builder = new StyledBuilder();
  writeCode(builder, cleanText(text), language);
  return { ...builder.build(), kind: 'code', headLength: 0 };
}

/** Depth of recursion after which tokens are shown as their source. */
const depthMax = 40;

interface WalkContext {
  readonly builder: StyledBuilder;
  readonly options: RenderOptions;
  readonly depth: number;
  readonly isInLink: boolean;
}

function renderBlock(token: Token, options: RenderOptions): StyledBlock | undefined {
  if (token.type === 'table') return renderTable(token as Tokens.Table, (cell) => renderInline(cell, options));
  const builder = new StyledBuilder();
  writeBlock(token, { builder, options, depth: 0, isInLink: false });
  return { ...builder.build(), kind: token.type === 'code' ? 'code' : 'text', headLength: 0 };
}

function renderInline(tokens: readonly Token[], options: RenderOptions): StyledText {
  const builder = new StyledBuilder();
  writeInlines(tokens, { builder, options, depth: 0, isInLink: false });
  return builder.build();
}

function writeBlocks(tokens: readonly Token[], context: WalkContext): void {
  let isFirst = true;
  for (const token of tokens) {
    if (token.type === 'space' || token.type === 'def' || token.type === 'checkbox') continue;
    if (!isFirst) context.builder.newLine();
    isFirst = false;
    writeBlock(token, context);
  }
}

function writeBlock(token: Token, context: WalkContext): void {
  const { builder } = context;
  if (context.depth > depthMax) {
    builder.push(token.raw);
    return;
  }
  switch (token.type) {
    case 'heading':
      builder.style('bold', () => writeInlines(childrenOf(token), deeper(context)));
      return;
    case 'code': {
      const { text, lang } = token as Tokens.Code;
      writeCode(builder, text, lang?.trim().split(/\s/)[0]);
      return;
    }
    case 'blockquote':
      builder.style('blockquote', () => writeBlocks(childrenOf(token), deeper(context)));
      return;
    case 'list':
      writeList(token as Tokens.List, context);
      return;
    case 'table': {
      const table = renderTable(token as Tokens.Table, (cell) => renderInline(cell, context.options));
      builder.style('pre', () => builder.pushRaw(table.text));
      return;
    }
    case 'hr':
      builder.push('———');
      return;
    case 'space':
    case 'def':
      return;
    case 'html':
      writeHtml(token.raw.trimEnd(), context);
      return;
    default:
      writeInlines([token], context);
  }
}

function writeList(list: Tokens.List, context: WalkContext): void {
  const { builder } = context;
  const first = typeof list.start === 'number' ? list.start : 1;
  for (const [index, item] of list.items.entries()) {
    if (index > 0) builder.newLine();
    const bullet = item.task
      ? item.checked === true
        ? '☑ '
        : '☐ '
      : list.ordered
        ? `${first + index}. `
        : context.depth % 2 === 0
          ? '• '
          : '◦ ';
    builder.push(bullet);
    builder.indented('  ', () => writeBlocks(item.tokens, deeper(context)));
  }
}

function writeCode(builder: StyledBuilder, text: string, language: string | undefined): void {
  builder.style('pre', () => builder.pushRaw(codeText(text)), {
    ...(language === undefined || language === '' ? {} : { language }),
  });
}

function writeInlines(tokens: readonly Token[], context: WalkContext): void {
  for (const token of tokens) writeInline(token, context);
}

function writeInline(token: Token, context: WalkContext): void {
  const { builder } = context;
  if (context.depth > depthMax) {
    builder.push(token.raw);
    return;
  }
  switch (token.type) {
    case 'strong':
      builder.style('bold', () => writeInlines(childrenOf(token), deeper(context)));
      return;
    case 'em':
      builder.style('italic', () => writeInlines(childrenOf(token), deeper(context)));
      return;
    case 'del':
      builder.style('strikethrough', () => writeInlines(childrenOf(token), deeper(context)));
      return;
    case 'codespan': {
      const { text } = token as Tokens.Codespan;
      // A link cannot hold code.
      if (context.isInLink) builder.push(text);
      else builder.style('code', () => builder.push(text));
      return;
    }
    case 'link':
      writeLink(token as Tokens.Link, context);
      return;
    case 'image': {
      const { href, text } = token as Tokens.Image;
      writeUrl(href, context, () => builder.push(text === '' ? 'image' : text));
      return;
    }
    case 'br':
      builder.push('\n');
      return;
    case 'html':
      writeHtml(token.raw, context);
      return;
    case 'escape':
      writeText((token as Tokens.Escape).text, context);
      return;
    case 'checkbox':
      return;
    default: {
      const children = childrenOf(token);
      if (children.length > 0) writeInlines(children, deeper(context));
      else writeText(decodeEntities('text' in token ? String(token.text) : token.raw), context);
    }
  }
}

function writeLink(link: Tokens.Link, context: WalkContext): void {
  const label = () => writeInlines(link.tokens, { ...deeper(context), isInLink: true });
  if (link.text === link.href) label();
  else writeUrl(link.href, context, label);
}

/** Only web addresses become links: `tg://user` would be a mention and `javascript:` an attack. */
function writeUrl(href: string, context: WalkContext, label: () => void): void {
  if (!context.isInLink && context.options.allowUrl?.(href) === true) {
    context.builder.style('link', label, { url: href });
    return;
  }
  const url = URL.canParse(href) ? new URL(href) : undefined;
  const isWeb = url !== undefined && (url.protocol === 'http:' || url.protocol === 'https:') && href.length <= 2_048;
  if (!isWeb || context.isInLink) label();
  else context.builder.style('link', label, { url: url.href });
}

/** Models use a little HTML; line breaks are honoured, comments are dropped, every other tag is shown as it is. */
function writeHtml(html: string, context: WalkContext): void {
  writeText(decodeEntities(html.replace(/<br\s*\/?>/gi, '\n').replace(/<!--[\s\S]*?(?:-->|$)/g, '')), context);
}

function writeText(text: string, context: WalkContext): void {
  context.builder.push(context.options.shieldMentions === true ? neutralise(text) : text);
}

function childrenOf(token: Token): readonly Token[] {
  return 'tokens' in token && token.tokens !== undefined ? token.tokens : [];
}

function deeper(context: WalkContext): WalkContext {
  return { ...context, depth: context.depth + 1 };
}
