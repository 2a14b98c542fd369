import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { systemClock } from '#core/kit/clock.ts';
import { ensureOperator } from '#core/people/ensure-operator.ts';
import { createRedactor } from '#core/redaction/create-redactor.ts';
import { createSecretBook } from '#core/redaction/secret-book.ts';
import { openFileKek } from '#core/vault/file-kek.ts';
import type { KekSource } from '#core/vault/kek-source.ts';
import { listSecrets } from '#core/vault/list-secrets.ts';
import { openCredentials } from '#core/vault/open-credentials.ts';
import { forgetSuperseded, removeSecret, retireVersions } from '#core/vault/remove-secret.ts';
import { rotateMaster } from '#core/vault/rotate-master.ts';
import { SecretWatch } from '#core/vault/secret-watch.ts';
import { changeScope, type SetBy, setSecret } from '#core/vault/set-secret.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';
import { eventually } from '#tests/support/eventually.ts';

const log = pino({ level: 'silent' });
const value = 'vault-value-0123456789';
const use = { agent: 'assistant', host: 'api.example.org' };
const scope = { agents: ['assistant'], hosts: ['api.example.org'] };

let database: TestDatabase;
let folder: string;
let kek: KekSource;
let by: SetBy;

beforeAll(async () => {
  database = await openTestDatabase();
  const { person } = await ensureOperator(database.db, {
    channel: 'console',
    account: 'local',
    externalId: 'operator:test',
    displayName: 'test',
  });
  by = { personId: person?.id ?? '', via: 'cli' };
  folder = mkdtempSync(path.join(tmpdir(), 'sw-vault-'));
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});
beforeEach(async () => {
  await database.query('delete from vault_secret');
  kek = openFileKek({ file: path.join(folder, `key-${Math.random()}`), mayCreate: true });
});

async function set(name: string, text = value, more: Parameters<typeof setSecret>[1] | object = scope) {
  return await database.db
    .transaction()
    .execute(async (tx) => await setSecret({ tx, kek }, { name, value: text, ...more }, by));
}

const open = () => openCredentials({ db: database.db, kek, secrets: createSecretBook() });

async function audited(kind: string): Promise<{ body: Record<string, unknown> }[]> {
  return await database.query(`select body from audit_body where body ->> 'kind' = $1 order by chain, seq`, [kind]);
}

test('whoever may use a secret gets its newest value, and the use is on record without it', async () => {
  await set('used_token', 'an-older-value');
  await set('used_token', value, {});
  expect(await open().resolve('used_token', use)).toBe(value);
  const [secret] = await listSecrets(database.db);
  expect(secret).toMatchObject({ name: 'used_token', version: 2, lastUsedBy: 'assistant', olderCount: 1, ...scope });
  expect((await audited('vault.used')).map(({ body }) => body)).toMatchObject([
    { name: 'used_token', version: 2, agentName: 'assistant', host: 'api.example.org' },
  ]);
  const dump = await database.query(`select body::text from audit_body union all select v::text from vault_version v`);
  expect(JSON.stringify(dump)).not.toContain(value);
  expect(JSON.stringify(dump)).not.toContain(Buffer.from(value).toString('hex'));
});

test.each([
  ['another agent', { ...use, agent: 'intruder' }, 'The agent intruder may not use the credential scoped_token.'],
  ['another host', { ...use, host: 'evil.example' }, 'The credential scoped_token does not belong to evil.example.'],
])('%s is refused, on record, and told how it could be allowed', async (_who, other, message) => {
  await set('scoped_token');
  const before = (await audited('vault.refused')).length;
  await expect(open().resolve('scoped_token', other)).rejects.toMatchObject({
    code: 'credential.not_allowed',
    message,
    mend: expect.stringContaining('./switchyard vault scope scoped_token') as string,
  });
  expect(await audited('vault.refused')).toHaveLength(before + 1);
});

test('a secret without a scope is for nobody', async () => {
  await set('lonely_token', value, {});
  await expect(open().resolve('lonely_token', use)).rejects.toMatchObject({ code: 'credential.not_allowed' });
});

test('a name that is not there is unknown, and one that cannot be is not looked up', async () => {
  await expect(open().resolve('nowhere', use)).rejects.toMatchObject({ code: 'credential.unknown' });
  await expect(open().resolve("x'; drop table vault_secret", use)).rejects.toMatchObject({
    code: 'credential.invalid',
  });
});

test('a value is known to be secret before it is handed out', async () => {
  await set('known_token');
  const secrets = createSecretBook();
  await openCredentials({ db: database.db, kek, secrets }).resolve('known_token', use);
  expect(createRedactor({ secrets }).text(`got ${value}`)).toBe('got [redacted: known_token]');
});

test('a burst of uses costs one look and one record', async () => {
  await set('burst_token');
  const credentials = open();
  const values = await Promise.all(
    Array.from({ length: 50 }, async () => await credentials.resolve('burst_token', use)),
  );
  expect(new Set(values)).toEqual(new Set([value]));
  const records = await audited('vault.used');
  expect(records.filter(({ body }) => body['name'] === 'burst_token')).toHaveLength(1);
});

