import type { OutboundPart } from '#core/outbox/outbound.ts';

type Notice = Extract<OutboundPart, { type: 'notice' }>;
type Progress = Extract<OutboundPart, { type: 'progress' }>;

/** The sign in front of a notice where a channel has no look of its own for its level. */
export const noticeMarks: Readonly<Record<Notice['level'], string>> = {
  info: 'ℹ️',
  success: '✅',
  warn: '⚠️',
  error: '❌',
  status: '📊',
  question: '❓',
  announcement: '📣',
};

export const taskMarks: Readonly<Record<Progress['tasks'][number]['state'], string>> = {
  pending: '▫️',
  running: '⏳',
  done: '✅',
  failed: '❌',
  skipped: '➖',
};

/** Progress as Markdown, for channels without a card of their own. */
export function progressMarkdown(part: Progress): string {
  const tasks = part.tasks.map(
    ({ title, state, detail }) => `${taskMarks[state]} ${title}${detail === undefined ? '' : ` (${detail})`}`,
  );
  return [`**${part.title}**`, ...tasks].join('\n');
}
