import { WebAPIHTTPError, WebAPIPlatformError, WebAPIRateLimitedError, WebAPIRequestError } from '@slack/web-api';
import { expect, test } from 'vitest';
import { toFailure } from '#bots/slack/slack-api.ts';
import { classifySlackError, isHalting, toChannelError } from '#bots/slack/slack-errors.ts';
import { AppError } from '#core/kit/errors.ts';

function refused(error: string, rest: Record<string, unknown> = {}): unknown {
  return toFailure('chat.postMessage', new WebAPIPlatformError({ ok: false, error, ...rest }));
}

test.each([
  ['retry', 'internal_error service_unavailable fatal_error request_timeout'],
  ['throttled', 'ratelimited rate_limited'],
  ['gone', 'message_not_found cant_update_message edit_window_closed message_not_in_streaming_state thread_not_found'],
  [
    'unreachable',
    'channel_not_found not_in_channel is_archived user_disabled cannot_dm_bot user_not_found no_permission messages_tab_disabled restricted_action restricted_action_read_only_channel restricted_action_thread_only_channel',
  ],
  ['too_big', 'msg_too_long msg_blocks_too_long too_many_attachments'],
  ['bad_format', 'invalid_blocks invalid_arguments something_new'],
  ['auth', 'invalid_auth account_inactive token_revoked missing_scope'],
  ['expired', 'expired_trigger_id exchanged_trigger_id expired_url used_url'],
  ['conflict', 'hash_conflict'],
] as const)('%s', (kind, codes) => {
  for (const code of codes.split(' ')) expect([code, classifySlackError(refused(code)).kind]).toEqual([code, kind]);
});

test('only a refused token ends the account', () => {
  for (const code of ['invalid_auth', 'account_inactive', 'token_revoked']) expect(isHalting(refused(code))).toBe(true);
  for (const code of ['missing_scope', 'not_in_channel', 'ratelimited']) expect(isHalting(refused(code))).toBe(false);
});

test('a missing scope is named, and what the token has', () => {
  const { reason } = classifySlackError(refused('missing_scope', { needed: 'files:write', provided: 'chat:write' }));
  expect(reason).toContain('needs the scope files:write; has chat:write');
});

test('refused blocks say where', () => {
  const messages = ['[ERROR] must be less than 3001 characters [json-pointer:/blocks/0/text]'];
  expect(classifySlackError(refused('invalid_blocks', { response_metadata: { messages } })).reason).toContain(
    'json-pointer:/blocks/0',
  );
});

test('a throttle says how long to wait', () => {
  expect(classifySlackError(toFailure('chat.update', new WebAPIRateLimitedError(7)))).toMatchObject({
    kind: 'throttled',
    afterMs: 7_000,
  });
});

test.each([
  ['a refused connection', 'ECONNREFUSED', 'chat.postMessage', 'retry'],
  ['an unknown host', 'ENOTFOUND', 'chat.postMessage', 'retry'],
  ['a broken connection', 'ECONNRESET', 'chat.postMessage', 'unknown_outcome'],
  ['a broken connection of an edit', 'ECONNRESET', 'chat.update', 'retry'],
  ['a broken connection of a stream', 'ECONNRESET', 'chat.appendStream', 'unknown_outcome'],
])('%s', (_what, code, method, kind) => {
  const cause = Object.assign(new Error('network'), { code });
  const failure = toFailure(method, new WebAPIRequestError(new TypeError('fetch failed', { cause })));
  expect(classifySlackError(failure).kind).toBe(kind);
});

test('an error page of a server leaves the outcome open, one that says busy does not', () => {
  const page = (status: number) =>
    toFailure('chat.postMessage', new WebAPIHTTPError(status, '', {}, '<html>xoxb-1-2-x'));
  expect(classifySlackError(page(502)).kind).toBe('unknown_outcome');
  expect(classifySlackError(page(503)).kind).toBe('retry');
  expect(classifySlackError(page(502)).reason).not.toContain('xoxb');
});

test('a page in place of an answer is not taken for a refusal', () => {
  const failure = toFailure(
    'chat.update',
    new WebAPIPlatformError({ ok: false, error: '<html>blocked by proxy</html>' }),
  );
  expect(classifySlackError(failure)).toMatchObject({ kind: 'retry', reason: expect.not.stringContaining('html>') });
});

test('an error of ours keeps its meaning through every wrapping', () => {
  expect(classifySlackError(toChannelError(refused('is_archived'))).kind).toBe('unreachable');
  expect(classifySlackError(new AppError('message.too_large', 'too much')).kind).toBe('too_big');
  expect(toChannelError(refused('internal_error')).canRetry).toBe(true);
  expect(toChannelError(refused('is_archived')).canRetry).toBe(false);
});