test.each<[string, string]>([
  ['widened for another agent', `update vault_version set agents = '{assistant,intruder}'`],
  ['widened for another host', `update vault_version set hosts = '{api.example.org,evil.example}'`],
  [
    'swapped with another',
    `update vault_version v set sealed = o.sealed, wrapped_key = o.wrapped_key
     from vault_version o where o.secret_id <> v.secret_id`,
  ],
  ['moved under another name', `update vault_secret set name = 'moved_' || name`],
  ['made an older version', `update vault_version set version = version + 1`],
  ['flipped in a bit', `update vault_version set sealed = set_byte(sealed, 15, get_byte(sealed, 15) # 1)`],
  [
    'given another key id',
    `update vault_version set wrapped_key = set_byte(wrapped_key, 3, get_byte(wrapped_key, 3) # 1)`,
  ],
])('a row that somebody %s in the database is refused and on record', async (_how, sql) => {
  await set('first_token');
  await set('second_token', 'another-value-9876543210');
  const before = (await audited('vault.tampered')).length;
  await database.query(sql);
  const [row] = await database.query<{ name: string }>(
    `select name from vault_secret where name like '%first_token' limit 1`,
  );
  for (const host of ['api.example.org', 'evil.example']) {
    await expect(open().resolve(row?.name ?? '', { ...use, host })).rejects.toMatchObject({ code: 'vault.tampered' });
  }
  expect(await audited('vault.tampered')).toHaveLength(before + 2);
});

test('a secret sealed with another master key is refused with what to do', async () => {
  await set('foreign_token');
  kek = openFileKek({ file: path.join(folder, 'another-key'), mayCreate: true });
  await kek.id();
  await expect(open().resolve('foreign_token', use)).rejects.toMatchObject({
    code: 'vault.unavailable',
    mend: expect.stringContaining('Bring the file back') as string,
  });
});

test('a process without the master key of the vault sets nothing, and makes no key of its own', async () => {
  await set('earlier_token');
  const file = path.join(folder, 'second-host', 'master-key');
  kek = openFileKek({ file, mayCreate: true });
  await expect(set('later_token')).rejects.toMatchObject({
    code: 'vault.unavailable',
    mend: expect.stringContaining('If the master key is lost, remove them first') as string,
  });
  expect(existsSync(file)).toBe(false);
  expect((await listSecrets(database.db)).map(({ name }) => name)).toEqual(['earlier_token']);
});

test('two who set a secret at once make two versions', async () => {
  const outcomes = await Promise.all(
    Array.from({ length: 6 }, async (_, index) => await set('race_token', `${value}${index}`)),
  );
  expect(outcomes.map(({ version }) => version).sort()).toEqual([1, 2, 3, 4, 5, 6]);
  const last = outcomes.findIndex(({ version }) => version === 6);
  expect(await open().resolve('race_token', use)).toBe(`${value}${last}`);
});

test('a changed scope keeps the value, and the row before it is good for nothing', async () => {
  await set('moved_token');
  await database.db.transaction().execute(async (tx) => {
    await changeScope({ tx, kek }, { name: 'moved_token', hosts: ['new.example.org'] }, by);
  });
  const credentials = open();
  expect(await credentials.resolve('moved_token', { ...use, host: 'new.example.org' })).toBe(value);
  await expect(credentials.resolve('moved_token', use)).rejects.toMatchObject({ code: 'credential.not_allowed' });
});

test('a new master key leaves every value as it was, and the old one opens nothing any more', async () => {
  const file = path.join(folder, 'rotated-key');
  kek = openFileKek({ file, mayCreate: true });
  await set('one_token', 'value-of-one-token');
  await set('two_token', 'value-of-two-token');
  const sealed = await database.query<{ sealed: Buffer }>('select sealed from vault_version order by created_at');
  const oldKey = readFileSync(file, 'utf8');
  const { count, broken } = await rotateMaster({ db: database.db, kek, more: [] }, by);
  expect({ count, broken }).toEqual({ count: 2, broken: [] });
  expect(await database.query('select sealed from vault_version order by created_at')).toEqual(sealed);
  expect(await open().resolve('one_token', use)).toBe('value-of-one-token');
  const stolen = path.join(folder, 'stolen-key');
  writeFileSync(stolen, oldKey, { mode: 0o600 });
  const thief = openCredentials({
    db: database.db,
    kek: openFileKek({ file: stolen, mayCreate: false }),
    secrets: createSecretBook(),
  });
  await expect(thief.resolve('one_token', use)).rejects.toMatchObject({ code: 'vault.unavailable' });
});

