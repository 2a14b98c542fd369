import { z } from 'zod';
import type { OutboundBody } from '#core/outbox/outbound.ts';

/** The account name of every channel of our own: there is one of each. */
export const hostedAccount = 'local';

/** The Postgres notification channel for everything that happens in conversations of our own channels. */
export const hostedNotifications = 'console';

/** The Postgres notification channel on which turns say that they started, wait or ended; any channel's turns. */
export const turnNotifications = 'turn_state';

/** One message of a conversation on a channel of our own, as it stands now. */
export interface HostedMessage {
  /** Order of creation over all conversations; the cursor for older history. */
  readonly id: number;
  /** Order of change within the conversation; the cursor for following it. */
  readonly change: number;
  readonly messageId: string;
  readonly direction: 'in' | 'out';
  /** Who wrote it, for `in`. */
  readonly author: string | undefined;
  readonly body: OutboundBody;
  readonly revision: number;
  readonly createdAt: Date;
  readonly isDeleted: boolean;
}

const turnNoteSchema = z.object({
  threadKey: z.string(),
  sessionId: z.string(),
  turnId: z.string(),
  state: z.enum(['started', 'waiting', 'done', 'failed', 'cancelled', 'absorbed']),
  /** The message that caused the turn, so that whoever wrote it knows their own. */
  messageId: z.string().optional(),
  /** For `absorbed`: the turn that took the message in. */
  intoTurnId: z.string().optional(),
  /** For `waiting`: approval, timer, child, budget or person. */
  waitingFor: z.string().optional(),
  approvalId: z.string().optional(),
});

/** What the two notification channels carry; a `message` note only says that there is something to read. */
export const hostedNoteSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('message'), threadKey: z.string(), change: z.number() }),
  z.object({
    kind: z.literal('draft'),
    threadKey: z.string(),
    draftId: z.number(),
    markdown: z.string(),
    /** Whether the beginning was left out because a notification is limited in size. */
    isTail: z.boolean(),
    /** UTF-16 units left out at the beginning. */
    from: z.number().optional(),
  }),
  z.object({ kind: z.literal('typing'), threadKey: z.string() }),
  z.object({
    kind: z.literal('ack'),
    threadKey: z.string(),
    actionId: z.string(),
    text: z.string().optional(),
    isAlert: z.boolean().optional(),
  }),
  /** A form to fill in, for the client that made the request `actionId`. */
  z.object({
    kind: z.literal('form'),
    threadKey: z.string(),
    actionId: z.string(),
    form: z.object({
      token: z.string(),
      title: z.string(),
      submitLabel: z.string(),
      fields: z.array(
        z.object({
          name: z.string(),
          label: z.string(),
          isLong: z.boolean(),
          isRequired: z.boolean(),
          charsMax: z.number(),
        }),
      ),
    }),
  }),
  turnNoteSchema.extend({ kind: z.literal('turn') }),
]);

export type HostedNote = z.infer<typeof hostedNoteSchema>;
