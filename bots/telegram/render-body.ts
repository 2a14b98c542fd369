import type { MessageEntity } from 'grammy/types';
import { healMarkdown, openFence } from '#bots/markdown/heal-markdown.ts';
import { noticeMarks, progressMarkdown } from '#bots/markdown/neutral-marks.ts';
import { renderCode, renderStyled } from '#bots/markdown/render-styled.ts';
import { splitStyled } from '#bots/markdown/split-styled.ts';
import { joinStyled, type Span, type StyledBlock, type StyledText } from '#bots/markdown/styled-text.ts';
import { AppError } from '#core/kit/errors.ts';
import type { Button, OutboundBody, OutboundPart } from '#core/outbox/outbound.ts';

/** Longest text of one message, in UTF-16 units after entities are taken out. */
export const textMax = 4_096;
/** More messages than this for one answer become a head and a file. */
export const partsMax = 3;
/** Bytes of a button's token. */
export const buttonTokenBytesMax = 64;
/** Upload limit of the public Bot API server. */
export const uploadBytesMax = 50 * 1024 * 1024;

export interface TextUnit {
  readonly text: string;
  readonly entities: readonly MessageEntity[];
  readonly keyboard?: readonly (readonly KeyboardButton[])[];
}

export interface FileUnit {
  readonly name: string;
  readonly bytes: Buffer;
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

const overflowName = 'answer.md';
const overflowNote: StyledText = styled(`… the whole text is in ${overflowName}`, 'italic');

/**
 * Renders a message for Telegram.
 * @throws AppError `channel.rejected` for a button nobody could press, `message.too_large` for a file over the limit.
 */
export function renderBody(body: OutboundBody, options: { readonly shieldMentions: boolean }): RenderedBody {
  const blocks: StyledBlock[] = [];
  const sources: string[] = [];
  const files: FileUnit[] = [];
  const rows: KeyboardButton[][] = [];
  let isClipped = false;
  const addMarkdown = (markdown: string): void => {
    const rendered = renderStyled(markdown, options);
    blocks.push(...rendered.blocks);
    sources.push(markdown);
    isClipped ||= rendered.isClipped;
  };
  for (const part of body.parts) {
    switch (part.type) {
      case 'markdown':
        addMarkdown(part.markdown);
        break;
      case 'notice':
        addMarkdown(`${noticeMarks[part.level]}${startsBlock.test(part.markdown) ? '\n\n' : ' '}${part.markdown}`);
        break;
      case 'progress':
        addMarkdown(progressMarkdown(part).replaceAll('\n', '  \n'));
        break;
      case 'code':
        blocks.push(renderCode(part.text, part.language));
        sources.push(part.text);
        break;
      case 'fields':
        blocks.push({ ...fieldLines(part.fields, options), kind: 'text', headLength: 0 });
        sources.push(part.fields.map(([name, value]) => `**${name}:** ${value}`).join('\n'));
        break;
      case 'buttons':
        rows.push(...part.rows.map((row) => row.map(toKeyboardButton)));
        break;
      case 'file':
        files.push(toFile(part));
        break;
    }
  }

  let texts = splitStyled(blocks, textMax);
  if (texts.length > partsMax || isClipped) {
    const [head = overflowNote] = splitStyled(blocks, textMax - overflowNote.text.length - 2);
    texts = [joinStyled([head, overflowNote], '\n\n')];
    files.unshift({ name: overflowName, bytes: Buffer.from(sources.join('\n\n').toWellFormed()) });
  }
  const keyboard = rows.filter((row) => row.length > 0);
  // Telegram shows no empty message, and buttons need one to hang on.
  if (texts.length === 0 && (files.length === 0 || keyboard.length > 0)) texts = [{ text: '…', spans: [] }];
  return {
    files,
    texts: texts.map((text, index) => ({
      text: text.text,
      entities: text.spans.map(toEntity),
      ...(keyboard.length > 0 && index === texts.length - 1 ? { keyboard } : {}),
    })),
  };
}

/** The newest part of an answer that is being written: what fits into one preview, with open markup closed. */
export function renderPreview(markdown: string): TextUnit {
  const newest = newestPart(healMarkdown(markdown));
  const text = splitStyled(renderStyled(newest).blocks, textMax).at(-1);
  return text === undefined ? { text: '', entities: [] } : { text: text.text, entities: text.spans.map(toEntity) };
}

/** A preview shows 4096 characters; parsing more than this for each one would only cost time. */
const previewSourceMax = 20_000;

function newestPart(markdown: string): string {
  if (markdown.length <= previewSourceMax) return markdown;
  const start = markdown.indexOf('\n', markdown.length - previewSourceMax) + 1;
  const fence = openFence(markdown.slice(0, start));
  return (fence === undefined ? '' : `${fence}\n`) + markdown.slice(start);
}

/** Markdown that is only a heading, list, quote, table or fence while it stands at the start of a line. */
const startsBlock = /^\s*(?:[#>|]|```|~~~|[-+*]\s|\d{1,9}[.)]\s)/;

function fieldLines(
  fields: readonly (readonly [string, string])[],
  options: { readonly shieldMentions: boolean },
): StyledText {
  return joinStyled(
    fields.map(([name, value]) => {
      const rendered = joinStyled(renderStyled(value, options).blocks, '\n');
      return joinStyled([styled(`${name}:`, 'bold'), rendered], rendered.text.includes('\n') ? '\n' : ' ');
    }),
    '\n',
  );
}

function styled(text: string, style: Span['style']): StyledText {
  return { text, spans: [{ style, offset: 0, length: text.length }] };
}

function toEntity({ style, offset, length, url, language }: Span): MessageEntity {
  if (style === 'link') return { type: 'text_link', offset, length, url: url ?? '' };
  if (style === 'pre') return { type: 'pre', offset, length, ...(language === undefined ? {} : { language }) };
  return { type: style, offset, length };
}

/** Telegram cuts labels to the width of the screen; this keeps a hostile one from filling it. */
const labelMax = 64;

function toKeyboardButton(button: Button): KeyboardButton {
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
    return { ...base, callback_data: button.token };
  }
  if (button.url !== undefined && /^https?:\/\//.test(button.url) && URL.canParse(button.url)) {
    return { ...base, url: button.url };
  }
  throw new AppError('channel.rejected', `The button "${base.text}" has neither a token nor a web address.`);
}

function toFile(part: Extract<OutboundPart, { type: 'file' }>): FileUnit {
  const bytes = Buffer.from(part.dataBase64, 'base64');
  if (bytes.length > uploadBytesMax) {
    throw new AppError('message.too_large', `The file ${part.name} has ${bytes.length} bytes.`, {
      mend: `Telegram takes files of up to ${uploadBytesMax} bytes.`,
    });
  }
  const name = part.name
    .toWellFormed()
    .replace(/[\u0000-\u001f\u007f";\\/]/g, '_')
    .slice(-120);
  // The platform refuses an empty file, but the person should still see that there is one.
  return { name: name === '' ? 'file' : name, bytes: bytes.length === 0 ? Buffer.from('\n') : bytes };
}
