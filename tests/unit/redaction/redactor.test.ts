import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { createRedactor } from '#core/redaction/create-redactor.ts';
import type { Redactor } from '#core/redaction/redactor.ts';
import { createSecretBook } from '#core/redaction/secret-book.ts';
import { attack } from '#tests/support/attack.ts';
import { cpuMs } from '#tests/support/cpu-ms.ts';

const value = 'pa$s "wörd"/with+all\\of=it';
const awsKey = `AKIA${'IOSFODNN7EXAMPLE'}`;
const keyBlock = `-----BEGIN RSA PRIVATE KEY-----\n${'MIIEowIBAAKCAQEA\n'.repeat(20)}-----END RSA PRIVATE KEY-----`;

function redactorOf(...values: readonly string[]): Redactor {
  const secrets = createSecretBook();
  secrets.replace(
    'test',
    values.map((text, index) => ({ label: `secret_${index}`, value: text })),
  );
  return createRedactor({ secrets });
}

/** Everything a stream gives out when a text comes in pieces of this length, each piece apart. */
function pieces(redactor: Redactor, text: string, length: number): string[] {
  const stream = redactor.stream();
  const out: string[] = [];
  for (let at = 0; at < text.length; at += length) out.push(stream.push(text.slice(at, at + length)));
  out.push(stream.end());
  return out;
}

test.each([
  ['as it is', value],
  ['escaped in JSON', JSON.stringify(value).slice(1, -1)],
  ['in a URL', encodeURIComponent(value)],
  ['in a URL, in lower case', encodeURIComponent(value).replaceAll(/%../g, (code) => code.toLowerCase())],
  ['in a form', encodeURIComponent(value).replaceAll('%20', '+')],
  ['escaped in HTML', value.replaceAll('"', '&quot;')],
  ['escaped in JSON with slashes', JSON.stringify(value).slice(1, -1).replaceAll('/', '\\/')],
  ['in hex', Buffer.from(value).toString('hex')],
  ['in hex, in upper case', Buffer.from(value).toString('hex').toUpperCase()],
])('a known secret is taken out %s', (_how, form) => {
  expect(redactorOf(value).text(`before ${form} after`)).toBe('before [redacted: secret_0] after');
});

test.each([0, 1, 2])('a known secret is taken out of base64 in which %i bytes stand before it', (before) => {
  const bytes = Buffer.concat([randomBytes(before), Buffer.from(value), randomBytes(5)]);
  for (const form of [bytes.toString('base64'), bytes.toString('base64url')]) {
    const out = redactorOf(value).text(`see ${form} there`);
    expect(out).toContain('[redacted: secret_0]');
    // What is left is too little to tell a character of it.
    const [left = '', right = ''] = out.slice(4, -6).split('[redacted: secret_0]');
    expect(left.length + right.length).toBeLessThanOrEqual(
      form.length - Math.floor((Buffer.byteLength(value) * 4) / 3) + 3,
    );
  }
});

test('a text without a secret is the same text, and a value without one the same value', () => {
  const redactor = redactorOf(value);
  const harmless = {
    id: '0192f0c0-1111-7222-8333-444455556666',
    commit: '5f2b9c1d7e3a4b5c6d7e8f901234567890abcdef',
    digest: randomBytes(32).toString('hex'),
    url: 'https://example.org:8080/a?b=c#d',
    words: 'The skill sk-1 says xoxo, the basic authentication of a bearer is npm_ and AKIA.',
    address: 'postgres://user:password@host:5432/name',
    picture: { dataBase64: randomBytes(60_000).toString('base64') },
    at: new Date(0),
    count: 12_345_678,
    list: ['a', null, true],
  };
  expect(redactor.json(harmless)).toBe(harmless);
  expect(redactor.text(harmless.words)).toBe(harmless.words);
  const text = JSON.stringify(harmless);
  expect(redactor.jsonText(text)).toBe(text);
});

test('every string of a value is cleared, keys too, and nothing else is touched', () => {
  const redactor = redactorOf(value);
  const at = new Date(0);
  expect(redactor.json({ [value]: [`x ${value}`, { deep: value, n: 1, at }], other: ['same'] })).toEqual({
    '[redacted: secret_0]': ['x [redacted: secret_0]', { deep: '[redacted: secret_0]', n: 1, at }],
    other: ['same'],
  });
});

test('JSON text is cleared where a secret follows an escaped line break, which ends in a letter', () => {
  const text = JSON.stringify({ out: `first line\n${awsKey}\nlast` });
  expect(JSON.parse(redactorOf().jsonText(text))).toEqual({ out: 'first line\n[redacted: an AWS key]\nlast' });
});

test.each([
  ['an AWS key', awsKey],
  ['an Anthropic key', `sk-ant-${'api03-abcDEF123_-'.repeat(2)}`],
  ['an OpenAI key', `sk-proj-${'aB3'.repeat(14)}`],
  ['a Slack token', `xoxb-${'1234567890-'.repeat(2)}abc`],
  ['a GitHub token', `ghp_${'a1B2'.repeat(9)}`],
  ['a Telegram bot token', `123456789:AA${'b-C_'.repeat(8)}d`],
  ['a Discord bot token', `MTIz${'NDU2'.repeat(5)}.Gabcde.${'xYz1'.repeat(7)}`],
  ['a private key', keyBlock],
  ['a private key', keyBlock.replaceAll('\n', '\\n')],
  ['a signed token', `eyJ${'hbGciOiJI'.repeat(2)}.eyJ${'zdWIiOiIx'.repeat(2)}.${'SflKxwRJSM'.repeat(3)}`],
])('%s is known by its shape', (what, secret) => {
  expect(redactorOf().text(`The value is ${secret}, they say.`)).toBe(`The value is [redacted: ${what}], they say.`);
});

