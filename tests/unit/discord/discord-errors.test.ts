import { DiscordAPIError, HTTPError, RateLimitError } from 'discord.js';
import { expect, test } from 'vitest';
import {
  classifyDiscordError,
  type DiscordFailure,
  toChannelError,
  toDiscordFailure,
} from '#bots/discord/discord-errors.ts';

const body = { body: { content: 'a secret' }, files: undefined };

function refusal(status: number, code: number, extra: object = {}): DiscordFailure {
  const raw = { code, message: 'as Discord says', ...extra };
  const error = new DiscordAPIError(raw, code, status, 'POST', 'https://discord.com/api/webhooks/1/secret-token', body);
  return toDiscordFailure('sending', error);
}

test.each([
  ['unknown channel', 404, 10_003, 'unreachable'],
  ['unknown server', 404, 10_004, 'unreachable'],
  ['unknown message', 404, 10_008, 'gone'],
  ['unknown person', 404, 10_013, 'unreachable'],
  ['unknown web hook', 404, 10_015, 'expired'],
  ['unknown interaction', 404, 10_062, 'expired'],
  ['slow mode', 400, 20_016, 'throttled'],
  ['write rate of the channel', 400, 20_028, 'throttled'],
  ['edits of old messages', 429, 30_046, 'throttled'],
  ['unauthorised', 401, 40_001, 'auth'],
  ['request too large', 413, 40_005, 'too_big'],
  ['already acknowledged', 400, 40_060, 'expired'],
  ['resource being rate limited', 429, 40_062, 'retry'],
  ['too many further messages of a user install', 400, 40_094, 'expired'],
  ['missing access', 403, 50_001, 'unreachable'],
  ['empty message', 400, 50_006, 'bad_format'],
  ['private messages closed', 403, 50_007, 'unreachable'],
  ['not a text channel', 400, 50_008, 'unreachable'],
  ['missing permission', 403, 50_013, 'unreachable'],
  ['invalid token', 401, 50_014, 'auth'],
  ['expired interaction token', 401, 50_027, 'expired'],
  ['invalid body', 400, 50_035, 'bad_format'],
  ['archived thread', 400, 50_083, 'unreachable'],
  ['no server in common', 403, 50_278, 'unreachable'],
  ['overloaded', 503, 130_000, 'retry'],
  ['reply without history', 400, 160_002, 'bad_format'],
  ['locked thread', 400, 160_005, 'unreachable'],
  ['too many threads', 400, 160_006, 'unreachable'],
  ['blocked by AutoMod', 400, 200_000, 'bad_format'],
  ['link blocked by AutoMod', 400, 240_000, 'bad_format'],
  ['a code nobody knows, 400', 400, 99_999, 'bad_format'],
  ['a code nobody knows, 403', 403, 99_999, 'unreachable'],
  ['a code nobody knows, 404', 404, 99_999, 'gone'],
  ['a code nobody knows, 401', 401, 0, 'auth'],
])('%s (%i, code %i) is %s', (_, status, code, kind) => {
  expect(classifyDiscordError(refusal(status, code)).kind).toBe(kind);
  expect(classifyDiscordError(toChannelError(refusal(status, code))).kind).toBe(kind);
});

test('a text that is too long is told from other faults of the body', () => {
  const errors = {
    content: { _errors: [{ code: 'BASE_TYPE_MAX_LENGTH', message: 'Must be 2000 or fewer in length.' }] },
  };
  expect(classifyDiscordError(refusal(400, 50_035, { errors })).kind).toBe('too_big');
  const label = { components: { 0: { label: { _errors: [{ code: 'BASE_TYPE_BAD_LENGTH', message: 'x' }] } } } };
  expect(refusal(400, 50_035, { errors: label }).faults).toEqual(['components.0.label: BASE_TYPE_BAD_LENGTH']);
});

test('a throttled call says how long to wait, and whether the whole bot has to', () => {
  const data = {
    global: false,
    hash: 'x',
    limit: 5,
    majorParameter: '1',
    method: 'POST',
    retryAfter: 1_234,
    route: '/channels/:id/messages',
    scope: 'user' as const,
    sublimitTimeout: 0,
    timeToReset: 1_234,
    url: 'https://discord.com/api/webhooks/1/secret-token',
  };
  expect(classifyDiscordError(toDiscordFailure('sending', new RateLimitError(data)))).toMatchObject({
    kind: 'throttled',
    afterMs: 1_234,
    scope: 'room',
  });
  const whole = toDiscordFailure('sending', new RateLimitError({ ...data, global: true }));
  expect(classifyDiscordError(whole)).toMatchObject({ kind: 'throttled', scope: 'account' });
  expect(classifyDiscordError(refusal(400, 20_016, { retry_after: 7.5 }))).toMatchObject({ afterMs: 7_500 });
});

test('a message whose answer was lost may have arrived; everything else can simply be tried again', () => {
  const kindOf = (what: string, error: unknown): string => classifyDiscordError(toDiscordFailure(what, error)).kind;
  const network = (code: string): Error => Object.assign(new Error('x'), { code });
  expect(kindOf('sending', new DOMException('aborted', 'AbortError'))).toBe('unknown_outcome');
  expect(kindOf('sending', network('ECONNRESET'))).toBe('unknown_outcome');
  expect(kindOf('sending', network('ECONNREFUSED'))).toBe('retry');
  expect(kindOf('sending', network('ENOTFOUND'))).toBe('retry');
  expect(kindOf('editing', network('ECONNRESET'))).toBe('retry');
  const gateway = new HTTPError(504, 'Gateway Timeout', 'POST', 'https://discord.com/secret-token', body);
  expect(kindOf('sending', gateway)).toBe('retry');
  expect(toChannelError(toDiscordFailure('sending', network('ECONNRESET'))).code).toBe('channel.unavailable');
});

test('neither the address nor what was sent leaves the channel with an error', () => {
  const failure = refusal(404, 10_015);
  const written = JSON.stringify({ ...failure, message: failure.message, cause: failure.cause });
  expect(written).not.toMatch(/secret/);
  expect(JSON.stringify({ ...toChannelError(failure) })).not.toMatch(/secret/);
});
