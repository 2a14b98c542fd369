import { appendAudit } from '../audit/append-audit.ts';
import { resolveTargets } from '../broadcast/resolve-target.ts';
import type { Db, Tx } from '../kit/database.ts';
import type { Log } from '../kit/log.ts';
import { utcTime } from '../kit/utc-time.ts';
import { type Conversation, threadKey } from '../sessions/origin.ts';
import { tellByEmail, tellWebhooks } from '../webhooks/tell-outside.ts';
import { type Approval, approvalCardKey, describeApprovers } from './approval.ts';
import { placeOf } from './approval-card.ts';
import { type StuckStep, takeStuck } from './approval-store.ts';
import { type ApprovalCard, selectCards } from './card-store.ts';
import { refreshCards, showCards } from './show-approval.ts';

/** What happens to a request that nobody decides. */
export interface StuckPolicy {
  /** Undefined: nobody is reminded. */
  readonly remindAfterMs: number | undefined;
  /** Undefined: it goes no further than the reminder. */
  readonly escalateAfterMs: number | undefined;
  /** Targets that are told when it is stuck; being told gives nobody the right to decide. */
  readonly escalateTo: readonly string[];
  /** Addresses that get an e-mail with the last step there is. */
  readonly emails: readonly string[];
}

/**
 * Takes the steps that are due for requests that nobody decides, each once: a reminder wherever it is shown, then the
 * people it is escalated to. A step and everything it says are one transaction, so a crash repeats or loses nothing.
 * @returns how many steps were taken.
 */
export async function handleStuck(
  deps: { readonly db: Db; readonly log: Log },
  policy: StuckPolicy,
  signal: AbortSignal,
): Promise<number> {
  const steps: StuckStep[] = [];
  if (policy.remindAfterMs !== undefined) steps.push({ step: 'reminded', afterMs: policy.remindAfterMs });
  if (policy.escalateAfterMs !== undefined) steps.push({ step: 'escalated', afterMs: policy.escalateAfterMs });
  const last = steps.at(-1);
  let count = 0;
  for (const step of steps) {
    while (!signal.aborted) {
      const taken = await deps.db.transaction().execute(async (tx) => {
        const approval = await takeStuck(tx, step);
        if (approval === undefined) return undefined;
        await take(tx, deps.log, approval, step.step, policy, step === last);
        return approval;
      });
      if (taken === undefined) break;
      count += 1;
      deps.log.info({ approvalId: taken.id, sessionId: taken.sessionId, step: step.step }, 'approval is stuck');
    }
  }
  return count;
}

async function take(
  tx: Tx,
  log: Log,
  approval: Approval,
  step: StuckStep['step'],
  policy: StuckPolicy,
  isLast: boolean,
): Promise<void> {
  const shown = await selectCards(tx, [approval.id]);
  // The cards there are say so first; the new ones below them bring it back into view.
  await refreshCards(tx, [approval]);
  await showCards(
    tx,
    approval,
    step === 'reminded' ? remindersOf(approval, shown) : await escalationsOf(tx, log, approval, shown, policy),
  );
  await tellWebhooks(tx, {
    event: 'approval.stuck',
    eventId: `approval.stuck:${step}:${approval.id}`,
    payload: {
      approvalId: approval.id,
      turnId: approval.turnId,
      sessionId: approval.sessionId,
      agent: approval.agentName,
      tool: approval.action.tool,
      risk: approval.risk,
      step,
      requestedAt: approval.createdAt.toISOString(),
      expiresAt: approval.expiresAt.toISOString(),
    },
  });
  if (isLast) {
    await tellByEmail(tx, {
      to: policy.emails,
      event: 'approval.stuck',
      eventId: `approval.stuck:${step}:${approval.id}`,
      email: emailOf(approval),
    });
  }
  await appendAudit(tx, [
    {
      kind: `approval.${step}`,
      chainKey: approval.sessionId,
      sessionId: approval.sessionId,
      body: { approvalId: approval.id, turnId: approval.turnId },
    },
  ]);
}

function remindersOf(approval: Approval, shown: readonly ApprovalCard[]): ApprovalCard[] {
  return cardsIn(
    approval,
    'reminder',
    shown.map((card) => card.conversation),
  );
}

async function escalationsOf(
  tx: Tx,
  log: Log,
  approval: Approval,
  shown: readonly ApprovalCard[],
  policy: StuckPolicy,
): Promise<ApprovalCard[]> {
  const { places, problems } = await resolveTargets(tx, policy.escalateTo);
  for (const { target, reason } of problems) {
    log.warn({ approvalId: approval.id, target, reason }, 'approval could not be escalated to a target');
  }
  const known = new Set(shown.filter((card) => card.kind === 'reminder').map((card) => threadKey(card.conversation)));
  // Whoever was just reminded is not told the same again by another card.
  return cardsIn(
    approval,
    'escalation',
    places.map((place) => place.conversation).filter((conversation) => !known.has(threadKey(conversation))),
  );
}

function cardsIn(
  approval: Approval,
  kind: 'reminder' | 'escalation',
  conversations: readonly Conversation[],
): ApprovalCard[] {
  const places = new Map(conversations.map((conversation) => [threadKey(conversation), conversation]));
  return [...places].map(([key, conversation]) => ({
    messageKey: approvalCardKey(approval.id, `${kind}:${key}`),
    approvalId: approval.id,
    kind,
    conversation,
  }));
}

/** Without the action itself: mail is read on the way, and deciding takes the card anyway. */
function emailOf(approval: Approval): { readonly subject: string; readonly text: string } {
  return {
    subject: `Approval waits: ${approval.agentName} wants to use ${approval.action.tool}`,
    text: [
      `${approval.agentName} asked at ${approval.createdAt.toISOString()} in ${placeOf(approval)} whether it may use ${approval.action.tool} (risk ${approval.risk}).`,
      `Nobody has decided. It takes ${describeApprovers(approval.approvers)}, until ${utcTime(approval.expiresAt, approval.createdAt)}.`,
      '',
      `Decide in the chat: send the bot /approvals, or /approve ${approval.id} or /deny ${approval.id} with a reason.`,
    ].join('\n'),
  };
}
