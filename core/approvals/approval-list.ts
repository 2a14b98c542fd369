import type { Tx } from '../kit/database.ts';
import { newToken } from '../kit/ids.ts';
import { utcTime } from '../kit/utc-time.ts';
import type { Button } from '../outbox/outbound.ts';
import type { NewMessage } from '../outbox/put-messages.ts';
import { type Approval, type ApprovalPress, type Decider, refusalOf } from './approval.ts';
import { placeOf } from './approval-card.ts';
import { findDecider, selectApprovalsByIds } from './approval-store.ts';
import { hashToken, mintTokens } from './approval-token.ts';
import { type ApprovalList, insertListButtons, type ListAction } from './card-store.ts';

/** Longer ones are cut in a list, and then it takes the card to approve them: nobody approves what they cannot see. */
const summaryCharsMax = 300;

/** A list as it stands now, with fresh buttons for what is still to decide. */
export async function listMessage(tx: Tx, list: ApprovalList): Promise<NewMessage> {
  const found = new Map((await selectApprovalsByIds(tx, list.approvalIds)).map((approval) => [approval.id, approval]));
  const approvals = list.approvalIds.flatMap((id) => found.get(id) ?? []);
  const decider = await findDecider(tx, list.personId);
  const rows: Button[][] = [];
  for (const [index, approval] of approvals.entries()) {
    const presses = approval.state === 'pending' && !list.isConfirming ? pressesFor(approval, decider) : [];
    if (presses.length === 0) continue;
    const tokens = await mintTokens(tx, approval, list.conversation, presses);
    rows.push(
      presses.flatMap((press): Button[] => {
        const token = tokens[press];
        if (token === undefined) return [];
        return press === 'approve'
          ? [{ label: `Approve ${index + 1}`, style: 'success', token }]
          : [{ label: `Deny ${index + 1}`, style: 'danger', token }];
      }),
    );
  }
  const approvable = approvals.filter(
    (approval) => approval.state === 'pending' && pressesFor(approval, decider).includes('approve'),
  );
  rows.push(...(await batchRow(tx, list, approvable.length)));
  const lines = approvals.map((approval, index) => `${index + 1}. ${lineOf(approval)}`);
  if (list.moreCount > 0) lines.push('', `… and ${list.moreCount} more; decide some and send /approvals again.`);
  const head =
    list.isConfirming && approvable.length > 0
      ? `**Approve all ${approvable.length}?** Each is done as soon as you say so.`
      : 'Waiting for a decision:';
  return {
    key: list.messageKey,
    conversation: list.conversation,
    importance: 'notice',
    body: {
      parts: [
        { type: 'markdown', markdown: [head, '', ...lines].join('\n') },
        ...(rows.length === 0 ? [] : [{ type: 'buttons' as const, rows }]),
      ],
    },
  };
}

/** One line about a request, for lists and reports. */
export function lineOf(approval: Approval): string {
  const what = `${approval.agentName}: \`${oneLine(approval.summary)}\``;
  if (approval.state === 'pending') {
    return `${what} (risk ${approval.risk}, in ${placeOf(approval)}, until ${utcTime(approval.expiresAt, approval.createdAt)}) · \`${approval.id}\``;
  }
  const who = approval.decidedByName === undefined ? '' : ` by ${approval.decidedByName}`;
  return `${what} · **${approval.state}**${who}`;
}

/** Whether a line of a list says all that would be approved. */
export function isShownWhole(approval: Pick<Approval, 'summary'>): boolean {
  return approval.summary.length <= summaryCharsMax;
}

async function batchRow(tx: Tx, list: ApprovalList, count: number): Promise<Button[][]> {
  if (count < 2 && !list.isConfirming) return [];
  if (count === 0) return [];
  const actions: readonly (readonly [ListAction, Omit<Button, 'token'>])[] = list.isConfirming
    ? [
        ['approve_all', { label: `Yes, approve ${count}`, style: 'danger' }],
        ['keep', { label: 'No' }],
      ]
    : [['ask_all', { label: `Approve all ${count}` }]];
  const minted = actions.map(([action, button]) => ({ action, button: { ...button, token: newToken() } }));
  await insertListButtons(
    tx,
    list,
    minted.map(({ action, button }) => ({ action, hash: hashToken(button.token) })),
  );
  return [minted.map(({ button }) => button)];
}

/** What this person may answer from a list. */
function pressesFor(approval: Approval, decider: Decider | undefined): ApprovalPress[] {
  if (decider === undefined) return [];
  const decisions = isShownWhole(approval) ? (['approve', 'deny'] as const) : (['deny'] as const);
  return decisions.filter((decision) => refusalOf(approval, decider, decision) === undefined);
}

function oneLine(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ').replaceAll('`', "'");
  return text.length <= summaryCharsMax ? line : `${line.slice(0, summaryCharsMax).toWellFormed()}… (see its card)`;
}
