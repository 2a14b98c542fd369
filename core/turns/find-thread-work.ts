import type { Db, Tx } from '../kit/database.ts';
import { selectThreadWork, type ThreadWork } from './turn-store.ts';

/** The turns of a thread that have not ended, in lane order. */
export async function findThreadWork(db: Db | Tx, threadKey: string): Promise<readonly ThreadWork[]> {
  return await selectThreadWork(db, threadKey);
}
