import { appendAudit } from '../audit/append-audit.ts';
import type { Tx } from '../kit/database.ts';
import type { Approval } from './approval.ts';
import { cancelPending } from './approval-store.ts';

/**
 * Cancels what is pending of a turn or of a whole session, because the work that asked is over.
 * @param then runs before the audit: cancel the lane and rewrite the cards here, to keep the lock order.
 */
export async function cancelApprovals(
  tx: Tx,
  filter: { readonly turnId: string } | { readonly sessionId: string },
  reason: string,
  then: (cancelled: readonly Approval[]) => Promise<void>,
): Promise<readonly Approval[]> {
  const cancelled = await cancelPending(tx, filter, reason);
  await then(cancelled);
  await appendAudit(
    tx,
    cancelled.map((approval) => ({
      kind: 'approval.cancelled',
      chainKey: approval.sessionId,
      sessionId: approval.sessionId,
      body: { approvalId: approval.id, turnId: approval.turnId, reason },
    })),
  );
  return cancelled;
}
