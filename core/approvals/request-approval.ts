import type { AuditRecord } from '../audit/audit.ts';
import type { Tx } from '../kit/database.ts';
import { invariant } from '../kit/errors.ts';
import { newId, newToken, sha256 } from '../kit/ids.ts';
import type { Risk } from '../permissions/conditions.ts';
import { type Conversation, threadKey } from '../sessions/origin.ts';
import {
  type Approval,
  type ApprovalAction,
  type ApprovalDecision,
  actionDigest,
  offeredDecisions,
} from './approval.ts';
import { cancelPending, insertApproval, lockPendingOfCall, replaceTokens } from './approval-store.ts';

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
  readonly validMs: number;
}

export interface RequestedApproval {
  readonly approval: Approval;
  /** One opaque token per offered answer, for buttons. Only hashes are kept: this is the only time they are seen. */
  readonly tokens: Readonly<Partial<Record<ApprovalDecision, string>>>;
  /** False when the same question was pending already, which happens when a turn is taken up again after a crash. */
  readonly isNew: boolean;
  /** To be appended at the end of the caller's transaction; undefined when it was there before. */
  readonly audit: AuditRecord | undefined;
}

/**
 * Writes the question in the caller's transaction, which should also write its card and park the turn. Asked again for
 * the same call it returns the pending one with new tokens (the old buttons stop working); for another action under the
 * same call id it cancels the old question.
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
    await cancelPending(tx, { id: found.id }, 'another action was asked for in its place');
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
  const minted = offeredDecisions(approval.risk).map((decision) => ({ decision, token: newToken() }));
  await replaceTokens(
    tx,
    approval.id,
    threadKey(approval.conversation),
    minted.map(({ decision, token }) => ({ decision, hash: hashToken(token) })),
  );
  return {
    approval,
    tokens: Object.fromEntries(minted.map(({ decision, token }) => [decision, token])),
    isNew: !isSame,
    audit: isSame ? undefined : requestedRecord(approval),
  };
}

/** The form a button's token is kept in. */
export function hashToken(token: string): string {
  return sha256(`approval-token:${token}`);
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
