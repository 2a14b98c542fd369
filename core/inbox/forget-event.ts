import type { Db, Tx } from '../kit/database.ts';
import { forgetRaw } from './inbox-store.ts';

/** Forgets what an event said, for one that says a secret; that it came stays known. */
export async function forgetEvent(tx: Db | Tx, inboxId: string): Promise<void> {
  await forgetRaw(tx, inboxId);
}
