import type { AuditRecord } from '../audit/audit.ts';
import { threadKey } from '../sessions/origin.ts';
import type { InboundEvent } from './inbound.ts';

/** A press by somebody who is nobody to us: what it was for is not looked up, that it was tried is on the audit. */
export function refusedPress(
  event: Extract<InboundEvent, { type: 'action' }>,
  why: 'stranger' | 'external' | 'anonymous',
): AuditRecord {
  const { actor, conversation } = event;
  return {
    kind: 'approval.stray_press',
    chainKey: threadKey(conversation),
    body: { externalId: actor.externalId, threadKey: threadKey(conversation), via: 'button', why },
  };
}
