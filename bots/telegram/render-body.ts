import { healMarkdown, openFence } from '#bots/markdown/heal-markdown.ts';
import { renderStyled } from '#bots/markdown/render-styled.ts';
import { splitStyled } from '#bots/markdown/split-styled.ts';
import { joinStyled } from '#bots/markdown/styled-text.ts';
import { AppError } from '#core/kit/errors.ts';
import type { Button, OutboundBody } from '#core/outbox/outbound.ts';
import { type FileUnit, toFileUnit } from './plan-files.ts';
import { type RichMessage, renderRich } from './render-rich.ts';
import { renderParts, type StyledUnit, styled, toUnit } from './render-text.ts';

/** Longest text of one message, in UTF-16 units after entities are taken out. */
export const textMax = 4_096;
/** Longest caption of a file, in the same units. */
const captionMax = 1_024;
/** More messages than this for one answer become a head and a file. */
export const partsMax = 3;
/** Bytes of what a button carries, and of it what a token may take; the rest names the topic. */
const buttonDataBytesMax = 64;
export const buttonTokenBytesMax = 52;

export interface TextUnit extends StyledUnit {
  /** The text as blocks with real tables, headings and task lists; stands in the place of `text` and `entities`. */
  readonly rich?: RichMessage;
  readonly keyboard?: readonly (readonly KeyboardButton[])[];
}

/** One logical message as platform messages: texts first, then files. */
export interface RenderedBody {
  readonly texts: readonly TextUnit[];
  readonly files: readonly FileUnit[];
}

type KeyboardButton = {
  text: string;
  style?: 'primary' | 'danger' | 'success';
} & ({ callback_data: string } | { url: string } | { disabled: Record<never, never> });

export interface RenderBodyOptions {
  readonly shieldMentions: boolean;
  /** Whether the server knows rich messages. */
  readonly mayBeRich?: boolean;
  /** The topic the message belongs to, wherever it is shown. */
  readonly thread?: string | undefined;
}

const overflowName = 'answer.md';
const overflowNote = styled(`… the whole text is in ${overflowName}`, 'italic');

/**
 * Renders a message for Telegram.
 * @throws AppError `channel.rejected` for a button nobody could press, `message.too_large` for a file over the limit.
 */
export function renderBody(body: OutboundBody, options: RenderBodyOptions): RenderedBody {
  const keyboard = keyboardOf(body, options.thread);
  const files = body.parts.flatMap((part) => (part.type === 'file' ? [toFileUnit(part)] : []));
  const rich = options.mayBeRich === true ? renderRich(body, options) : undefined;
  if (rich !== undefined) return { texts: [{ text: '', entities: [], rich, ...keyboard }], files };

  const { blocks, sources, isClipped } = renderParts(body, options);
  let texts = splitStyled(blocks, textMax);
  if (texts.length > partsMax || isClipped) {
    const [head = overflowNote] = splitStyled(blocks, textMax - overflowNote.text.length - 2);
    texts = [joinStyled([head, overflowNote], '\n\n')];
    files.unshift({
      name: overflowName,
      bytes: Buffer.from(sources.join('\n\n').toWellFormed()),
      kind: 'document',
    });
  }
  // Telegram shows no empty message, and buttons need one to hang on.
  if (texts.length === 0 && (files.length === 0 || 'keyboard' in keyboard)) texts = [{ text: '…', spans: [] }];
  return {
    files,
    texts: texts.map((text, index) => ({ ...toUnit(text), ...(index === texts.length - 1 ? keyboard : {}) })),
  };
}

/** A short text without buttons goes below the first file instead of before it: one message, one notification. */
export function withCaption(rendered: RenderedBody): RenderedBody {
  const [text, ...moreTexts] = rendered.texts;
  const [file, ...moreFiles] = rendered.files;
  if (text === undefined || file === undefined || moreTexts.length > 0) return rendered;
  if (text.text.length > captionMax || text.keyboard !== undefined || text.rich !== undefined) return rendered;
  return { texts: [], files: [{ ...file, caption: { text: text.text, entities: text.entities } }, ...moreFiles] };
}

/** The newest part of an answer that is being written: what fits into one preview, with open markup closed. */
export function renderPreview(markdown: string): StyledUnit {
  const newest = newestPart(healMarkdown(markdown));
  const text = splitStyled(renderStyled(newest).blocks, textMax).at(-1);
  return text === undefined ? { text: '', entities: [] } : toUnit(text);
}

/** The same as blocks, while it is short enough and has something that plain text shows badly. */
export function renderRichPreview(markdown: string): RichMessage | undefined {
  if (markdown.length > previewSourceMax) return undefined;
  const body: OutboundBody = { parts: [{ type: 'markdown', markdown: healMarkdown(markdown) }] };
  return renderRich(body, { shieldMentions: false });
}

/** A preview shows 4096 characters; parsing more than this for each one would only cost time. */
const previewSourceMax = 20_000;

function newestPart(markdown: string): string {
  if (markdown.length <= previewSourceMax) return markdown;
  const start = markdown.indexOf('\n', markdown.length - previewSourceMax) + 1;
  const fence = openFence(markdown.slice(0, start));
  return (fence === undefined ? '' : `${fence}\n`) + markdown.slice(start);
}

function keyboardOf(
  body: OutboundBody,
  thread: string | undefined,
): { readonly keyboard?: readonly (readonly KeyboardButton[])[] } {
  const rows = body.parts
    .flatMap((part) => (part.type === 'buttons' ? part.rows : []))
    .map((row) => row.map((button) => toKeyboardButton(button, thread)))
    .filter((row) => row.length > 0);
  return rows.length === 0 ? {} : { keyboard: rows };
}

/**
 * A button says which topic it belongs to: it may have to be shown outside a closed one, and the press of an old message
 * comes without any.
 */
function packButtonData(token: string, thread: string | undefined): string {
  const data = thread === undefined ? token : `${token}~${thread}`;
  return Buffer.byteLength(data) <= buttonDataBytesMax ? data : token;
}

/** What a pressed button says. The room is not in it: that is where Telegram says it was pressed. */
export function unpackButtonData(data: string): { readonly token: string; readonly thread: string | undefined } {
  const [, token = data, thread] = /^([\s\S]*)~(\d{1,11})$/.exec(data) ?? [];
  return { token, thread };
}

/** Telegram cuts labels to the width of the screen; this keeps a hostile one from filling it. */
const labelMax = 64;

function toKeyboardButton(button: Button, thread: string | undefined): KeyboardButton {
  const label = button.label.toWellFormed().trim();
  const base = {
    text: label === '' ? '·' : label.length > labelMax ? `${label.slice(0, labelMax - 1).toWellFormed()}…` : label,
    ...(button.style === undefined ? {} : { style: button.style }),
  };
  if (button.isDisabled === true) return { ...base, disabled: {} };
  if (button.token !== undefined) {
    const bytes = Buffer.byteLength(button.token);
    if (bytes < 1 || bytes > buttonTokenBytesMax || !button.token.isWellFormed()) {
      throw new AppError('channel.rejected', `A button token of ${bytes} bytes cannot be sent to Telegram.`, {
        mend: `Use between 1 and ${buttonTokenBytesMax} bytes.`,
      });
    }
    return { ...base, callback_data: packButtonData(button.token, thread) };
  }
  if (button.url !== undefined && /^https?:\/\//.test(button.url) && URL.canParse(button.url)) {
    return { ...base, url: button.url };
  }
  throw new AppError('channel.rejected', `The button "${base.text}" has neither a token nor a web address.`);
}
