import { healMarkdown, openFence } from '#bots/markdown/heal-markdown.ts';
import { noticeMarks, taskMarks } from '#bots/markdown/neutral-marks.ts';
import { renderCode } from '#bots/markdown/render-styled.ts';
import { joinStyled, type StyledBlock, type StyledText } from '#bots/markdown/styled-text.ts';
import { AppError } from '#core/kit/errors.ts';
import type { Button, OutboundBody, OutboundPart } from '#core/outbox/outbound.ts';
import { renderBlocks, splitForDiscord } from './discord-markdown.ts';

/** Longest text of one plain message, in UTF-16 units. */
export const textMax = 2_000;
/** Longest text over all text displays of one card, with room for what the frame adds. */
const cardTextMax = 3_800;
/** More messages than this for one answer become a head and a file. */
export const partsMax = 3;
/** Characters of a button's id; ours are ASCII, so bytes are the same. */
export const buttonTokenBytesMax = 100;
export const buttonsPerRowMax = 5;
/** What every server allows without boosts. */
export const uploadBytesMax = 10 * 1024 * 1024;
/** Of the 40 components one message may hold, text and frame included. */
const rowsMax = 5;
const labelMax = 80;

/** Flags of a message. */
export const flags = {
  suppressEmbeds: 1 << 2,
  ephemeral: 1 << 6,
  loading: 1 << 7,
  suppressNotifications: 1 << 12,
  componentsV2: 1 << 15,
} as const;

/** One platform message: plain text, a card of components, or a file. */
export type Unit =
  | { readonly kind: 'text'; readonly content: string }
  | { readonly kind: 'card'; readonly components: readonly unknown[] }
  | { readonly kind: 'file'; readonly name: string; readonly bytes: Buffer };

const componentTypes = { row: 1, button: 2, text: 10, container: 17 } as const;
const buttonStyles = { primary: 1, secondary: 2, success: 3, danger: 4, link: 5 } as const;

type Notice = Extract<OutboundPart, { type: 'notice' }>;

const blue = 0x58_65_f2;
const green = 0x2d_7d_46;
const yellow = 0xf0_b2_32;
const red = 0xda_37_3c;
const violet = 0x9b_59_b6;
const grey = 0x80_84_8e;

const accents: Readonly<Record<Notice['level'], number>> = {
  info: blue,
  success: green,
  warn: yellow,
  error: red,
  status: grey,
  question: violet,
  announcement: violet,
};

const overflowName = 'answer.md';
const overflowNote = `… the whole text is in ${overflowName}`;

/**
 * Renders a message for Discord. Prose is plain text, because only that is shown in notifications and can be quoted;
 * what has buttons, a level, progress or an urgent priority is a card.
 *
 * @param options.asCard keeps a message a card that already is one: Discord does not turn it back.
 * @throws AppError `channel.rejected` for a button nobody could press, `message.too_large` for a file over the limit.
 */
export function renderBody(body: OutboundBody, options: { readonly asCard?: boolean } = {}): Unit[] {
  const content = collect(body);
  const isCard = options.asCard === true || content.rows.length > 0 || content.accent !== undefined;
  const mentions = new Set(body.mentions ?? []);
  const max = isCard ? cardTextMax : textMax;
  let texts = splitForDiscord(content.blocks, max, mentions);
  const files: Unit[] = content.files.map(toFile);
  if (texts.length > partsMax || content.isClipped) {
    const [head = ''] = splitForDiscord(content.blocks, max - overflowNote.length - 4, mentions);
    texts = [`${head}${head === '' ? '' : '\n\n'}_${overflowNote}_`];
    const bytes = Buffer.from(content.sources.join('\n\n').toWellFormed());
    files.unshift({ kind: 'file', name: overflowName, bytes });
  }
  texts = withPings(texts, body, max);
  // Discord shows no empty message, and buttons need one to hang on.
  if (texts.length === 0 && (files.length === 0 || content.rows.length > 0)) texts = ['…'];
  const units = texts.map(
    (text, index): Unit =>
      isCard
        ? toCard(text, content.accent, index === texts.length - 1 ? content.rows : [])
        : { kind: 'text', content: text },
  );
  return [...units, ...files];
}

