import type { Db, Tx } from '../kit/database.ts';
import type { Conversation } from './origin.ts';
import type { Thread } from './session.ts';
import { ensureThread } from './session-store.ts';

/** The thread of a conversation; at the first message it is created with the defaults (queue mode steer). */
export async function openThread(db: Db | Tx, conversation: Conversation): Promise<Thread> {
  return await ensureThread(db, conversation);
}
