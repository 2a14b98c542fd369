import type { Button as ButtonElement, KnownBlock, RichTextBlock, TaskCardBlock } from '@slack/types';
import { noticeMarks, progressMarkdown, taskMarks } from '#bots/markdown/neutral-marks.ts';
import { AppError } from '#core/kit/errors.ts';
import type { Button, OutboundPart } from '#core/outbox/outbound.ts';
import { escapeMrkdwn, renderMrkdwn } from './render-mrkdwn.ts';
import { shieldMentions } from './shield-mentions.ts';

/** Bytes of a button's token: less than the 2,000 characters Slack takes for a value, and enough for any of ours. */
export const buttonTokenBytesMax = 255;
const labelMax = 75;
const sectionMax = 3_000;
const fieldMax = 2_000;
const fieldsPerSection = 10;
const shortValueMax = 200;
const buttonsPerBlock = 25;
const tasksMax = 40;
const planSizeMax = 4_000;
const noticeMax = 2_400;

/** A piece of a message: a block and how much of Slack's limit for all text of a message it takes. */
export interface SizedBlock {
  readonly block: KnownBlock;
  readonly size: number;
}

export type Notice = Extract<OutboundPart, { type: 'notice' }>;

const alertLevels = { warn: 'warning', error: 'error', success: 'success' } as const;

