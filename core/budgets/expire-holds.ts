import type { Db } from '../kit/database.ts';
import { expireHolds as expireBatch } from './budget-store.ts';

/** Small, because a batch locks the budgets of all its holds at once. */
const batchMax = 50;

/**
 * Gives back the money of holds nobody extended: their process died. Several processes may run it at once.
 * @returns how many holds expired.
 */
export async function expireHolds(deps: { readonly db: Db }, signal: AbortSignal): Promise<number> {
  let total = 0;
  while (!signal.aborted) {
    const count = await expireBatch(deps.db, batchMax);
    total += count;
    if (count < batchMax) break;
  }
  return total;
}
