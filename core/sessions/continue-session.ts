import { appendAudit } from '../audit/append-audit.ts';
import type { Tx } from '../kit/database.ts';
import { AppError } from '../kit/errors.ts';
import { putMessages } from '../outbox/put-messages.ts';
import {
  endIdleSession,
  lockMoving,
  type MovableSession,
  moveCards,
  rewriteSession,
  selectMovable,
} from './move-session-store.ts';
import { type Conversation, type Origin, threadKey } from './origin.ts';

/** Sessions offered at once. */
const listedMax = 5;

/** The conversations a person could take to a thread, the latest first. */
export async function movableSessions(
  tx: Tx,
  personId: string,
  exceptThread: string,
): Promise<readonly MovableSession[]> {
  return await selectMovable(tx, { personId, exceptThread, rowsMax: listedMax });
}

/** What went along and what did not. */
export interface MovedSession {
  readonly agentName: string;
  readonly from: Conversation;
  /** A turn is at work: what it is saying right now still ends in the old place. */
  readonly isRunning: boolean;
}

/**
 * Hands a session to another thread: its memory and record, its lane with everything that waits on it, and its open
 * questions with their cards. The old thread is told where it went; the next message there begins anew. A turn that runs
 * goes on running: the message it is writing is finished where it was begun, all that follows is said in the new thread.
 *
 * @param to the origin of the message that asked for it.
 * @throws AppError `command.invalid` when it has ended, is here already, or the same agent is at work here.
 */
export async function continueSession(
  tx: Tx,
  sessionId: string,
  to: Origin,
  by: { readonly personId: string; readonly inboxId: string },
): Promise<MovedSession> {
  const session = await lockMoving(tx, sessionId);
  if (session === undefined || !session.isActive) {
    throw new AppError('command.invalid', 'That conversation has ended.', {
      mend: 'Start a new one by writing to me.',
    });
  }
  if (session.threadKey === threadKey(to)) {
    throw new AppError('command.invalid', 'That conversation is here already.', { mend: 'Just write on.' });
  }
  if (!(await endIdleSession(tx, threadKey(to), session.agentName))) {
    throw new AppError('command.invalid', `**${session.agentName}** is at work here.`, {
      mend: 'Wait until that is done, or /stop it, and try again.',
    });
  }
  const place = placeName(to);
  await rewriteSession(tx, session, to);
  await moveCards(tx, session, to, `This goes on in ${place}.`);
  await putMessages(tx, [
    {
      key: `inbox:${by.inboxId}:moved`,
      conversation: session.conversation,
      importance: 'notice',
      body: {
        parts: [
          {
            type: 'notice',
            level: 'info',
            markdown: `This conversation goes on in ${place}. What you write here from now on begins a new one.`,
          },
        ],
      },
    },
  ]);
  await appendAudit(tx, [
    {
      kind: 'session.moved',
      chainKey: session.id,
      sessionId: session.id,
      body: { from: session.threadKey, to: threadKey(to), personId: by.personId },
    },
  ]);
  return { agentName: session.agentName, from: session.conversation, isRunning: session.isRunning };
}

/** A conversation in words that give nothing away to others: the platform and the kind of place. */
export function placeName({ channel, kind }: Pick<Conversation, 'channel' | 'kind'>): string {
  const name = channel.charAt(0).toUpperCase() + channel.slice(1);
  return kind === 'dm' ? `a private conversation on ${name}` : `a ${kind} on ${name}`;
}
