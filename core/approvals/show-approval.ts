import type { Tx } from '../kit/database.ts';
import { putMessages } from '../outbox/put-messages.ts';
import { type Approval, offeredPresses } from './approval.ts';
import { approvalCard, settledCard } from './approval-card.ts';
import { listMessage } from './approval-list.ts';
import { mintTokens, type PressTokens } from './approval-token.ts';
import { type ApprovalCard, insertCards, selectCards, selectLists } from './card-store.ts';

/** Shows a pending request in further places. @returns the tokens of the last card, for the caller who asked. */
export async function showCards(tx: Tx, approval: Approval, cards: readonly ApprovalCard[]): Promise<PressTokens> {
  await insertCards(tx, cards);
  let tokens: PressTokens = {};
  for (const card of cards) {
    tokens = await mintTokens(tx, approval, card.conversation, offeredPresses(approval));
    await putMessages(tx, [approvalCard(approval, card, tokens)]);
  }
  return tokens;
}

/** Makes every card and list say what is true of their requests now: decided ones show by whom, when and why. */
export async function refreshCards(tx: Tx, approvals: readonly Approval[]): Promise<void> {
  if (approvals.length === 0) return;
  const byId = new Map(approvals.map((approval) => [approval.id, approval]));
  for (const card of await selectCards(tx, [...byId.keys()])) {
    const approval = byId.get(card.approvalId);
    if (approval === undefined) continue;
    if (approval.state === 'pending') {
      const tokens = await mintTokens(tx, approval, card.conversation, offeredPresses(approval));
      await putMessages(tx, [approvalCard(approval, card, tokens)]);
    } else await putMessages(tx, [settledCard(approval, card)]);
  }
  for (const list of await selectLists(tx, [...byId.keys()])) await putMessages(tx, [await listMessage(tx, list)]);
}
