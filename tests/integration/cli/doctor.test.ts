import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { loadConfig } from '#app/config.ts';
import { diagnose } from '#app/doctor/diagnose.ts';
import type { Finding } from '#cli/finding.ts';
import { openTestDatabase } from '#tests/support/database.ts';
import { eventually } from '#tests/support/eventually.ts';
import { freePort } from '#tests/support/free-port.ts';

let folder = '';
/** Answers as Telegram does for the token `1:good`, and as a gateway does at /healthz. */
let web: Server;
let webUrl = '';

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'switchyard-doctor-'));
  web = createServer((request, response) => {
    const isGood = request.url === '/bot1:good/getMe';
    const answer = isGood
      ? { ok: true, result: { username: 'tester_bot' } }
      : { ok: false, description: 'Unauthorized' };
    response.writeHead(request.url === '/healthz' || isGood ? 200 : 401, { 'content-type': 'application/json' });
    response.end(JSON.stringify(request.url === '/healthz' ? { status: 'alive' } : answer));
  });
  await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
  webUrl = `http://127.0.0.1:${(web.address() as AddressInfo).port}`;
});
afterAll(async () => {
  web.closeAllConnections();
  await new Promise((resolve) => web.close(resolve));
  rmSync(folder, { recursive: true, force: true });
});

async function examine(
  env: Record<string, string>,
  sandbox = { ok: true, detail: 'fine' },
): Promise<Map<string, Finding>> {
  const findings = await diagnose({
    loadConfig: () => loadConfig({ SWITCHYARD_DATA_DIR: path.join(folder, 'data'), ...env }, folder),
    checkSandbox: async () => sandbox,
  });
  return new Map(findings.map((finding) => [finding.name, finding]));
}

/** What is found of a service that is well: the doctor waits seconds for it, and a machine may be held up for longer. */
async function findsWell(name: string, env: Record<string, string>, finding: Partial<Finding>): Promise<void> {
  await eventually(async () => expect((await examine(env)).get(name)).toMatchObject({ status: 'ok', ...finding }));
}

test('a fresh machine has nothing broken, and everything that is left out has a mend', async () => {
  const findings = await examine({ SWITCHYARD_PORT: String(await freePort()) });
  expect([...findings.values()].filter(({ status }) => status === 'broken')).toEqual([]);
  expect(findings.get('Postgres')).toMatchObject({ status: 'ok', detail: expect.stringContaining('starts with up') });
  expect(findings.get('Model')).toMatchObject({ status: 'warn', mend: expect.stringContaining('OPENAI_API_KEY') });
});

test('services that are there are named with their versions', async () => {
  await using database = await openTestDatabase();
  const env = { DATABASE_URL: database.url, REDIS_URL: inject('redisUrl') };
  await findsWell('Postgres', env, { detail: expect.stringMatching(/^18\./) });
  await findsWell('Queue', env, { detail: expect.stringMatching(/^Redis \d/) });
});

test('services that are away are broken, each with a mend and without their passwords', async () => {
  const port = await freePort();
  const findings = await examine({
    DATABASE_URL: `postgres://user:hushhush@127.0.0.1:${port}/x`,
    REDIS_URL: `redis://:hushhush@127.0.0.1:${port}`,
    TELEGRAM_BOT_TOKEN: '1:hushhush',
    TELEGRAM_API_ROOT: `http://127.0.0.1:${port}`,
  });
  for (const name of ['Postgres', 'Queue', 'Telegram']) {
    expect(findings.get(name)).toMatchObject({ status: 'broken', mend: expect.any(String) });
  }
  expect(JSON.stringify([...findings])).not.toContain('hushhush');
});

test('a Redis that refuses the password is told from one that is away', async () => {
  const url = new URL(inject('redisUrl'));
  url.username = 'somebody';
  url.password = 'wrong';
  expect((await examine({ REDIS_URL: url.href })).get('Queue')).toMatchObject({
    status: 'broken',
    detail: expect.stringMatching(/WRONGPASS/),
  });
});

test('the bot of a good token is named, and a refused token is broken', async () => {
  const env = { TELEGRAM_API_ROOT: webUrl };
  await findsWell(
    'Telegram',
    { ...env, TELEGRAM_BOT_TOKEN: '1:good' },
    { detail: expect.stringMatching(/^connected as @tester_bot; /) },
  );
  expect((await examine({ ...env, TELEGRAM_BOT_TOKEN: '1:bad' })).get('Telegram')).toMatchObject({
    status: 'broken',
    detail: 'the token is refused: Unauthorized',
  });
});

test('a port held by a gateway is well, one held by another program is broken', async () => {
  const { port } = new URL(webUrl);
  await findsWell('Port', { SWITCHYARD_PORT: port }, {});
  const redisPort = new URL(inject('redisUrl')).port;
  expect((await examine({ SWITCHYARD_PORT: redisPort })).get('Port')).toMatchObject({
    status: 'broken',
    mend: expect.stringContaining('SWITCHYARD_PORT'),
  });
});

test('a master key that cannot be used is broken, and none is made to look', async () => {
  const file = path.join(folder, 'master-key');
  const look = async (env: Record<string, string>) => (await examine(env)).get('Vault');
  expect(await look({})).toMatchObject({ status: 'ok', detail: expect.stringContaining('no secrets yet') });
  expect(await look({ SWITCHYARD_MASTER_KEY_FILE: file })).toMatchObject({ status: 'broken' });
  writeFileSync(file, randomBytes(32).toString('base64'), { mode: 0o644 });
  chmodSync(file, 0o644);
  expect(await look({ SWITCHYARD_MASTER_KEY_FILE: file })).toMatchObject({
    status: 'broken',
    mend: `Run: chmod 600 ${file}`,
  });
  chmodSync(file, 0o600);
  expect(await look({ SWITCHYARD_MASTER_KEY_FILE: file })).toMatchObject({ status: 'ok' });
  expect(await look({ SWITCHYARD_KMS_COMMAND: 'cat' })).toMatchObject({ status: 'broken' });
});

test('without a Docker engine the rest is still well', async () => {
  const sandbox = { ok: false, detail: 'No Docker engine answers.', mend: 'Start Docker.' };
  expect((await examine({}, sandbox)).get('Sandbox')).toMatchObject({ status: 'warn', mend: 'Start Docker.' });
});

test('wrong settings are one finding that lists them all', async () => {
  const findings = await examine({ SWITCHYARD_PORT: 'x', LOG_LEVEL: 'y' });
  expect(findings.get('Settings')).toMatchObject({
    status: 'broken',
    detail: expect.stringMatching(/SWITCHYARD_PORT[\s\S]*LOG_LEVEL/),
  });
});
