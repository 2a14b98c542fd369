import { z } from 'zod';
import { sha256 } from '../kit/ids.ts';
import { canonicalJson } from '../kit/json.ts';
import type { PersonRole } from '../people/person.ts';
import type { Risk } from '../permissions/conditions.ts';
import type { Conversation } from '../sessions/origin.ts';

/**
 * The exact thing that is asked for. The digest covers all of it: whatever is done after the answer must be this, letter
 * by letter.
 */
export const approvalActionSchema = z.object({
  /** The tool's name. */
  tool: z.string(),
  /** The parsed arguments, as the tool will get them. */
  arguments: z.json(),
  workingDirectory: z.string().optional(),
  /** The permission that was asked for, kept so that "allow always" can be remembered. */
  permission: z.string(),
  resource: z.string(),
  /** What it does besides; the approval covers all of it. */
  also: z.array(z.object({ permission: z.string(), resource: z.string() })).optional(),
  /** Never remembered: the resource alone does not say what is done. */
  isOnce: z.literal(true).optional(),
});

export type ApprovalAction = z.infer<typeof approvalActionSchema>;

export type ApprovalState = 'pending' | 'approved' | 'denied' | 'expired' | 'cancelled';

/** What a button means. The two `always` answers approve and remember the exact action. */
export type ApprovalDecision = 'approve' | 'deny' | 'always_session' | 'always_agent';

/** What a button does: gives an answer, or asks for the words of one first. */
export type ApprovalPress = ApprovalDecision | 'deny_reason';

/** A question to people that holds an action. */
export interface Approval {
  readonly id: string;
  readonly sessionId: string;
  readonly turnId: string;
  readonly callId: string;
  readonly agentName: string;
  readonly kind: 'tool';
  readonly action: ApprovalAction;
  readonly actionDigest: string;
  readonly summary: string;
  readonly risk: Risk;
  readonly costMicros: bigint | undefined;
  readonly requesterId: string | undefined;
  /** Whoever decides must satisfy one rule of every inner list. */
  readonly approvers: readonly (readonly string[])[];
  readonly requesterMayApprove: boolean;
  /** Where the question was put; its buttons work only there. */
  readonly conversation: Conversation;
  readonly state: ApprovalState;
  readonly createdAt: Date;
  readonly expiresAt: Date;
  readonly decidedAt: Date | undefined;
  readonly decidedBy: string | undefined;
  readonly decidedByName: string | undefined;
  readonly reason: string | undefined;
  /** When people were reminded of it, and when others were told that it is stuck. */
  readonly remindedAt: Date | undefined;
  readonly escalatedAt: Date | undefined;
}

/** What decides who may answer. */
export type ApprovalRules = Pick<Approval, 'requesterId' | 'approvers' | 'requesterMayApprove' | 'risk'> & {
  readonly action?: Pick<ApprovalAction, 'also' | 'isOnce'>;
};

/** Who answers, as the database knows them at that moment. */
export interface Decider {
  readonly personId: string;
  readonly role: PersonRole;
}

/** Hex SHA-256 over the canonical JSON of the action. */
export function actionDigest(action: ApprovalAction): string {
  return sha256(canonicalJson(action));
}

/** The outbox key of a card, so that the same message is revised when the answer is there. */
export function approvalCardKey(approvalId: string, name?: string): string {
  return name === undefined ? `approval:${approvalId}` : `approval:${approvalId}:${name}`;
}

/**
 * The answers that are offered. What is of high risk is asked every time: nobody should be able to allow it for good by
 * one press in a chat. What does several things at once is, too: remembered apart, each of them would be allowed alone,
 * and who lets a file be moved has not let it be deleted. So is what a remembered resource would not tell apart.
 */
function offeredDecisions(approval: Pick<ApprovalRules, 'risk' | 'action'>): readonly ApprovalDecision[] {
  return whyOnce(approval) === undefined ? ['approve', 'deny', 'always_session', 'always_agent'] : ['approve', 'deny'];
}

function whyOnce({ risk, action }: Pick<ApprovalRules, 'risk' | 'action'>): string | undefined {
  if (risk === 'high') return 'what is of high risk is asked every time';
  if (action?.also !== undefined) return 'what does several things at once is asked every time';
  return action?.isOnce === true ? 'what is given input of its own is asked every time' : undefined;
}

/** The buttons of a card. */
export function offeredPresses(approval: Pick<ApprovalRules, 'risk' | 'action'>): readonly ApprovalPress[] {
  const [approve, deny, ...always] = offeredDecisions(approval);
  return [approve, deny, 'deny_reason' as const, ...always].filter((press) => press !== undefined);
}

/**
 * Why this person may not give this answer, or undefined when they may. Rules: `role:owner`, `role:admin` (owners
 * count), `role:member` (anyone we know), `person:<id>`, `requester`. Allowing for every session of an agent takes an
 * owner or administrator, because it speaks for people who are not there. Denying one's own request is always allowed.
 */
export function refusalOf(approval: ApprovalRules, decider: Decider, decision: ApprovalDecision): string | undefined {
  const isRequester = approval.requesterId === decider.personId;
  if (isRequester && decision === 'deny') return undefined;
  if (isRequester && !approval.requesterMayApprove) return 'whoever asked for it may not approve it';
  const unmet = approval.approvers.find((rules) => !rules.some((rule) => satisfies(rule, decider, isRequester)));
  if (unmet !== undefined) return `it takes ${unmet.map(nameRule).join(' or ')}`;
  if (decision === 'always_agent' && decider.role === 'member') {
    return 'allowing it for every session takes an owner or an administrator';
  }
  if (!offeredDecisions(approval).includes(decision)) return whyOnce(approval);
  return undefined;
}

/** The people who may answer, in words: `an owner or an administrator`. */
export function describeApprovers(approvers: Approval['approvers']): string {
  return approvers.map((rules) => rules.map(nameRule).join(' or ')).join(', and at the same time ');
}

function satisfies(rule: string, decider: Decider, isRequester: boolean): boolean {
  switch (rule) {
    case 'requester':
      return isRequester;
    case 'role:owner':
      return decider.role === 'owner';
    case 'role:admin':
      return decider.role === 'owner' || decider.role === 'admin';
    case 'role:member':
      return true;
    default:
      return rule === `person:${decider.personId}`;
  }
}

function nameRule(rule: string): string {
  switch (rule) {
    case 'requester':
      return 'whoever asked for it';
    case 'role:owner':
      return 'an owner';
    case 'role:admin':
      return 'an administrator';
    case 'role:member':
      return 'a member';
    default:
      return rule.replace(/^person:/, 'person ');
  }
}
