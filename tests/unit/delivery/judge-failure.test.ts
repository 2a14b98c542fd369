import { describe, expect, it } from 'vitest';
import type { SendFailure } from '#core/outbox/channel-sender.ts';
import { judgeFailure } from '#workers/delivery/judge-failure.ts';

const fresh = { platformIds: undefined, attempts: 1, ageMs: 0, unsureMs: undefined };
const edit = { ...fresh, platformIds: ['1'] };
const judge = (
  delivery: Parameters<typeof judgeFailure>[0],
  failure: Partial<SendFailure> & Pick<SendFailure, 'kind'>,
  capabilities: Parameters<typeof judgeFailure>[2] = { idempotentSend: 'none' },
) => judgeFailure(delivery, { reason: 'why', ...failure }, capabilities);

describe('what becomes of a message whose call failed', () => {
  it.each([
    ['retry', 'retry', 'retry'],
    ['throttled', 'retry', 'retry'],
    ['conflict', 'retry', 'retry'],
    ['auth', 'retry', 'retry'],
    ['gone', 'dead', 'retry'],
    ['unreachable', 'dead', 'dead'],
    ['too_big', 'dead', 'dead'],
    ['bad_format', 'dead', 'dead'],
    ['expired', 'dead', 'dead'],
    ['unknown_outcome', 'unknown', 'retry'],
    ['no_op', 'sent', 'sent'],
  ] as const)('%s: a post is %s, an edit %s', (kind, post, edited) => {
    expect(judge(fresh, { kind }).outcome.state).toBe(post);
    expect(judge(edit, { kind }).outcome.state).toBe(edited);
  });

  it('pauses double up to a minute, unless the platform names one', () => {
    const pauses = [1, 2, 3, 8, 30].map((attempts) => judge({ ...fresh, attempts }, { kind: 'retry' }).outcome);
    expect(pauses.map((outcome) => (outcome.state === 'retry' ? outcome.afterMs : 0))).toEqual([
      500, 1000, 2000, 60_000, 60_000,
    ]);
    expect(judge(fresh, { kind: 'retry', afterMs: 7000 }).outcome).toMatchObject({ afterMs: 7000 });
  });

  it('is given up after a day of tries, but never for being asked to wait', () => {
    const old = { ...fresh, attempts: 12, ageMs: 25 * 3_600_000 };
    expect(judge(old, { kind: 'retry' }).outcome.state).toBe('dead');
    expect(judge(old, { kind: 'throttled' }).outcome).toMatchObject({ state: 'retry', isThrottled: true });
    expect(judge({ ...old, attempts: 3 }, { kind: 'retry' }).outcome.state).toBe('retry');
  });

  it('an unknown outcome is repeated only while the platform can tell it is the same message', () => {
    const lost = { kind: 'unknown_outcome' } as const;
    expect(judge(fresh, lost, { idempotentSend: 'metadata' }).outcome).toMatchObject({
      state: 'retry',
      isUnsure: true,
    });
    const nonce = { idempotentSend: 'nonce', nonceMs: 1000 } as const;
    expect(judge({ ...fresh, unsureMs: 500 }, lost, nonce).outcome.state).toBe('retry');
    expect(judge({ ...fresh, unsureMs: 1500 }, lost, nonce).outcome.state).toBe('unknown');
    expect(judge({ ...fresh, unsureMs: 1e9 }, lost, { idempotentSend: 'nonce' }).outcome.state).toBe('retry');
  });

  it('a room that moved without saying where is given up', () => {
    expect(judge(fresh, { kind: 'moved' }).outcome.state).toBe('dead');
    expect(judge(fresh, { kind: 'moved', newRoom: '-100' })).toMatchObject({
      outcome: { state: 'retry', newRoom: '-100', forgetIds: true },
      note: { kind: 'moved', newRoom: '-100' },
    });
  });

  it('tells whom a refusal pauses', () => {
    expect(judge(fresh, { kind: 'throttled', afterMs: 5 }).note).toMatchObject({ scope: 'room', afterMs: 5 });
    expect(judge(fresh, { kind: 'throttled', scope: 'account' }).note).toMatchObject({ scope: 'account' });
  });
});
