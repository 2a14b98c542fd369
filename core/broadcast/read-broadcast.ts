import type { Db, Tx } from '../kit/database.ts';
import type { Broadcast } from './broadcast.ts';
import { selectBroadcasts } from './broadcast-store.ts';

/** One broadcast with what became of it at each target. */
export async function readBroadcast(db: Db | Tx, id: string): Promise<Broadcast | undefined> {
  return (await selectBroadcasts(db, { id, rowsMax: 1 }))[0];
}

/** The latest broadcasts, newest first. */
export async function listBroadcasts(db: Db, rowsMax: number): Promise<readonly Broadcast[]> {
  return await selectBroadcasts(db, { rowsMax });
}
