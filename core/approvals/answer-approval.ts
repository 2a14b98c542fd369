import type { Tx } from '../kit/database.ts';
import type { LaneWake } from '../lanes/lane.ts';
import { resumeTurns } from '../lanes/resume-turns.ts';
import { putMessages } from '../outbox/put-messages.ts';
import { settledCard } from './approval-card.ts';
import { type ApprovalAnswer, type SettleOutcome, settleApproval } from './settle-approval.ts';

/**
 * Decides an approval and lets its turn go on, in one transaction: the card is rewritten, the lane resumed.
 * @returns the outcome and the wakes to ring after the commit.
 */
export async function answerApproval(
  tx: Tx,
  answer: ApprovalAnswer,
): Promise<{ readonly outcome: SettleOutcome; readonly wakes: readonly LaneWake[] }> {
  const wakes: LaneWake[] = [];
  const outcome = await settleApproval(tx, answer, async ({ approval }) => {
    wakes.push(...(await resumeTurns(tx, [approval.turnId])));
    await putMessages(tx, [settledCard(approval)]);
  });
  return { outcome, wakes };
}
