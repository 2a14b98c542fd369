import type { Db } from '../kit/database.ts';
import type { LaneWake } from '../lanes/lane.ts';
import { answerApproval } from './answer-approval.ts';
import type { SettleOutcome } from './settle-approval.ts';

/**
 * Gives one answer to several requests, each in a transaction of its own: one that somebody else decided meanwhile is
 * reported and stops none of the others. Repeating it decides nothing twice.
 * @returns the outcomes, by approval id, in the order given.
 */
export async function decideBatch(
  deps: { readonly db: Db; readonly ring: (wakes: readonly LaneWake[]) => Promise<void> },
  batch: {
    readonly approvalIds: readonly string[];
    readonly decision: 'approve' | 'deny';
    readonly personId: string;
    readonly reason: string | undefined;
    readonly via: string;
  },
): Promise<ReadonlyMap<string, SettleOutcome>> {
  const { approvalIds, ...answer } = batch;
  const outcomes = new Map<string, SettleOutcome>();
  for (const approvalId of new Set(approvalIds)) {
    const { outcome, wakes } = await deps.db
      .transaction()
      .execute(async (tx) => await answerApproval(tx, { ...answer, approvalId }));
    outcomes.set(approvalId, outcome);
    await deps.ring(wakes);
  }
  return outcomes;
}
