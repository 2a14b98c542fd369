import { expect, test } from 'vitest';
import { findSecret } from '#core/redaction/find-secret.ts';
import { attack } from '#tests/support/attack.ts';
import { cpuMs } from '#tests/support/cpu-ms.ts';

test.each([
  [`sk-${'a1B2'.repeat(10)}`, 'an OpenAI key'],
  [`sk-ant-api03-${'x'.repeat(40)}`, 'an Anthropic key'],
  ['xoxb-1234567890-abcdef', 'a Slack token'],
  ['xapp-1-A0123456789-abc', 'a Slack token'],
  [`ghp_${'a'.repeat(36)}`, 'a GitHub token'],
  ['AKIAIOSFODNN7EXAMPLE', 'an AWS key'],
  [`123456789:${'A'.repeat(35)}`, 'a Telegram bot token'],
  ['-----BEGIN OPENSSH PRIVATE KEY-----\nabc', 'a private key'],
])('%s is recognised in the middle of a text', (secret, what) => {
  expect(findSecret(`please use ${secret} for it`)).toBe(what);
});

test.each([
  'the commit 9fceb02d0ae598e95dc970b74767f19372d61af8 broke it',
  'see 019f2c3a-7b1e-7c55-9d0e-3f1a2b3c4d5e',
  'call sk-learn and risk-free',
  'at 10:30 the ratio was 3:2',
  'my password is hunter2',
])('"%s" holds no credential of a known shape', (text) => {
  expect(findSecret(text)).toBeUndefined();
});

attack('resources', 'a text that is slow to search for secrets', 'searched in linear time', () => {
  const text = `${'sk-'.repeat(30_000)}${'-----BEGIN '.repeat(10_000)}${'1'.repeat(60_000)}`;
  expect(cpuMs(() => findSecret(text))).toBeLessThan(200);
});
