import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { putClient, putGrant, selectClient, selectGrants } from '#core/mcp/login-store.ts';
import { openSealer } from '#core/mcp/open-sealer.ts';
import { rewrapLogins } from '#core/mcp/rewrap-logins.ts';
import { clientScope, grantScope } from '#core/mcp/seal-scopes.ts';
import { ensureOperator } from '#core/people/ensure-operator.ts';
import { openFileKek } from '#core/vault/file-kek.ts';
import { rotateMaster } from '#core/vault/rotate-master.ts';
import { openTestDatabase } from '#tests/support/database.ts';

test('logins at other services open after the master key was rotated, and their old key is gone', async () => {
  await using database = await openTestDatabase(3);
  const folder = mkdtempSync(path.join(tmpdir(), 'sw-vault-'));
  const kek = openFileKek({ file: path.join(folder, 'master-key'), mayCreate: true });
  const sealer = openSealer(kek);
  const { db } = database;
  const { person } = await ensureOperator(db, {
    channel: 'console',
    account: 'local',
    externalId: 'operator:test',
    displayName: 'test',
  });
  const personId = person?.id ?? '';
  const [issuer, resource, redirectUri] = ['https://i.example', 'https://r.example', 'https://us.example/back'];
  await putGrant(db, {
    personId,
    issuer,
    resource,
    sealed: await sealer.seal(grantScope(personId, issuer, resource), 'the tokens'),
  });
  await putClient(db, {
    issuer,
    redirectUri,
    sealed: await sealer.seal(clientScope(issuer, redirectUri), 'the client'),
  });

  const before = await kek.id();
  const { count, broken } = await rotateMaster({ db, kek, more: [rewrapLogins] }, { personId, via: 'cli' });
  expect({ count, broken }).toEqual({ count: 2, broken: [] });
  const [grant] = await selectGrants(db, personId, resource);
  expect(grant?.sealed).not.toContain(before);
  expect(await sealer.open(grantScope(personId, issuer, resource), grant?.sealed ?? '')).toBe('the tokens');
  expect(await sealer.open(clientScope(issuer, redirectUri), (await selectClient(db, issuer, redirectUri)) ?? '')).toBe(
    'the client',
  );
  // One that was changed is told, and keeps the key it may still need.
  await database.query(`update mcp_client set issuer = 'https://evil.example'`);
  const again = await rotateMaster({ db, kek, more: [rewrapLogins] }, { personId, via: 'cli' });
  expect(again).toMatchObject({ count: 1, broken: ['mcp-client|https://evil.example|https://us.example/back'] });
  rmSync(folder, { recursive: true });
});
