import type { Tx } from '../kit/database.ts';
import type { LaneWake } from '../lanes/lane.ts';
import { resumeTurns } from '../lanes/resume-turns.ts';
import { type ApprovalAnswer, type SettleOutcome, settleApproval } from './settle-approval.ts';
import { refreshCards } from './show-approval.ts';

/**
 * Decides an approval and lets its turn go on, in one transaction: every card is rewritten, the lane resumed.
 * @returns the outcome and the wakes to ring after the commit.
 */
export async function answerApproval(
  tx: Tx,
  answer: ApprovalAnswer,
): Promise<{ readonly outcome: SettleOutcome; readonly wakes: readonly LaneWake[] }> {
  const wakes: LaneWake[] = [];
  const outcome = await settleApproval(tx, answer, async ({ approval }) => {
    wakes.push(...(await resumeTurns(tx, [approval.turnId])));
    await refreshCards(tx, [approval]);
  });
  // A button that can still be pressed although it is decided stands on a card that was not brought up to date.
  if (outcome.kind === 'already' || (outcome.kind === 'expired' && outcome.approval.state === 'expired')) {
    await refreshCards(tx, [outcome.approval]);
  }
  return { outcome, wakes };
}
