import type { Db } from '../kit/database.ts';
import { prunePaces } from './pace-store.ts';
import { endPreviews, markStale } from './stale-store.ts';

/**
 * Gives up messages past their time: after an outage a thread gets its answers, not a replay of old progress. Previews
 * that nobody will finish are ended.
 * @returns how many were given up.
 */
export async function dropStale(deps: { readonly db: Db }): Promise<number> {
  await endPreviews(deps.db);
  await prunePaces(deps.db);
  return await markStale(deps.db);
}
