import type { MessageEntity } from 'grammy/types';
import { noticeMarks, progressMarkdown } from '#bots/markdown/neutral-marks.ts';
import { type RenderOptions, renderCode, renderStyled } from '#bots/markdown/render-styled.ts';
import { joinStyled, type Span, type StyledBlock, type StyledText } from '#bots/markdown/styled-text.ts';
import type { OutboundBody, OutboundPart } from '#core/outbox/outbound.ts';

/** A text with its styles as the Bot API takes them: nothing in it can fail to parse. */
export interface StyledUnit {
  readonly text: string;
  readonly entities: readonly MessageEntity[];
}

export interface TextOptions {
  /** Whether `@name` may ping somebody here. */
  readonly shieldMentions: boolean;
}

/** The text parts of a body as blocks, and the same as Markdown for a file or a richer rendering. */
export interface RenderedParts {
  readonly blocks: readonly StyledBlock[];
  readonly sources: readonly string[];
  /** The source is longer than any chat shows; only its head was rendered. */
  readonly isClipped: boolean;
}

/** Signs that open a message of this priority; its other marks are notification and mentions. */
const priorityMarks = { low: '', normal: '', high: '❗ ', urgent: '🚨 ' } as const;

export function renderParts(body: OutboundBody, { shieldMentions }: TextOptions): RenderedParts {
  const options: RenderOptions = { shieldMentions, allowUrl: (href) => mayMention(body, mentionedId(href)) };
  const blocks: StyledBlock[] = [];
  const sources: string[] = [];
  let isClipped = false;
  for (const part of body.parts) {
    if (part.type === 'code') {
      blocks.push(renderCode(part.text, part.language));
      sources.push(part.text);
    } else if (part.type === 'fields') {
      blocks.push({ ...fieldLines(part.fields, options), kind: 'text', headLength: 0 });
      sources.push(part.fields.map(([name, value]) => `**${name}:** ${value}`).join('\n'));
    } else {
      const markdown = markdownOf(part);
      if (markdown === undefined) continue;
      const rendered = renderStyled(markdown, options);
      blocks.push(...rendered.blocks);
      sources.push(markdown);
      isClipped ||= rendered.isClipped;
    }
  }
  return { blocks: withPriority(body, blocks), sources, isClipped };
}

/** A part that is prose, as Markdown; undefined for every other kind. */
export function markdownOf(part: OutboundPart): string | undefined {
  if (part.type === 'markdown') return part.markdown;
  if (part.type === 'progress') return progressMarkdown(part).replaceAll('\n', '  \n');
  if (part.type !== 'notice') return undefined;
  return `${noticeMarks[part.level]}${startsBlock.test(part.markdown) ? '\n\n' : ' '}${part.markdown}`;
}

/** Turns styled text into what the Bot API takes. */
export function toUnit({ text, spans }: StyledText): StyledUnit {
  return { text, entities: spans.map(toEntity) };
}

export function styled(text: string, style: Span['style']): StyledText {
  return { text, spans: [{ style, offset: 0, length: text.length }] };
}

/** The person a `tg://user` link names. */
export function mentionedId(href: string): number | undefined {
  const id = /^tg:\/\/user\?id=(\d{1,15})$/.exec(href)?.[1];
  return id === undefined ? undefined : Number(id);
}

/** Only who is listed may be pinged, whatever the text says. */
export function mayMention(body: OutboundBody, id: number | undefined): boolean {
  return id !== undefined && (body.mentions ?? []).includes(String(id));
}

/** The signs in front of the first text; for urgent ones a bell per person, which carries the mention that pings. */
export function priorityHead(body: OutboundBody): { readonly mark: string; readonly pinged: readonly number[] } {
  const { priority = 'normal' } = body;
  const pinged =
    priority === 'urgent'
      ? (body.mentions ?? [])
          .filter((id) => /^\d{1,15}$/.test(id))
          .map(Number)
          .slice(0, 20)
      : [];
  return { mark: priorityMarks[priority], pinged };
}

const bell = '🔔';

function withPriority(body: OutboundBody, blocks: readonly StyledBlock[]): readonly StyledBlock[] {
  const { mark, pinged } = priorityHead(body);
  const [first, ...others] = blocks;
  if (first === undefined || mark === '') return blocks;
  const bells: StyledText = {
    text: `${mark}${bell.repeat(pinged.length)}${pinged.length === 0 ? '' : ' '}`,
    spans: pinged.map((id, index) => ({
      style: 'link' as const,
      offset: mark.length + index * bell.length,
      length: bell.length,
      url: `tg://user?id=${id}`,
    })),
  };
  if (first.kind !== 'text') return [{ ...bells, text: bells.text.trimEnd(), kind: 'text', headLength: 0 }, ...blocks];
  return [{ ...joinStyled([bells, first], ''), kind: 'text', headLength: 0 }, ...others];
}

/** Markdown that is only a heading, list, quote, table or fence while it stands at the start of a line. */
const startsBlock = /^\s*(?:[#>|]|```|~~~|[-+*]\s|\d{1,9}[.)]\s)/;

function fieldLines(fields: readonly (readonly [string, string])[], options: RenderOptions): StyledText {
  return joinStyled(
    fields.map(([name, value]) => {
      const rendered = joinStyled(renderStyled(value, options).blocks, '\n');
      return joinStyled([styled(`${name}:`, 'bold'), rendered], rendered.text.includes('\n') ? '\n' : ' ');
    }),
    '\n',
  );
}

function toEntity({ style, offset, length, url, language }: Span): MessageEntity {
  if (style === 'link') {
    const id = mentionedId(url ?? '');
    if (id === undefined) return { type: 'text_link', offset, length, url: url ?? '' };
    // Only the id counts; the platform fills in the rest.
    return { type: 'text_mention', offset, length, user: { id, is_bot: false, first_name: '' } };
  }
  if (style === 'pre') return { type: 'pre', offset, length, ...(language === undefined ? {} : { language }) };
  return { type: style, offset, length };
}