interface Content {
  readonly blocks: readonly StyledBlock[];
  readonly sources: readonly string[];
  readonly files: readonly Extract<OutboundPart, { type: 'file' }>[];
  readonly rows: readonly (readonly unknown[])[];
  readonly accent: number | undefined;
  readonly isClipped: boolean;
}

function collect(body: OutboundBody): Content {
  const blocks: StyledBlock[] = [];
  const sources: string[] = [];
  const files: Extract<OutboundPart, { type: 'file' }>[] = [];
  const rows: unknown[][] = [];
  let accent = body.priority === 'urgent' ? red : body.priority === 'high' ? yellow : undefined;
  let isClipped = false;
  const add = (markdown: string): void => {
    const rendered = renderBlocks(markdown);
    blocks.push(...rendered.blocks);
    sources.push(markdown);
    isClipped ||= rendered.isClipped;
  };
  for (const part of body.parts) {
    switch (part.type) {
      case 'markdown':
        add(body.isUnfinished === true ? healed(part.markdown) : part.markdown);
        break;
      case 'notice':
        add(`${noticeMarks[part.level]}${startsBlock.test(part.markdown) ? '\n\n' : ' '}${part.markdown}`);
        accent ??= accents[part.level];
        break;
      case 'progress':
        add(progressText(part));
        accent ??= progressAccent(part);
        break;
      case 'code':
        blocks.push(renderCode(part.text, part.language));
        sources.push(part.text);
        break;
      case 'fields': {
        const text = part.fields.map(([name, value]) => `**${name}:** ${value}`).join('\n');
        blocks.push({ ...fieldLines(part.fields), kind: 'text', headLength: 0 });
        sources.push(text);
        break;
      }
      case 'buttons':
        for (const row of part.rows) {
          if (row.length > 0) rows.push(row.map((button, column) => toButton(button, `${rows.length}.${column}`)));
        }
        break;
      case 'file':
        files.push(part);
        break;
    }
  }
  return { blocks, sources, files, rows: packRows(rows), accent, isClipped };
}

/** An answer that is being written, with its open marks closed; the ellipsis that says so stays outside of them. */
function healed(markdown: string): string {
  const text = markdown.replace(/ …$/, '');
  const closed = healMarkdown(text);
  return `${closed}${openFence(text) === undefined ? ' …' : '\n\n…'}`;
}

