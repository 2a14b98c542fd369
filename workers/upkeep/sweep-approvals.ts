import { cancelOrphans } from '#core/approvals/cancel-orphans.ts';
import { expireApprovals } from '#core/approvals/expire-approvals.ts';
import { refreshCards } from '#core/approvals/show-approval.ts';
import type { Db } from '#core/kit/database.ts';
import type { LaneWake } from '#core/lanes/lane.ts';
import { resumeTurns } from '#core/lanes/resume-turns.ts';
import { cancelOpenQuestions } from '#core/questions/cancel-questions.ts';
import { expireQuestions } from '#core/questions/expire-questions.ts';

/** Ends approvals and questions whose time is over (the card says so, the turn goes on) or whose turn has ended. */
export async function sweepApprovals(
  deps: { readonly db: Db; readonly ring: (wakes: readonly LaneWake[]) => Promise<void> },
  signal: AbortSignal,
): Promise<void> {
  await cancelOrphans(deps);
  await cancelOpenQuestions(deps);
  const wakes: LaneWake[] = [];
  await expireApprovals(
    deps,
    async (tx, approval) => {
      wakes.push(...(await resumeTurns(tx, [approval.turnId])));
      await refreshCards(tx, [approval]);
    },
    signal,
  );
  wakes.push(...(await expireQuestions(deps, signal)));
  if (wakes.length > 0) await deps.ring(wakes);
}
