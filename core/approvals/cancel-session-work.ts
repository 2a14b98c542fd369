import type { Tx } from '../kit/database.ts';
import { cancelTurns } from '../lanes/cancel-turns.ts';
import type { CancelledTurns } from '../lanes/lane.ts';
import { cancelQuestions } from '../questions/cancel-questions.ts';
import { cancelApprovals } from './cancel-approvals.ts';
import { refreshCards } from './show-approval.ts';

/**
 * Stops everything of a session: the running turn is asked to end, waiting and queued ones end here, their approvals
 * and questions are cancelled and their cards say so. The caller rings the wake after its commit.
 */
export async function cancelSessionWork(tx: Tx, sessionId: string): Promise<CancelledTurns> {
  let cancelled: CancelledTurns = { isRunningAsked: false, ended: [], wake: undefined };
  await cancelApprovals(tx, { sessionId }, 'the work was stopped', async (approvals) => {
    // Before the lane: whoever answers one holds it already when they come to the lane.
    await cancelQuestions(tx, { sessionId });
    cancelled = await cancelTurns(tx, sessionId, { withQueued: true });
    await refreshCards(tx, approvals);
  });
  return cancelled;
}
