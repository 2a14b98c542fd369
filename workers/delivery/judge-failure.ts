import type { ChannelCapabilities, SendFailure } from '#core/outbox/channel-sender.ts';
import type { Delivery } from '#core/outbox/outbox-store.ts';
import type { DeliveryOutcome } from '#core/outbox/record-store.ts';

/** A message that keeps failing is given up, for the operator to see, after so many tries and no sooner than this. */
const attemptsMax = 12;
const giveUpMs = 24 * 3_600_000;
const retryBaseMs = 500;
const retryMaxMs = 60_000;
/** Asked to wait without being told how long. */
const throttledMs = 1_000;

/** What else a failure asks for, beyond the outcome of its own message. */
export type FailureNote =
  | { readonly kind: 'throttled'; readonly scope: 'room' | 'account'; readonly afterMs: number }
  | { readonly kind: 'auth'; readonly reason: string }
  | { readonly kind: 'unreachable'; readonly reason: string }
  | { readonly kind: 'moved'; readonly newRoom: string };

/** Decides what becomes of a message whose platform call failed. Pure. */
export function judgeFailure(
  delivery: Pick<Delivery, 'platformIds' | 'attempts' | 'ageMs' | 'unsureMs'>,
  failure: SendFailure,
  capabilities: Pick<ChannelCapabilities, 'idempotentSend' | 'nonceMs'>,
): { readonly outcome: DeliveryOutcome; readonly note?: FailureNote } {
  const isEdit = delivery.platformIds !== undefined;
  const reason = `${failure.kind}: ${failure.reason}`;
  const backoffMs = failure.afterMs ?? Math.min(retryBaseMs * 2 ** Math.max(0, delivery.attempts - 1), retryMaxMs);
  const again = (more: { readonly forgetIds?: boolean; readonly isUnsure?: boolean } = {}): DeliveryOutcome =>
    delivery.attempts >= attemptsMax && delivery.ageMs >= giveUpMs
      ? { state: 'dead', reason }
      : { state: 'retry', afterMs: backoffMs, reason, ...more };
  const dead = (note?: FailureNote) => ({
    outcome: { state: 'dead', reason } as const,
    ...(note === undefined ? {} : { note }),
  });
  switch (failure.kind) {
    case 'no_op':
      // Only an edit can change nothing; its ids stay.
      return { outcome: { state: 'sent', platformIds: delivery.platformIds ?? [], hash: '' } };
    case 'throttled': {
      const afterMs = failure.afterMs ?? throttledMs;
      const note = { kind: 'throttled', scope: failure.scope ?? 'room', afterMs } as const;
      // Being asked to wait is not a failed try: the message itself is fine.
      return { outcome: { state: 'retry', afterMs, reason, isThrottled: true }, note };
    }
    case 'auth':
      // The message itself is fine, and so will the next one be once the token is.
      return {
        outcome: { state: 'retry', afterMs: backoffMs, reason, isThrottled: true },
        note: { kind: 'auth', reason: failure.reason },
      };
    case 'retry':
    case 'conflict':
      return { outcome: again() };
    case 'gone':
      // The message was deleted by someone: what it had to say is posted anew.
      return isEdit ? { outcome: again({ forgetIds: true }) } : dead();
    case 'unknown_outcome':
      if (isEdit) return { outcome: again() };
      if (capabilities.idempotentSend === 'metadata') return { outcome: again({ isUnsure: true }) };
      if (capabilities.idempotentSend === 'nonce' && (delivery.unsureMs ?? 0) < (capabilities.nonceMs ?? Infinity))
        return { outcome: again({ isUnsure: true }) };
      return { outcome: { state: 'unknown', reason } };
    case 'moved':
      if (failure.newRoom === undefined || delivery.attempts >= attemptsMax) return dead();
      return {
        // Its platform ids mean nothing in the new room.
        outcome: { state: 'retry', afterMs: 0, reason, forgetIds: true, newRoom: failure.newRoom },
        note: { kind: 'moved', newRoom: failure.newRoom },
      };
    case 'unreachable':
      return dead({ kind: 'unreachable', reason: failure.reason });
    case 'expired':
    case 'too_big':
    case 'bad_format':
      return dead();
  }
}