/** Markdown that is only a heading, list, quote, table or fence while it stands at the start of a line. */
const startsBlock = /^\s*(?:[#>|]|```|~~~|[-+*]\s|\d{1,9}[.)]\s)/;

type Progress = Extract<OutboundPart, { type: 'progress' }>;

function progressText(part: Progress): string {
  const tasks = part.tasks.map(({ title, state, detail }) => {
    const line = `${taskMarks[state]} ${title}`;
    return detail === undefined ? line : `${line} (${detail})`;
  });
  return [`**${part.title}**`, ...tasks].join('  \n');
}

function progressAccent({ tasks }: Progress): number {
  if (tasks.some(({ state }) => state === 'failed')) return red;
  return tasks.every(({ state }) => state === 'done' || state === 'skipped') ? green : blue;
}

function fieldLines(fields: readonly (readonly [string, string])[]): StyledText {
  return joinStyled(
    fields.map(([name, value]) => {
      const label = `${name}:`;
      const rendered = joinStyled(renderBlocks(value).blocks, '\n');
      const bold: StyledText = { text: label, spans: [{ style: 'bold', offset: 0, length: label.length }] };
      return joinStyled([bold, rendered], rendered.text.includes('\n') ? '\n' : ' ');
    }),
    '\n',
  );
}

/** An urgent message names whom it is for: only a mention in the text makes a sound. */
function withPings(texts: readonly string[], body: OutboundBody, max: number): string[] {
  if (body.priority !== 'urgent') return [...texts];
  const missing = (body.mentions ?? []).filter(
    (id) => /^\d{1,20}$/.test(id) && !texts.some((text) => text.includes(`<@${id}>`)),
  );
  if (missing.length === 0) return [...texts];
  const line = missing.map((id) => `<@${id}>`).join(' ');
  const [first = '', ...others] = texts;
  return first.length + line.length + 1 <= max ? [`${line}\n${first}`.trimEnd(), ...others] : [line, ...texts];
}

function toCard(text: string, accent: number | undefined, rows: Content['rows']): Unit {
  const inner = [
    { type: componentTypes.text, content: text },
    ...rows.map((row) => ({ type: componentTypes.row, components: row })),
  ];
  const container = { type: componentTypes.container, components: inner };
  return { kind: 'card', components: [accent === undefined ? container : { ...container, accent_color: accent }] };
}

/** Rows of at most five buttons. What does not fit into a card would be a button nobody sees. */
function packRows(rows: readonly (readonly unknown[])[]): unknown[][] {
  const packed = rows.flatMap((row) =>
    Array.from({ length: Math.ceil(row.length / buttonsPerRowMax) }, (_, index) =>
      row.slice(index * buttonsPerRowMax, (index + 1) * buttonsPerRowMax),
    ),
  );
  if (packed.length > rowsMax) {
    throw new AppError('channel.rejected', `${packed.length} rows of buttons cannot be sent to Discord.`, {
      mend: `Use at most ${rowsMax} rows of ${buttonsPerRowMax}.`,
    });
  }
  return packed;
}

function toButton(button: Button, place: string): unknown {
  const text = button.label.toWellFormed().trim();
  const label = text === '' ? '·' : text.length > labelMax ? `${text.slice(0, labelMax - 1).toWellFormed()}…` : text;
  const base = { type: componentTypes.button, label, ...(button.isDisabled === true ? { disabled: true } : {}) };
  if (button.token !== undefined) {
    const bytes = Buffer.byteLength(button.token);
    if (bytes < 1 || bytes > buttonTokenBytesMax || !button.token.isWellFormed()) {
      throw new AppError('channel.rejected', `A button token of ${bytes} bytes cannot be sent to Discord.`, {
        mend: `Use between 1 and ${buttonTokenBytesMax} bytes.`,
      });
    }
    return { ...base, style: buttonStyles[button.style ?? 'secondary'], custom_id: button.token };
  }
  if (
    button.url !== undefined &&
    /^https?:\/\//.test(button.url) &&
    URL.canParse(button.url) &&
    button.url.length <= 512
  ) {
    return { ...base, style: buttonStyles.link, url: button.url };
  }
  // A button that only shows what was chosen still needs an id of its own.
  if (button.isDisabled === true) return { ...base, style: buttonStyles.secondary, custom_id: `shown.${place}` };
  throw new AppError('channel.rejected', `The button "${label}" has neither a token nor a web address.`);
}

function toFile(part: Extract<OutboundPart, { type: 'file' }>): Unit {
  const bytes = Buffer.from(part.dataBase64, 'base64');
  if (bytes.length > uploadBytesMax) {
    throw new AppError('message.too_large', `The file ${part.name} has ${bytes.length} bytes.`, {
      mend: `Discord takes files of up to ${uploadBytesMax} bytes.`,
    });
  }
  const name = part.name
    .toWellFormed()
    .replace(/[\u0000-\u001f\u007f"<>:|?*\\/]/g, '_')
    .slice(-120);
  // The platform refuses an empty file, but the person should still see that there is one.
  return { kind: 'file', name: name === '' ? 'file' : name, bytes: bytes.length === 0 ? Buffer.from('\n') : bytes };
}
