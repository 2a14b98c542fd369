import { settledCard } from '#core/approvals/approval-card.ts';
import { cancelOrphans } from '#core/approvals/cancel-orphans.ts';
import { expireApprovals } from '#core/approvals/expire-approvals.ts';
import type { Db } from '#core/kit/database.ts';
import type { LaneWake } from '#core/lanes/lane.ts';
import { resumeTurns } from '#core/lanes/resume-turns.ts';
import { putMessages } from '#core/outbox/put-messages.ts';

/** Ends approvals whose time is over (the card says so, the turn goes on with a "no") or whose turn has ended. */
export async function sweepApprovals(
  deps: { readonly db: Db; readonly ring: (wakes: readonly LaneWake[]) => Promise<void> },
  signal: AbortSignal,
): Promise<void> {
  await cancelOrphans(deps);
  const wakes: LaneWake[] = [];
  await expireApprovals(
    deps,
    async (tx, approval) => {
      wakes.push(...(await resumeTurns(tx, [approval.turnId])));
      await putMessages(tx, [settledCard(approval)]);
    },
    signal,
  );
  if (wakes.length > 0) await deps.ring(wakes);
}
