import type { AuditRecord } from '../audit/audit.ts';
import type { Tx } from '../kit/database.ts';
import { invariant } from '../kit/errors.ts';
import { newId } from '../kit/ids.ts';
import type { Risk } from '../permissions/conditions.ts';
import { type Conversation, threadKey } from '../sessions/origin.ts';
import { type Approval, type ApprovalAction, actionDigest, approvalCardKey } from './approval.ts';
import { cancelPending, insertApproval, lockPendingOfCall } from './approval-store.ts';
import type { PressTokens } from './approval-token.ts';
import { type ApprovalCard, deleteTokens } from './card-store.ts';
import { refreshCards, showCards } from './show-approval.ts';

export interface ApprovalRequest {
  readonly sessionId: string;
  readonly turnId: string;
  /** The model's id of the tool call; a turn asks at most once at a time for one call. */
  readonly callId: string;
  readonly agentName: string;
  readonly action: ApprovalAction;
  /** One line for people. */
  readonly summary: string;
  readonly risk: Risk;
  readonly costMicros?: bigint | undefined;
  readonly requesterId?: string | undefined;
  /** The lists of the deciding grants; the agent's default list where they name nobody. */
  readonly approvers: readonly (readonly string[])[];
  readonly requesterMayApprove: boolean;
  readonly conversation: Conversation;
  /** Where else it is shown, so that those who may decide see it. */
  readonly copies?: readonly Conversation[];
  readonly validMs: number;
}

export interface RequestedApproval {
  readonly approval: Approval;
  /** Those of the card where it was asked. */
  readonly tokens: PressTokens;
  /** False when the same question was pending already, which happens when a turn is taken up again after a crash. */
  readonly isNew: boolean;
  /** To be appended at the end of the caller's transaction; undefined when it was there before. */
  readonly audit: AuditRecord | undefined;
}

/**
 * Writes the question and its cards in the caller's transaction. Asked again for the same call it returns the pending
 * one and makes its cards anew (the old buttons stop working); for another action under the same call id it cancels the
 * old question.
 */
export async function requestApproval(tx: Tx, request: ApprovalRequest): Promise<RequestedApproval> {
  invariant(
    request.approvers.length > 0 && request.approvers.every((rules) => rules.length > 0),
    'an approval names who may decide',
  );
  const digest = actionDigest(request.action);
  const found = await lockPendingOfCall(tx, request.turnId, request.callId);
  const isSame = found?.actionDigest === digest;
  if (found !== undefined && !isSame) {
    await refreshCards(tx, await cancelPending(tx, { id: found.id }, 'another action was asked for in its place'));
  }
  const approval =
    found !== undefined && isSame
      ? found
      : await insertApproval(tx, {
          ...request,
          id: newId(),
          kind: 'tool',
          actionDigest: digest,
          costMicros: request.costMicros,
          requesterId: request.requesterId,
        });
  await deleteTokens(tx, approval.id);
  const tokens = await showCards(tx, approval, cardsOf(approval, request.copies ?? []));
  return { approval, tokens, isNew: !isSame, audit: isSame ? undefined : requestedRecord(approval) };
}

/** The card where it was asked comes last, so that its tokens are the ones returned. */
function cardsOf(approval: Approval, copies: readonly Conversation[]): ApprovalCard[] {
  const places = new Map(copies.map((conversation) => [threadKey(conversation), conversation]));
  places.delete(threadKey(approval.conversation));
  return [
    ...[...places].map(([key, conversation]): ApprovalCard => {
      return { messageKey: approvalCardKey(approval.id, key), approvalId: approval.id, kind: 'copy', conversation };
    }),
    {
      messageKey: approvalCardKey(approval.id),
      approvalId: approval.id,
      kind: 'origin',
      conversation: approval.conversation,
    },
  ];
}

function requestedRecord(approval: Approval): AuditRecord {
  return {
    kind: 'approval.requested',
    chainKey: approval.sessionId,
    sessionId: approval.sessionId,
    body: {
      approvalId: approval.id,
      turnId: approval.turnId,
      callId: approval.callId,
      agentName: approval.agentName,
      actionDigest: approval.actionDigest,
      risk: approval.risk,
      requesterId: approval.requesterId,
      approvers: approval.approvers,
      expiresAt: approval.expiresAt.toISOString(),
    },
  };
}
