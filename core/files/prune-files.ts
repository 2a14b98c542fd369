import type { Db } from '../kit/database.ts';
import { deleteEndedBlobs } from './blob-store.ts';

/** So that one removal never holds many locks or much log at once. */
const rowsMax = 200;

/** Removes stored files whose time is over. @returns how many. */
export async function pruneFiles(deps: { readonly db: Db }): Promise<number> {
  let removed = 0;
  for (;;) {
    const count = await deleteEndedBlobs(deps.db, rowsMax);
    removed += count;
    if (count < rowsMax) return removed;
  }
}
