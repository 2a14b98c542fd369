import type { KnownBlock } from '@slack/types';
import { renderPlain } from '#bots/markdown/render-plain.ts';
import { AppError } from '#core/kit/errors.ts';
import type { OutboundBody, OutboundPart } from '#core/outbox/outbound.ts';
import {
  buttonBlocks,
  fieldBlocks,
  noticeBlock,
  noticeMarkdown,
  progressBlock,
  type SizedBlock,
  section,
  sized,
} from './render-blocks.ts';
import { escapeMrkdwn, renderSections } from './render-mrkdwn.ts';
import { shieldMentions } from './shield-mentions.ts';
import { splitMarkdown } from './split-markdown.ts';

/** All text in the blocks of one message: Slack takes 12,000 of Markdown and refuses about 13,200 in all. */
export const textMax = 11_000;
/** More messages than this for one answer become a head and a file. */
export const partsMax = 3;
/** Our own limit of an upload; Slack's is 1 GB. */
export const uploadBytesMax = 100 * 1024 * 1024;
const blocksMax = 48;
/** Notification text. Slack refuses an edit whose text has more than 4,000 bytes. */
const fallbackBytesMax = 3_000;
const fallbackCharsMax = 500;

/** One platform message: its blocks, and the text of its notification. */
export interface SlackPost {
  readonly text: string;
  readonly blocks: readonly KnownBlock[];
}

export interface FileUnit {
  readonly name: string;
  readonly mime: string;
  readonly bytes: Buffer;
}

/** One logical message as platform messages: posts first, then files. */
export interface RenderedBody {
  readonly posts: readonly SlackPost[];
  readonly files: readonly FileUnit[];
}

type Item = { readonly markdown: string } | { readonly blocks: readonly SizedBlock[] };

const overflowName = 'answer.md';
const overflowNote = `_… the whole text is in ${overflowName}_`;

/**
 * Renders a message for Slack.
 *
 * @param options.isPlain uses only blocks every workspace knows, for one that refuses the newer ones.
 * @throws AppError `channel.rejected` for a button nobody could press, `message.too_large` for a file over the limit.
 */
export function renderBody(body: OutboundBody, options: { readonly isPlain: boolean }): RenderedBody {
  const { isPlain } = options;
  const items: Item[] = priorityItems(body);
  const sources: string[] = [];
  const files: FileUnit[] = [];
  let rows = 0;
  const addMarkdown = (markdown: string): void => {
    sources.push(markdown);
    items.push({ markdown: shieldMentions(markdown, body.mentions) });
  };
  for (const part of body.parts) {
    switch (part.type) {
      case 'markdown':
        addMarkdown(part.markdown);
        break;
      case 'code':
        addMarkdown(fenced(part.text, part.language));
        break;
      case 'notice': {
        const block = noticeBlock(part, isPlain);
        if (block === undefined) addMarkdown(noticeMarkdown(part));
        else {
          sources.push(part.markdown);
          items.push({ blocks: [block] });
        }
        break;
      }
      case 'fields':
        sources.push(part.fields.map(([name, value]) => `**${name}:** ${value}`).join('\n'));
        items.push({ blocks: fieldBlocks(part.fields) });
        break;
      case 'progress':
        sources.push(part.title);
        items.push({ blocks: [progressBlock(part, isPlain)] });
        break;
      case 'buttons':
        items.push({ blocks: buttonBlocks(part.rows, rows) });
        rows += part.rows.length;
        break;
      case 'file':
        files.push(toFile(part));
        break;
    }
  }

  let { posts, isClipped } = pack(items, isPlain);
  if (posts.length > partsMax || isClipped) {
    ({ posts, isClipped } = pack(headOf(items), isPlain));
    const whole = Buffer.from(sources.join('\n\n').toWellFormed());
    files.unshift({ name: overflowName, mime: 'text/markdown', bytes: whole });
  }
  const text = fallbackText(sources, files);
  // Slack shows no empty message; a lone file is a message of its own.
  if (posts.length === 0 && files.length === 0) posts = [[section('…').block]];
  return {
    files,
    posts: posts.map((blocks, index) => ({ blocks, text: index === 0 ? text : continued(text, index) })),
  };
}

