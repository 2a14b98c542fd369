import type { Db } from '../kit/database.ts';
import { pruneCalls, retryRows, selectCalls } from './outgoing-store.ts';
import type { OutgoingRecord } from './webhook.ts';

/** The latest calls to the outside, newest first. */
export async function listCalls(
  db: Db,
  filter: { readonly state?: OutgoingRecord['state']; readonly rowsMax: number },
): Promise<readonly OutgoingRecord[]> {
  return await selectCalls(db, filter);
}

/** Makes one call, or every call that was given up, due again. @returns how many. */
export async function retryCalls(db: Db, which: { readonly id: string } | 'dead'): Promise<number> {
  return await retryRows(db, which);
}

/** Forgets calls that are long over: taken ones after a week, given up ones after a month. */
export async function forgetCalls(deps: { readonly db: Db }): Promise<void> {
  await pruneCalls(deps.db);
}