/** Markdown that is only a heading, list, quote, table or fence while it stands at the start of a line. */
const startsBlock = /^[^\S\n]*(?:[#>|]|```|~~~|[-+*]\s|\d{1,9}[.)]\s)/m;

/** A notice in the look of its level; undefined when it is too long or too rich for anything but Markdown. */
export function noticeBlock(notice: Notice, isPlain: boolean): SizedBlock | undefined {
  const { level } = notice;
  const markdown = shieldMentions(notice.markdown);
  if (markdown.length > noticeMax || startsBlock.test(markdown)) return undefined;
  if (!isPlain && (level === 'warn' || level === 'error' || level === 'success')) {
    const text = shown(renderMrkdwn(markdown, noticeMax));
    return sized({ type: 'alert', level: alertLevels[level], text: { type: 'mrkdwn', text } }, text.length);
  }
  const text = renderMrkdwn(`${noticeMarks[level]} ${markdown}`, noticeMax);
  if (level === 'info' || level === 'status') {
    return sized({ type: 'context', elements: [{ type: 'mrkdwn', text }] }, text.length);
  }
  return section(text);
}

/** The Markdown of a notice, with the sign of its level in front. */
export function noticeMarkdown({ level, markdown }: Notice): string {
  return `${noticeMarks[level]}${startsBlock.test(markdown) ? '\n\n' : ' '}${markdown}`;
}

export function section(text: string): SizedBlock {
  const cut = text.length > sectionMax ? `${text.slice(0, sectionMax - 1).toWellFormed()}…` : text;
  return sized({ type: 'section', text: { type: 'mrkdwn', text: shown(cut) }, expand: true }, cut.length);
}

/** Short values side by side, long ones as lines of their own. */
export function fieldBlocks(fields: readonly (readonly [string, string])[]): SizedBlock[] {
  const texts = fields.map(([name, value]) => ({
    text: `*${escapeMrkdwn(name)}*\n${renderMrkdwn(shieldMentions(value), fieldMax - 120 - name.length * 5)}`,
    isShort: value.length <= shortValueMax && name.length <= 60,
  }));
  if (texts.some(({ isShort }) => !isShort)) return texts.map(({ text }) => section(text));
  const blocks: SizedBlock[] = [];
  for (let start = 0; start < texts.length; start += fieldsPerSection) {
    const group = texts.slice(start, start + fieldsPerSection);
    blocks.push(
      sized(
        { type: 'section', fields: group.map(({ text }) => ({ type: 'mrkdwn', text })) },
        group.reduce((sum, { text }) => sum + text.length, 0),
      ),
    );
  }
  return blocks;
}

const taskStatus = {
  pending: 'pending',
  running: 'in_progress',
  done: 'complete',
  failed: 'error',
  skipped: 'complete',
} as const;

/** Progress as a plan with a card for each task. */
export function progressBlock(part: Extract<OutboundPart, { type: 'progress' }>, isPlain: boolean): SizedBlock {
  if (isPlain) return section(renderMrkdwn(progressMarkdown(part).replaceAll('\n', '  \n'), sectionMax));
  const title = plainText(part.title, 150);
  let size = title.length;
  const tasks = part.tasks.slice(0, tasksMax).map((task): TaskCardBlock => {
    const name = plainText(task.state === 'skipped' ? `${taskMarks.skipped} ${task.title}` : task.title, 120);
    const detail = plainText(task.detail ?? '', 200);
    // With many tasks their names have to do.
    const hasDetail = task.detail !== undefined && task.detail !== '' && size < planSizeMax;
    size += name.length + 20 + (hasDetail ? detail.length : 0);
    return {
      type: 'task_card',
      task_id: task.id,
      title: name,
      status: taskStatus[task.state],
      ...(hasDetail ? { details: richText(detail) } : {}),
    };
  });
  return sized({ type: 'plan', title, tasks }, size);
}

function richText(text: string): RichTextBlock {
  return {
    type: 'rich_text',
    elements: [{ type: 'rich_text_section', elements: [{ type: 'text', text }] }],
  };
}

/**
 * A row of buttons. Slack has no disabled buttons, so these are left as a line of text.
 * @throws AppError `channel.rejected` for a button nobody could press.
 */
export function buttonBlocks(rows: readonly (readonly Button[])[], first: number): SizedBlock[] {
  const blocks: SizedBlock[] = [];
  for (const [index, row] of rows.entries()) {
    const disabled = row.filter((button) => button.isDisabled === true);
    const elements = row
      .filter((button) => button.isDisabled !== true)
      .slice(0, buttonsPerBlock)
      .map((button, column) => toElement(button, `switchyard_${first + index}_${column}`));
    if (elements.length > 0) {
      const size = elements.reduce((sum, { text }) => sum + text.text.length + 40, 0);
      blocks.push(sized({ type: 'actions', elements }, size));
    }
    if (disabled.length > 0) {
      const text = disabled.map(({ label }) => `~${escapeMrkdwn(plainText(label, labelMax))}~`).join('  ');
      blocks.push(sized({ type: 'context', elements: [{ type: 'mrkdwn', text }] }, text.length));
    }
  }
  return blocks;
}

function toElement(button: Button, actionId: string): ButtonElement {
  const base: ButtonElement = {
    type: 'button',
    action_id: actionId,
    text: { type: 'plain_text', text: plainText(button.label, labelMax), emoji: true },
    ...(button.style === undefined ? {} : { style: button.style === 'danger' ? 'danger' : 'primary' }),
  };
  if (button.token !== undefined) {
    const bytes = Buffer.byteLength(button.token);
    if (bytes < 1 || bytes > buttonTokenBytesMax || !button.token.isWellFormed()) {
      throw new AppError('channel.rejected', `A button token of ${bytes} bytes cannot be sent to Slack.`, {
        mend: `Use between 1 and ${buttonTokenBytesMax} bytes.`,
      });
    }
    return { ...base, value: button.token };
  }
  if (
    button.url !== undefined &&
    /^https?:\/\//.test(button.url) &&
    URL.canParse(button.url) &&
    button.url.length <= 3_000
  ) {
    return { ...base, url: button.url };
  }
  throw new AppError('channel.rejected', `The button "${base.text.text}" has neither a token nor a web address.`);
}

function plainText(text: string, max: number): string {
  const clean = text
    .toWellFormed()
    .replaceAll(/[\u0000-\u001f\u007f]+/g, ' ')
    .trim();
  if (clean === '') return '·';
  return clean.length > max ? `${clean.slice(0, max - 1).toWellFormed()}…` : clean;
}

/** Slack refuses texts without anything to see. */
function shown(text: string): string {
  return text.trim() === '' ? '…' : text;
}

export function sized(block: KnownBlock, size: number): SizedBlock {
  return { block, size };
}
