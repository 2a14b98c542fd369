import type { Api } from 'grammy';
import type { RichBlockTableCell, RichText } from 'grammy/types';
import type { Token, Tokens } from 'marked';
import { codeText } from '#bots/markdown/code-text.ts';
import { decodeEntities } from '#bots/markdown/decode-entities.ts';
import { cleanText, parseMarkdown } from '#bots/markdown/parse-markdown.ts';
import type { OutboundBody } from '#core/outbox/outbound.ts';
import { markdownOf, mayMention, mentionedId, priorityHead, type TextOptions } from './render-text.ts';

/** Limits of one rich message, from the Bot API's description; blocks count items and table rows as well. */
const charsMax = 32_768;
const blocksMax = 500;
const depthMax = 16;
const columnsMax = 20;

/** A rich message without uploads, which is what drafts and messages both take. */
export type RichMessage = Parameters<Api['raw']['sendRichMessageDraft']>[0]['rich_message'];
type Block = NonNullable<RichMessage['blocks']>[number];

/**
 * A body as a rich message, where it holds what plain text shows badly: a table, a heading or a task list. It is made of
 * explicit blocks, never of Markdown or HTML for the server to parse: whatever a model wrote, the platform reads it as
 * text. Undefined when plain text does as well, or when it would not fit.
 */
export function renderRich(body: OutboundBody, options: TextOptions): RichMessage | undefined {
  // Most messages have nothing of the kind and need not be parsed twice.
  if (!body.parts.some((part) => mayBeWorthIt.test(markdownOf(part) ?? ''))) return undefined;
  const writer = new RichWriter(body);
  try {
    const blocks = body.parts.flatMap((part): Block[] => {
      if (part.type === 'code') return [writer.code(part.text, part.language)];
      if (part.type === 'fields') {
        return part.fields.map(([name, value]) => ({
          type: 'paragraph',
          text: [writer.plain(name, (text) => ({ type: 'bold', text: `${text}:` })), ' ', writer.inline(value)],
        }));
      }
      const markdown = markdownOf(part);
      return markdown === undefined ? [] : writer.markdown(markdown);
    });
    if (!writer.isWorthIt || blocks.length === 0) return undefined;
    const head = writer.head();
    return {
      blocks: head === undefined ? blocks : [head, ...blocks],
      // Names and commands of a text must not become mentions that ping a whole group.
      ...(options.shieldMentions ? { skip_entity_detection: true } : {}),
    };
  } catch (err) {
    if (err instanceof TooRich) return undefined;
    throw err;
  }
}

/** A heading of either kind, a table row, or a task; not all that matches is one. */
const mayBeWorthIt = /^ {0,3}#{1,6}[ \t]|^ {0,3}(?:=+|-+)[ \t]*$|\||^[ \t>]*(?:[-*+]|\d{1,9}[.)])[ \t]+\[[ xX]\]/m;

/** The body exceeds a limit of rich messages. */
class TooRich extends Error {}

class RichWriter {
  readonly #body: OutboundBody;
  #chars = 0;
  #blocks = 0;
  /** Whether something was written that plain text shows badly. */
  isWorthIt = false;

  constructor(body: OutboundBody) {
    this.#body = body;
  }

