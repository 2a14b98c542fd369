import type { Db, Tx } from '../kit/database.ts';
import type { Conversation } from './origin.ts';
import type { Thread } from './session.ts';
import { ensureThread } from './session-store.ts';

/**
 * The thread of a conversation; at the first message it is created with the defaults (queue mode steer). Its agent is
 * the one that person chose for themselves, else the thread's.
 */
export async function openThread(db: Db | Tx, conversation: Conversation, personId?: string): Promise<Thread> {
  return await ensureThread(db, conversation, personId);
}