test('a rotation that ends half-way loses nothing, and another one ends it', async () => {
  const file = path.join(folder, 'half-key');
  kek = openFileKek({ file, mayCreate: true });
  await set('half_token');
  // The process ends between the new key and the rows.
  await kek.renew();
  await set('later_token');
  expect(await open().resolve('half_token', use)).toBe(value);
  await rotateMaster({ db: database.db, kek, more: [] }, by);
  expect(await open().resolve('half_token', use)).toBe(value);
  expect(await open().resolve('later_token', use)).toBe(value);
});

test('secrets that are set and used while two people rotate the master key all open afterwards', async () => {
  const file = path.join(folder, 'busy-key');
  kek = openFileKek({ file, mayCreate: true });
  await set('busy_token');
  const stop = new AbortController();
  const used = (async () => {
    while (!stop.signal.aborted) expect(await open().resolve('busy_token', use)).toBe(value);
  })();
  await Promise.all([
    ...Array.from({ length: 12 }, async (_, index) => await set(`busy_token_${index}`, `${value}-${index}`)),
    ...[0, 1].map(async () => {
      for (let round = 0; round < 3; round += 1) await rotateMaster({ db: database.db, kek, more: [] }, by);
    }),
    ...Array.from({ length: 12 }, async (_, index) => await set(`busy_token_${index}`, `${value}-again-${index}`)),
  ]);
  stop.abort();
  await used;
  for (const { name } of await listSecrets(database.db)) {
    await expect(open().resolve(name, use)).resolves.toContain(value);
  }
  expect(readFileSync(file, 'utf8').trim().split('\n')).toHaveLength(1);
});

test('a rotation says which rows are not as they were sealed, and keeps the key they may need', async () => {
  await set('good_token');
  await set('bad_token');
  await database.query(`update vault_version v set agents = '{intruder}' from vault_secret s
    where s.id = v.secret_id and s.name = 'bad_token'`);
  const { broken } = await rotateMaster({ db: database.db, kek, more: [] }, by);
  expect(broken).toEqual(['bad_token version 1']);
  expect(await open().resolve('good_token', use)).toBe(value);
  await database.query(`update vault_version v set agents = '{assistant}' from vault_secret s
    where s.id = v.secret_id and s.name = 'bad_token'`);
  expect(await open().resolve('bad_token', use)).toBe(value);
});

test('older versions are forgotten after a month or when asked, the newest never', async () => {
  await set('aged_token', 'value-number-one');
  await set('aged_token', 'value-number-two');
  expect(await forgetSuperseded({ db: database.db })).toBe(0);
  await database.query(`update vault_version set superseded_at = superseded_at - interval '31 days'`);
  expect(await forgetSuperseded({ db: database.db })).toBe(1);
  await set('aged_token', 'value-number-three');
  expect(await database.db.transaction().execute(async (tx) => await retireVersions(tx, 'aged_token', by))).toBe(1);
  expect(await open().resolve('aged_token', use)).toBe('value-number-three');
});

test('a removed secret is gone, and a new one of that name does not open what was kept of the old', async () => {
  await set('gone_token');
  await database.db.transaction().execute(async (tx) => await removeSecret(tx, 'gone_token', by));
  await expect(open().resolve('gone_token', use)).rejects.toMatchObject({ code: 'credential.unknown' });
  await expect(
    database.db.transaction().execute(async (tx) => await removeSecret(tx, 'gone_token', by)),
  ).rejects.toMatchObject({ code: 'credential.unknown' });
});

test('a process learns of a new, a changed and a removed secret from another one', async () => {
  const secrets = createSecretBook();
  const redactor = createRedactor({ secrets });
  const watch = new SecretWatch({ db: database.db, databaseUrl: database.url, kek, secrets, clock: systemClock, log });
  const stop = new AbortController();
  const running = watch.run(stop.signal);
  await set('heard_token');
  await eventually(() => expect(redactor.text(value)).toBe('[redacted: heard_token]'));
  await set('heard_token', 'the-second-value');
  await eventually(() => expect(redactor.text('the-second-value')).toBe('[redacted: heard_token]'));
  // It was in use a moment ago, and is still no one's business.
  expect(redactor.text(value)).toBe('[redacted: heard_token]');
  await database.db.transaction().execute(async (tx) => await removeSecret(tx, 'heard_token', by));
  await eventually(() => expect(redactor.text('the-second-value')).toBe('the-second-value'));
  stop.abort();
  await running;
});

test('what cannot be opened does not keep a process from knowing the rest', async () => {
  await set('fine_token');
  await set('broken_token', 'broken-value-1234');
  await database.query(`update vault_version v set hosts = '{evil.example}' from vault_secret s
    where s.id = v.secret_id and s.name = 'broken_token'`);
  const before = (await audited('vault.tampered')).length;
  const secrets = createSecretBook();
  const watch = new SecretWatch({ db: database.db, databaseUrl: database.url, kek, secrets, clock: systemClock, log });
  await watch.look();
  await watch.look();
  expect(createRedactor({ secrets }).text(value)).toBe('[redacted: fine_token]');
  expect(await audited('vault.tampered')).toHaveLength(before + 1);
});
