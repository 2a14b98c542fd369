import { appendAudit } from '../audit/append-audit.ts';
import type { Tx } from '../kit/database.ts';
import { newId } from '../kit/ids.ts';
import type { GrantRule } from '../permissions/grant-rule.ts';
import { rememberGrant } from '../permissions/remember-grant.ts';
import { peopleOfTurn } from '../turns/people-of-turn.ts';
import { type Approval, type ApprovalDecision, describeApprovers, refusalOf } from './approval.ts';
import { findDecider, insertVerdict, lockApproval, markDecided } from './approval-store.ts';
import { hashToken } from './approval-token.ts';
import { findToken } from './card-store.ts';

/** An answer: a pressed button, or a command that names the approval. */
export type ApprovalAnswer = {
  readonly personId: string;
  /** Why; shown with the answer and given to the model. */
  readonly reason?: string | undefined;
  /** How it came: `button`, `form`, `reply`, `command`, `cli`, `api`. */
  readonly via: string;
} & (
  | { readonly token: string /** Where the button was pressed. */; readonly threadKey: string }
  | { readonly approvalId: string; readonly decision: ApprovalDecision }
);

/** Every way an answer can end. Only `settled` changed something. */
export type SettleOutcome =
  | {
      readonly kind: 'settled';
      readonly approval: Approval;
      readonly decision: ApprovalDecision;
      /** The remembered answer of an `always` decision. */
      readonly rule: GrantRule | undefined;
    }
  /** Decided before, by `approval.decidedBy` at `approval.decidedAt`, or cancelled. */
  | { readonly kind: 'already'; readonly approval: Approval }
  | { readonly kind: 'expired'; readonly approval: Approval }
  | { readonly kind: 'not_allowed'; readonly approval: Approval; readonly why: string }
  /** The button was pressed in a chat it was not shown in. */
  | { readonly kind: 'other_chat' }
  | { readonly kind: 'unknown' };

/**
 * Decides an approval once. Two answers at the same time: one settles, the other is told who was first.
 *
 * @param tx the transaction that also resumes the turn: both happen or neither.
 * @param resume runs after the decision and before the audit, and only when it was settled: resume the lane and write
 *   the card's new text here. Lock order everywhere: approval, then lane, then audit.
 */
export async function settleApproval(
  tx: Tx,
  answer: ApprovalAnswer,
  resume: (outcome: Extract<SettleOutcome, { kind: 'settled' }>) => Promise<void>,
): Promise<SettleOutcome> {
  const target = await findTarget(tx, answer);
  if (target === undefined || target === 'other_chat') {
    const kind = target === undefined ? 'unknown' : target;
    await appendAudit(tx, [strayRecord(answer, kind)]);
    return { kind };
  }
  const locked = await lockApproval(tx, target.approvalId);
  if (locked === undefined) return { kind: 'unknown' };
  const { approval } = locked;
  const hindrance = await findHindrance(tx, locked, answer, target.decision);
  if (hindrance !== undefined) return hindrance;

  const isApproved = target.decision !== 'deny';
  const decided = await markDecided(tx, approval.id, {
    state: isApproved ? 'approved' : 'denied',
    personId: answer.personId,
    reason: answer.reason,
  });
  if (decided === undefined) return { kind: 'expired', approval };
  const remembered = rememberedFor(target.decision);
  await insertVerdict(tx, {
    id: newId(),
    approvalId: approval.id,
    personId: answer.personId,
    verdict: isApproved ? 'approve' : 'deny',
    remembered,
    reason: answer.reason,
    via: answer.via,
  });
  const rule = remembered === 'once' ? undefined : await remember(tx, decided, remembered, answer.personId);
  const outcome = { kind: 'settled', approval: decided, decision: target.decision, rule } as const;
  await resume(outcome);
  await appendAudit(tx, [
    record(decided, `approval.${decided.state}`, answer, { decision: target.decision, ruleId: rule?.id }),
  ]);
  return outcome;
}

/**
 * Whether this person could give this answer now, without giving it: for asking their reason first. A refusal is on the
 * audit like any other.
 * @returns undefined when they could.
 */
export async function checkAnswer(
  tx: Tx,
  answer: Extract<ApprovalAnswer, { approvalId: string }>,
): Promise<Exclude<SettleOutcome, { kind: 'settled' }> | undefined> {
  const locked = await lockApproval(tx, answer.approvalId);
  return locked === undefined ? { kind: 'unknown' } : await findHindrance(tx, locked, answer, answer.decision);
}