test('of an address the password is taken out, and of an authorization the credentials', () => {
  const redactor = redactorOf();
  expect(redactor.text('postgres://ada:hunter2-hunter2@db.example.org/x')).toBe(
    'postgres://ada:[redacted: a password]@db.example.org/x',
  );
  expect(redactor.text('Authorization: Bearer abcDEF0123456789xyz')).toBe(
    'Authorization: Bearer [redacted: credentials]',
  );
});

attack('secrets', 'secrets that overlap', 'nothing is left of either', () => {
  const redactor = redactorOf('abcdefgh-1234', 'gh-1234-ijklmnop', 'ijklmnop');
  expect(redactor.text('abcdefgh-1234-ijklmnop')).toBe('[redacted: secret_0]');
  expect(redactor.text('abcdefgh-1234abcdefgh-1234')).toBe('[redacted: secret_0][redacted: secret_0]');
});

test('a password is secret without its user, and a line of a key without the others', () => {
  const lines = [0, 1, 2].map(() => randomBytes(30).toString('base64'));
  const redactor = redactorOf('robot:pa55word-of-robot', `# a key\n${lines.join('\r\n')}\nshort\n`);
  expect(redactor.text('robot says pa55word-of-robot')).toBe('robot says [redacted: secret_0]');
  expect(redactor.text(`line ${lines[1]}.`)).toBe('line [redacted: secret_1].');
  expect(redactor.text('# a key, short')).toBe('# a key, short');
});

test('values too short to be told from words are not looked for', () => {
  expect(redactorOf('sk-test', 'of').text('one of sk-test')).toBe('one of sk-test');
});

test('what is known changes with the book, and one source leaves the others alone', () => {
  const secrets = createSecretBook();
  const redactor = createRedactor({ secrets });
  expect(redactor.text('first-value second-value')).toBe('first-value second-value');
  secrets.add('vault', { label: 'one', value: 'first-value' });
  secrets.replace('settings', [{ label: 'two"\n', value: 'second-value' }]);
  expect(redactor.text('first-value second-value')).toBe('[redacted: one] [redacted: two__]');
  secrets.replace('vault', []);
  expect(redactor.text('first-value second-value')).toBe('first-value [redacted: two__]');
});

test.each([1, 2, 3, 7, 16, 64])('a stream in pieces of %i characters gives out no part of a secret', (length) => {
  const spaced = 'correct horse battery staple';
  const secrets = [value, spaced];
  const shaped = [awsKey, keyBlock, `sk-ant-${'api03-abcDEF123_-'.repeat(3)}`, `123456789:AA${'b-C_'.repeat(8)}d`];
  const text = `Hello. ${[...secrets, ...shaped].map((secret) => `Here: ${secret} and so on,\n`).join('')}bye.`;
  const redactor = redactorOf(...secrets);
  const out = pieces(redactor, text, length);
  expect(out.join('')).toBe(redactor.text(text));
  expect(out.join('').match(/\[redacted: /g)).toHaveLength(6);
});

test('a stream holds nothing back that cannot become a secret', () => {
  const stream = redactorOf(value).stream();
  expect(stream.push('こんにちは世界、')).toBe('こんにちは世界、');
  expect(stream.push('one two three. ')).toBe('one two three. ');
  expect(stream.push('hello pa')).toBe('hello ');
  expect(stream.push('rty')).toBe('party');
  expect(stream.end()).toBe('');
});

test('ten thousand secrets with one beginning are all found, and cost no more than few', () => {
  const values = Array.from({ length: 10_000 }, () => `tok_${randomBytes(18).toString('base64url')}`);
  const redactor = redactorOf(...values);
  const planted = values.filter((_, index) => index % 250 === 0);
  const filler = 'tok_ the quick brown fox jumps over the lazy dog tok_tok_\n'.repeat(400);
  const out = redactor.text(planted.map((secret) => `${filler}${secret}`).join(''));
  expect(out.match(/\[redacted: secret_\d+\]/g)).toHaveLength(planted.length);
});

test.each([
  ['prefixes', 'sk-'.repeat(100_000)],
  ['headers', '-eyJ'.repeat(80_000)],
  ['addresses', `a://${':'.repeat(300_000)}`],
  ['key marks', '-----BEGIN PRIVATE KEY-----'.repeat(12_000)],
  ['the beginning of a known secret', 'tok_aaaaaaaaaaaaaaaaaa'.repeat(15_000)],
])('no text of many %s takes long', (_what, text) => {
  const redactor = redactorOf(...Array.from({ length: 500 }, (_, index) => `tok_aaaaaaaaaaaaaaaaaa${index + 100_000}`));
  const took = cpuMs(() => {
    redactor.text(text);
    pieces(redactor, text.slice(0, 30_000), 500);
  });
  // A search that looks at every place again for every other one would take minutes.
  expect(took).toBeLessThan(8_000);
});
