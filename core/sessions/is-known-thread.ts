import type { Db, Tx } from '../kit/database.ts';
import { type Conversation, threadKey } from './origin.ts';
import { hasThread } from './session-store.ts';

/** Whether anybody was ever answered in this thread. */
export async function isKnownThread(db: Db | Tx, conversation: Conversation): Promise<boolean> {
  return await hasThread(db, threadKey(conversation));
}
