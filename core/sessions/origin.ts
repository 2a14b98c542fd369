import { z } from 'zod';

/** Where something came from and where its answers go. Written once on a turn; every hand-off carries it along. */
export const originSchema = z.object({
  /** The chat platform: telegram, slack, discord, console, web, file. */
  channel: z.string(),
  /** Our bot identity on that platform (bot id, team:app id). */
  account: z.string(),
  /** Workspace or guild, where the platform has one. */
  space: z.string().optional(),
  /** Chat or channel id. */
  room: z.string(),
  /** Topic, thread_ts or thread id; absent for the room's own stream. */
  thread: z.string().optional(),
  kind: z.enum(['dm', 'group', 'channel']),
  personId: z.string().optional(),
  identityId: z.string().optional(),
  /** The platform's id of the message that caused this, for replies. */
  messageId: z.string().optional(),
});

export type Origin = z.infer<typeof originSchema>;

/** The conversation part of an origin: enough to send something there. */
export const conversationSchema = originSchema.pick({
  channel: true,
  account: true,
  space: true,
  room: true,
  thread: true,
  kind: true,
});

export type Conversation = Pick<Origin, 'channel' | 'account' | 'space' | 'room' | 'thread' | 'kind'>;

/** The stable key of one conversation place; sessions, pacing and message order hang on it. */
export function threadKey(conversation: Pick<Origin, 'channel' | 'account' | 'room' | 'thread'>): string {
  return `${conversation.channel}:${conversation.account}:${conversation.room}:${conversation.thread ?? '-'}`;
}