/** What makes an important message look important; who has to see it at once is named. */
function priorityItems({ priority, mentions }: OutboundBody): Item[] {
  if (priority !== 'high' && priority !== 'urgent') return [];
  const named = (mentions ?? []).filter((id) => /^[UW][A-Z0-9]+$/.test(id)).map((id) => `<@${id}>`);
  const text = priority === 'urgent' ? [':rotating_light: *Urgent*', ...named].join(' ') : ':exclamation: *Important*';
  return [{ blocks: [section(text)] }];
}

/** Puts the items into messages; every message holds as much as fits. */
function pack(items: readonly Item[], isPlain: boolean): { posts: KnownBlock[][]; isClipped: boolean } {
  const posts: KnownBlock[][] = [];
  let open: KnownBlock[] = [];
  let size = 0;
  let isClipped = false;
  const add = (piece: SizedBlock): void => {
    if (open.length > 0 && (size + piece.size > textMax || open.length >= blocksMax)) {
      posts.push(open);
      open = [];
      size = 0;
    }
    open.push(piece.block);
    size += piece.size;
  };
  for (const item of items) {
    if ('blocks' in item) {
      for (const block of item.blocks) add(block);
      continue;
    }
    if (isPlain) {
      for (const text of renderSections(item.markdown)) add(section(text));
      continue;
    }
    const split = splitMarkdown(item.markdown, textMax);
    isClipped ||= split.isClipped;
    for (const text of split.pieces) add(sized({ type: 'markdown', text }, text.length));
  }
  if (open.length > 0) posts.push(open);
  return { posts, isClipped };
}

/** The beginning of a text that is too long, and everything that is not text. */
function headOf(items: readonly Item[]): Item[] {
  let hasHead = false;
  const kept = items.flatMap((item): Item[] => {
    if ('blocks' in item) return [item];
    if (hasHead) return [];
    hasHead = true;
    const [head = ''] = splitMarkdown(item.markdown, textMax - overflowNote.length - 500).pieces;
    return [{ markdown: head }, { markdown: overflowNote }];
  });
  return hasHead ? kept : [...kept, { markdown: overflowNote }];
}

function fenced(text: string, language: string | undefined): string {
  const longest = Math.max(0, ...(text.match(/`{3,}/g) ?? []).map((run) => run.length));
  const fence = '`'.repeat(Math.max(3, longest + 1));
  return `${fence}${(language ?? '').replaceAll(/[`\s]/g, '')}\n${text}\n${fence}`;
}

function fallbackText(sources: readonly string[], files: readonly FileUnit[]): string {
  const plain = renderPlain(sources.join('\n\n').slice(0, 4 * fallbackCharsMax)).trim();
  const shown = plain === '' ? (files[0]?.name ?? '…') : plain;
  const cut = shown.length > fallbackCharsMax ? `${shown.slice(0, fallbackCharsMax).toWellFormed()}…` : shown;
  let text = escapeMrkdwn(shieldMentions(cut));
  while (Buffer.byteLength(text) > fallbackBytesMax) text = text.slice(0, -100).toWellFormed();
  return text;
}

function continued(text: string, index: number): string {
  return `(${index + 1}) ${text.slice(0, 100).toWellFormed()}`;
}

function toFile(part: Extract<OutboundPart, { type: 'file' }>): FileUnit {
  const bytes = Buffer.from(part.dataBase64, 'base64');
  if (bytes.length > uploadBytesMax) {
    throw new AppError('message.too_large', `The file ${part.name} has ${bytes.length} bytes.`, {
      mend: `Files of up to ${uploadBytesMax} bytes can be sent to Slack.`,
    });
  }
  const name = part.name
    .toWellFormed()
    .replace(/[\u0000-\u001f\u007f";\\/]/g, '_')
    .slice(-120);
  return {
    name: name === '' ? 'file' : name,
    mime: part.mime,
    // Slack refuses an empty file, but the person should still see that there is one.
    bytes: bytes.length === 0 ? Buffer.from('\n') : bytes,
  };
}
