import { appendAudit } from '../audit/append-audit.ts';
import type { Db, Tx } from '../kit/database.ts';
import type { Approval } from './approval.ts';
import { expireOne } from './approval-store.ts';

/**
 * Ends every pending approval whose time is over, each in a transaction of its own with whatever `resume` does (resume
 * the lane, rewrite the card). Several processes may run it at once.
 * @returns how many were ended.
 */
export async function expireApprovals(
  deps: { readonly db: Db },
  resume: (tx: Tx, approval: Approval) => Promise<void>,
  signal: AbortSignal,
): Promise<number> {
  let count = 0;
  while (!signal.aborted) {
    const approval = await deps.db.transaction().execute(async (tx) => {
      const expired = await expireOne(tx);
      if (expired === undefined) return undefined;
      await resume(tx, expired);
      await appendAudit(tx, [
        {
          kind: 'approval.expired',
          chainKey: expired.sessionId,
          sessionId: expired.sessionId,
          body: { approvalId: expired.id, turnId: expired.turnId, actionDigest: expired.actionDigest },
        },
      ]);
      return expired;
    });
    if (approval === undefined) break;
    count += 1;
  }
  return count;
}
