import type { AuditRecord } from '../audit/audit.ts';
import type { Decision } from './decide.ts';

const resourceMax = 4000;

/** The audit record of a decision: both sides, what decided, what nearly did, and every input needed to replay it. */
export function decisionRecord(
  decision: Decision,
  ids: { readonly sessionId: string; readonly turnId: string; readonly callId: string; readonly agentName: string },
): AuditRecord {
  return {
    kind: 'gate.decision',
    chainKey: ids.sessionId,
    sessionId: ids.sessionId,
    body: { ...ids, ...decision, resource: decision.resource.slice(0, resourceMax) },
  };
}
