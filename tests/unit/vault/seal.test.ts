import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openCommandKek } from '#core/vault/command-kek.ts';
import { openFileKek } from '#core/vault/file-kek.ts';
import type { KekSource } from '#core/vault/kek-source.ts';
import { openSecret, rewrapKey, sealSecret } from '#core/vault/seal-secret.ts';
import type { SealedSecret } from '#core/vault/secret.ts';

const value = 'correct horse battery staple';
const identity = { name: 'github_token', version: 1, agents: ['assistant'], hosts: ['api.example.org'] };

let folder: string;
let file: string;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'sw-vault-'));
  file = path.join(folder, 'data', 'master-key');
});
afterEach(() => rmSync(folder, { recursive: true }));

async function seal(kek: KekSource, who = identity): Promise<SealedSecret> {
  return { secretId: 'id', ...who, ...(await sealSecret(kek, who, value)) };
}

const fileKek = () => openFileKek({ file, mayCreate: true });

test('what was sealed opens, and says nothing of its value before', async () => {
  const kek = fileKek();
  const row = await seal(kek);
  expect(await openSecret(kek, row)).toBe(value);
  expect(`${row.sealed.toString('latin1')}${row.wrappedKey.toString('latin1')}`).not.toContain('horse');
  const again = await seal(kek);
  expect(again.sealed.equals(row.sealed)).toBe(false);
  expect(again.wrappedKey.equals(row.wrappedKey)).toBe(false);
});

const flip = (bytes: Buffer, at: number): Buffer => {
  const changed = Buffer.from(bytes);
  changed.writeUInt8(changed.readUInt8(at) ^ 1, at);
  return changed;
};

test.each<[string, (row: SealedSecret, other: SealedSecret) => SealedSecret]>([
  ['renamed', (row) => ({ ...row, name: 'other_token' })],
  ['given another version', (row) => ({ ...row, version: 2 })],
  ['given to another agent', (row) => ({ ...row, agents: ['assistant', 'intruder'] })],
  ['given another host', (row) => ({ ...row, hosts: ['evil.example'] })],
  ['filled with the value of another', (row, other) => ({ ...row, sealed: other.sealed })],
  ['filled with value and key of another', (row, other) => ({ ...other, name: row.name })],
  ['given the key of another', (row, other) => ({ ...row, wrappedKey: other.wrappedKey })],
  ['flipped in its first bit', (row) => ({ ...row, sealed: flip(row.sealed, 0) })],
  ['flipped in its last bit', (row) => ({ ...row, sealed: flip(row.sealed, row.sealed.length - 1) })],
  ['flipped in its key', (row) => ({ ...row, wrappedKey: flip(row.wrappedKey, 20) })],
  ['cut short', (row) => ({ ...row, sealed: row.sealed.subarray(0, -1) })],
  ['cut to its tag', (row) => ({ ...row, sealed: row.sealed.subarray(0, 28) })],
  ['emptied', (row) => ({ ...row, sealed: Buffer.alloc(0), wrappedKey: Buffer.alloc(0) })],
])('a row that was %s does not open', async (_how, change) => {
  const kek = fileKek();
  const other = await seal(kek, { ...identity, name: 'second_token' });
  await expect(openSecret(kek, change(await seal(kek), other))).rejects.toMatchObject({ code: 'vault.tampered' });
});

test('the key file is made for its owner alone, once', async () => {
  const ids = await Promise.all([fileKek().id(), fileKek().id(), fileKek().id()]);
  expect(new Set(ids).size).toBe(1);
  expect(statSync(file).mode & 0o777).toBe(0o600);
});

test('a key file that was set up is not made when it is missing', async () => {
  const kek = openFileKek({ file, mayCreate: false });
  await expect(kek.id()).rejects.toMatchObject({ code: 'vault.unavailable' });
  expect(existsSync(file)).toBe(false);
});

test.each([0o640, 0o604, 0o660, 0o644, 0o620])(
  'a key file that others may touch (mode %o) is refused',
  async (mode) => {
    const kek = fileKek();
    const row = await seal(kek);
    chmodSync(file, mode);
    const refused = { code: 'vault.unavailable', mend: expect.stringContaining('chmod 600') as string };
    await expect(openSecret(kek, row)).rejects.toMatchObject(refused);
    await expect(kek.id()).rejects.toMatchObject(refused);
    await expect(kek.renew()).rejects.toMatchObject(refused);
  },
);

test.each([
  ['nothing', ''],
  ['a password', 'letmein\n'],
  ['a key that is too short', `${randomBytes(16).toString('base64')}\n`],
  ['a key and something else', `${randomBytes(32).toString('base64')}\nmore\n`],
  ['a long file', 'x'.repeat(100_000)],
])('a key file with %s in it is refused, and what is in it is not told', async (_what, text) => {
  file = path.join(folder, 'key');
  writeFileSync(file, text, { mode: 0o600 });
  const err: unknown = await fileKek()
    .id()
    .catch((cause: unknown) => cause);
  expect(err).toMatchObject({ code: 'vault.unavailable' });
  if (text !== '') expect(String(err)).not.toContain(text.trim().slice(0, 7));
});

