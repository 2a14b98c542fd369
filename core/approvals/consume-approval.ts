import type { Db, Tx } from '../kit/database.ts';
import { markConsumed, selectConsumption } from './approval-store.ts';

/** `consumed` is the only one under which the action may be done. */
export type Consumption = 'consumed' | 'already_consumed' | 'other_action' | 'not_approved' | 'unknown';

/**
 * Spends an approval on doing its action, once. Called at the moment of doing with the digest of what is about to be
 * done, computed anew: an answer given to one action is worth nothing for another.
 */
export async function consumeApproval(db: Db | Tx, approvalId: string, digest: string): Promise<Consumption> {
  if (await markConsumed(db, approvalId, digest)) return 'consumed';
  const found = await selectConsumption(db, approvalId);
  if (found === undefined) return 'unknown';
  if (found.digest !== digest) return 'other_action';
  return found.state === 'approved' ? 'already_consumed' : 'not_approved';
}