/** Why an answer would change nothing. */
async function findHindrance(
  tx: Tx,
  { approval, isOverdue }: { readonly approval: Approval; readonly isOverdue: boolean },
  answer: ApprovalAnswer,
  decision: ApprovalDecision,
): Promise<Exclude<SettleOutcome, { kind: 'settled' }> | undefined> {
  // Strangers learn nothing, not even whether it was decided.
  const decider = await findDecider(tx, answer.personId);
  const refusal =
    decider === undefined
      ? 'we do not know you'
      : (refusalOf(approval, decider, decision) ?? (await selfApprovalOf(tx, approval, decider.personId, decision)));
  if (refusal !== undefined) {
    await appendAudit(tx, [record(approval, 'approval.refused', answer, { why: refusal, decision })]);
    return { kind: 'not_allowed', approval, why: refusal };
  }
  if (approval.state === 'expired' || (approval.state === 'pending' && isOverdue)) return { kind: 'expired', approval };
  return approval.state === 'pending' ? undefined : { kind: 'already', approval };
}

/** Whoever wrote into the work while it ran has asked for it too. */
async function selfApprovalOf(
  tx: Tx,
  approval: Approval,
  personId: string,
  decision: ApprovalDecision,
): Promise<string | undefined> {
  if (decision === 'deny' || approval.requesterMayApprove) return undefined;
  const people = await peopleOfTurn(tx, approval.turnId);
  return people.includes(personId) ? 'whoever asked for it may not approve it' : undefined;
}

/** One sentence for whoever answered, for every outcome. */
export function describeOutcome(outcome: SettleOutcome): string {
  switch (outcome.kind) {
    case 'settled':
      return settledText(outcome.decision);
    case 'already':
      return alreadyText(outcome.approval);
    case 'expired':
      return `This request expired at ${utc(outcome.approval.expiresAt)}; ask for it again.`;
    case 'not_allowed':
      return `You may not decide this: ${outcome.why}. It can be decided by ${describeApprovers(outcome.approval.approvers)}.`;
    case 'other_chat':
      return 'This button belongs to another chat.';
    case 'unknown':
      return 'This request is not known any more.';
  }
}

function settledText(decision: ApprovalDecision): string {
  switch (decision) {
    case 'approve':
      return 'Approved.';
    case 'deny':
      return 'Denied.';
    case 'always_session':
      return 'Approved, and remembered for this session.';
    case 'always_agent':
      return 'Approved, and remembered for this agent.';
  }
}

function alreadyText(approval: Approval): string {
  const when = approval.decidedAt === undefined ? '' : ` at ${utc(approval.decidedAt)}`;
  const who = approval.decidedByName === undefined ? '' : ` by ${approval.decidedByName}`;
  return `This was already ${approval.state}${who}${when}.`;
}

function utc(at: Date): string {
  return `${at.toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}

async function findTarget(
  tx: Tx,
  answer: ApprovalAnswer,
): Promise<{ readonly approvalId: string; readonly decision: ApprovalDecision } | 'other_chat' | undefined> {
  if ('approvalId' in answer) return answer;
  const token = await findToken(tx, hashToken(answer.token));
  // A button that asks for words first gives no answer by itself.
  if (token === undefined || token.press === 'deny_reason') return undefined;
  return token.threadKey === answer.threadKey ? { approvalId: token.approvalId, decision: token.press } : 'other_chat';
}

/** A press that belongs to nothing here: made up, forwarded, or of a button that was replaced. */
function strayRecord(answer: ApprovalAnswer, why: string): Parameters<typeof appendAudit>[1][number] {
  return {
    kind: 'approval.stray_press',
    chainKey: answer.personId,
    body: {
      personId: answer.personId,
      via: answer.via,
      why,
      ...('token' in answer ? { threadKey: answer.threadKey } : { approvalId: answer.approvalId }),
    },
  };
}

function rememberedFor(decision: ApprovalDecision): 'once' | 'session' | 'agent' {
  switch (decision) {
    case 'always_session':
      return 'session';
    case 'always_agent':
      return 'agent';
    case 'approve':
    case 'deny':
      return 'once';
  }
}

async function remember(
  tx: Tx,
  approval: Approval,
  subjectKind: 'session' | 'agent',
  personId: string,
): Promise<GrantRule> {
  return await rememberGrant(tx, {
    subjectKind,
    subject: subjectKind === 'session' ? approval.sessionId : approval.agentName,
    action: approval.action.permission,
    resource: approval.action.resource,
    workingDirectory: approval.action.workingDirectory,
    createdBy: personId,
    approvalId: approval.id,
  });
}

function record(
  approval: Approval,
  kind: string,
  answer: ApprovalAnswer,
  body: Readonly<Record<string, unknown>>,
): Parameters<typeof appendAudit>[1][number] {
  return {
    kind,
    chainKey: approval.sessionId,
    sessionId: approval.sessionId,
    body: {
      approvalId: approval.id,
      actionDigest: approval.actionDigest,
      personId: answer.personId,
      via: answer.via,
      reason: answer.reason,
      ...body,
    },
  };
}