test('keys in base64 or hex are taken, through a link too', async () => {
  const key = randomBytes(32);
  const ids: string[] = [];
  for (const [name, text] of [
    ['a', key.toString('base64')],
    ['b', key.toString('hex')],
  ] as const) {
    writeFileSync(path.join(folder, name), text, { mode: 0o600 });
    symlinkSync(path.join(folder, name), path.join(folder, `link-${name}`));
    ids.push(await openFileKek({ file: path.join(folder, `link-${name}`), mayCreate: false }).id());
  }
  expect(ids[0]).toBe(ids[1]);
  expect(ids[0]).not.toContain(key.toString('hex').slice(0, 8));
});

test('a new master key wraps, the old one still opens until it is forgotten', async () => {
  const kek = fileKek();
  const row = await seal(kek);
  const renewed = await kek.renew();
  expect(await kek.id()).toBe(renewed);
  expect(await openSecret(kek, row)).toBe(value);
  const rewrapped = { ...row, ...(await rewrapKey(kek, row)) };
  expect(rewrapped.sealed).toBe(row.sealed);
  await kek.forgetOlder(renewed);
  expect(await openSecret(kek, rewrapped)).toBe(value);
  await expect(openSecret(kek, row)).rejects.toMatchObject({ code: 'vault.unavailable' });
  await expect(openSecret(kek, { ...row, kekId: rewrapped.kekId })).rejects.toMatchObject({ code: 'vault.tampered' });
  expect(readFileSync(file, 'utf8').trim().split('\n')).toHaveLength(1);
  expect(statSync(file).mode & 0o777).toBe(0o600);
});

/** A key management service as a program: what it wraps it turns around, and it writes down how it was called. */
function program(body: string): readonly string[] {
  const script = path.join(folder, 'kms.mjs');
  writeFileSync(
    script,
    `import { appendFileSync } from 'node:fs';
     let input = ''; for await (const chunk of process.stdin) input += chunk;
     const bytes = Buffer.from(input, 'base64');
     const verb = process.argv.at(-1);
     appendFileSync(${JSON.stringify(path.join(folder, 'calls'))}, JSON.stringify(process.argv.slice(2)) + '\\n');
     ${body}`,
  );
  return [process.execPath, script, '--key', '$(touch pwned); echo'];
}
const turnAround = `process.stdout.write(Buffer.from(bytes.map((byte) => byte ^ 255)).toString('base64') + '\\n');`;

test('a program may keep the master key; it is called without a shell and gives back what it was given', async () => {
  const kek = openCommandKek({ command: program(turnAround), timeoutMs: 30_000 });
  const row = await seal(kek);
  expect(await openSecret(kek, row)).toBe(value);
  expect(readFileSync(path.join(folder, 'calls'), 'utf8').trim().split('\n')).toEqual([
    '["--key","$(touch pwned); echo","wrap"]',
    '["--key","$(touch pwned); echo","unwrap"]',
  ]);
  expect(existsSync('pwned')).toBe(false);
  // A service that binds no context does not let rows be exchanged either.
  const other = await seal(kek, { ...identity, name: 'second_token' });
  const swapped = { ...row, wrappedKey: other.wrappedKey };
  await expect(openSecret(kek, swapped)).rejects.toMatchObject({ code: 'vault.tampered' });
});

test.each([
  ['fails', `process.stderr.write('the key is hunter2'); process.exit(3);`, 'ended with code 3', 30_000],
  ['hangs', 'setInterval(() => {}, 1000);', 'did not answer within', 1_500],
  ['writes no base64', `process.stdout.write('{"error": "denied"}');`, 'did not write base64', 30_000],
  ['never stops writing', `for (;;) process.stdout.write('A'.repeat(65536));`, 'wrote more than a key', 30_000],
])('a program that %s is an error that names it and repeats nothing it said', async (_what, body, said, timeoutMs) => {
  const kek = openCommandKek({ command: program(body), timeoutMs });
  const err: unknown = await seal(kek).catch((cause: unknown) => cause);
  expect(err).toMatchObject({ code: 'vault.unavailable', message: expect.stringContaining(said) as string });
  expect(String(err)).not.toContain('hunter2');
});

test('a program that is not there is an error', async () => {
  const kek = openCommandKek({ command: [path.join(folder, 'nowhere')], timeoutMs: 30_000 });
  await expect(seal(kek)).rejects.toMatchObject({ message: expect.stringContaining('ENOENT') as string });
});
