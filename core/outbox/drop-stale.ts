import type { Db } from '../kit/database.ts';
import { markStale } from './stale-store.ts';

/** Gives up messages past their time: after an outage a thread gets its answers, not a replay of old progress. */
export async function dropStale(deps: { readonly db: Db }): Promise<number> {
  return await markStale(deps.db);
}