  /** The line that says how urgent it is, with a mention for each who is to be pinged. */
  head(): Block | undefined {
    const { mark, pinged } = priorityHead(this.#body);
    if (mark === '') return undefined;
    const bells = pinged.map((id): RichText => mentionOf(id, '🔔'));
    return { type: 'paragraph', text: [mark.trim(), ...bells] };
  }

  markdown(source: string): Block[] {
    const { tokens, isClipped } = parseMarkdown(source);
    if (isClipped) throw new TooRich();
    return this.#blocksOf(tokens, 1);
  }

  inline(source: string): RichText {
    return this.#inlines(parseMarkdown(source).tokens, 1);
  }

  code(text: string, language?: string): Block {
    this.#count(1);
    return {
      type: 'pre',
      text: this.plain(codeText(cleanText(text)), (shown) => shown),
      ...(language === undefined || language === '' ? {} : { language }),
    };
  }

  plain(text: string, make: (text: string) => RichText): RichText {
    this.#chars += text.length;
    if (this.#chars > charsMax) throw new TooRich();
    return make(text);
  }

  #count(blocks: number): void {
    this.#blocks += blocks;
    if (this.#blocks > blocksMax) throw new TooRich();
  }

  #blocksOf(tokens: readonly Token[], depth: number): Block[] {
    if (depth > depthMax) throw new TooRich();
    const blocks: Block[] = [];
    for (const token of tokens) {
      const block = this.#block(token, depth);
      if (block !== undefined) blocks.push(block);
    }
    return blocks;
  }

  #block(token: Token, depth: number): Block | undefined {
    this.#count(1);
    switch (token.type) {
      case 'space':
      case 'def':
      case 'checkbox':
        return undefined;
      case 'heading': {
        this.isWorthIt = true;
        const { depth: level } = token as Tokens.Heading;
        const sizes = [1, 2, 3, 4, 5, 6] as const;
        return { type: 'heading', size: sizes[level - 1] ?? 6, text: this.#inlines(childrenOf(token), depth + 1) };
      }
      case 'code': {
        const { text, lang } = token as Tokens.Code;
        return this.code(text, lang?.trim().split(/\s/)[0]);
      }
      case 'blockquote':
        return { type: 'blockquote', blocks: this.#blocksOf(childrenOf(token), depth + 1) };
      case 'list':
        return this.#list(token as Tokens.List, depth);
      case 'table':
        return this.#table(token as Tokens.Table, depth);
      case 'hr':
        return { type: 'divider' };
      default: {
        const text = this.#inlines([token], depth);
        return isBlank(text) ? undefined : { type: 'paragraph', text };
      }
    }
  }

  #list(list: Tokens.List, depth: number): Block {
    const first = typeof list.start === 'number' ? list.start : 1;
    return {
      type: 'list',
      items: list.items.map((item, index) => {
        this.#count(1);
        if (item.task) this.isWorthIt = true;
        return {
          // A list and its item are a level each.
          blocks: this.#blocksOf(item.tokens, depth + 2),
          ...(item.task ? { has_checkbox: true as const } : {}),
          ...(item.task && item.checked === true ? { is_checked: true as const } : {}),
          ...(list.ordered ? { value: first + index, type: '1' as const } : {}),
        };
      }),
    };
  }

  #table(table: Tokens.Table, depth: number): Block {
    this.isWorthIt = true;
    if (table.header.length > columnsMax) throw new TooRich();
    const cells = [table.header, ...table.rows].map((row, index) => {
      this.#count(1);
      return row.map(
        (cell, column): RichBlockTableCell => ({
          text: this.#inlines(cell.tokens, depth + 1),
          align: table.align[column] ?? 'left',
          valign: 'top',
          ...(index === 0 ? { is_header: true } : {}),
        }),
      );
    });
    return { type: 'table', cells, is_bordered: true, is_compact: true };
  }

  #inlines(tokens: readonly Token[], depth: number): RichText {
    if (depth > depthMax) throw new TooRich();
    const texts = tokens.map((token) => this.#inline(token, depth));
    const [only] = texts;
    return texts.length === 1 && only !== undefined ? only : texts;
  }

  #inline(token: Token, depth: number): RichText {
    const inner = (): RichText => this.#inlines(childrenOf(token), depth + 1);
    switch (token.type) {
      case 'strong':
        return { type: 'bold', text: inner() };
      case 'em':
        return { type: 'italic', text: inner() };
      case 'del':
        return { type: 'strikethrough', text: inner() };
      case 'codespan':
        return this.plain((token as Tokens.Codespan).text, (text) => ({ type: 'code', text }));
      case 'link': {
        const { href } = token as Tokens.Link;
        return this.#link(href, inner());
      }
      case 'image': {
        const { href, text } = token as Tokens.Image;
        // A picture in the message would be fetched from wherever a model says: it stays a link one may press.
        return this.#link(
          href,
          this.plain(text === '' ? 'image' : text, (shown) => shown),
        );
      }
      case 'br':
        return '\n';
      case 'checkbox':
        return '';
      case 'html':
        return this.#words(token.raw.replace(/<br\s*\/?>/gi, '\n').replace(/<!--[\s\S]*?(?:-->|$)/g, ''));
      case 'escape':
        return this.plain((token as Tokens.Escape).text, (text) => text);
      default: {
        const children = childrenOf(token);
        return children.length > 0 ? inner() : this.#words('text' in token ? String(token.text) : token.raw);
      }
    }
  }

  #words(source: string): RichText {
    return this.plain(decodeEntities(source), (text) => text);
  }

  #link(href: string, text: RichText): RichText {
    const id = mentionedId(href);
    if (id !== undefined) return mayMention(this.#body, id) ? mentionOf(id, text) : text;
    const url = URL.canParse(href) && href.length <= 2_048 ? new URL(href) : undefined;
    return url?.protocol === 'http:' || url?.protocol === 'https:' ? { type: 'url', text, url: url.href } : text;
  }
}

function mentionOf(id: number, text: RichText): RichText {
  return { type: 'text_mention', text, user: { id, is_bot: false, first_name: '' } };
}

function isBlank(text: RichText): boolean {
  if (typeof text === 'string') return text.trim() === '';
  return Array.isArray(text) && text.every(isBlank);
}

function childrenOf(token: Token): readonly Token[] {
  return 'tokens' in token && token.tokens !== undefined ? token.tokens : [];
}
