import type { Db, Tx } from '../kit/database.ts';
import type { Conversation } from '../sessions/origin.ts';
import { markSeen } from './reach-store.ts';

/** Remembers where somebody can be reached: the private conversation they used last. */
export async function noteSeen(db: Db | Tx, identityId: string, conversation: Conversation): Promise<void> {
  const { channel, account, space, room, thread, kind } = conversation;
  await markSeen(db, identityId, kind === 'dm' ? { channel, account, space, room, thread, kind } : undefined);
}
