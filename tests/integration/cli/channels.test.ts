import path from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { CliDeps } from '#cli/cli-deps.ts';
import { runProgram } from '#cli/run-program.ts';
import { noteAccount } from '#core/channels/note-account.ts';
import { noteRoom } from '#core/channels/note-room.ts';
import { muteRoom } from '#core/channels/read-room.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';

const log = pino({ level: 'silent' });
const telegram = { channel: 'telegram', account: '7' };
let database: TestDatabase;

beforeAll(async () => {
  database = await openTestDatabase();
  await noteAccount({ db: database.db, log }, telegram, { state: 'connected', detail: 'as @bot' });
});
afterAll(async () => await database[Symbol.asyncDispose]());

async function run(...argv: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  let stdout = '';
  let stderr = '';
  const refuse = () => {
    throw new Error('this command was not to use that');
  };
  const deps: CliDeps = {
    version: '1',
    installDir: path.resolve(import.meta.dirname, '../../..'),
    terminal: {
      stdout: { write: (text: string) => (stdout += text) },
      stderr: { write: (text: string) => (stderr += text) },
      hasColour: false,
    },
    signal: new AbortController().signal,
    start: refuse,
    diagnose: refuse,
    readSettings: refuse,
    findGateway: refuse,
    listTools: refuse,
    slackManifest: refuse,
    readVariables: refuse,
    describeInvalid: refuse,
    openQuestions: refuse,
    readStdin: refuse,
    openKek: refuse,
    openSkills: refuse,
    testSkill: refuse,
    listHooks: async () => [],
    openMcp: refuse,
    checkImage: refuse,
    readBill: refuse,
    openSandboxes: refuse,
    loadAgents: refuse,
    openDatabase: async () => ({ db: database.db, [Symbol.asyncDispose]: async () => undefined }),
  };
  const code = await runProgram(deps, argv, { showStack: false });
  return { code, stdout, stderr };
}

test('channel list shows how an account does, that it is off, and that no gateway looks after it', async () => {
  expect((await run('channel', 'list')).stdout).toMatch(/telegram\s+7\s+connected\s+.*as @bot/);
  expect((await run('channel', 'disable', 'telegram')).stdout).toContain('telegram is off.');
  expect((await run('channel', 'disable', 'telegram')).stdout).toContain('was off already');
  expect((await run('channel', 'list')).stdout).toMatch(/telegram\s+7\s+off/);
  expect((await run('channel', 'enable', 'telegram:7')).code).toBe(0);
  await database.query(`update channel_account set updated_at = now() - interval '2 minutes'`);
  expect((await run('channel', 'list')).stdout).toMatch(/telegram\s+7\s+no gateway/);
  expect(await run('channel', 'enable', 'telegramm')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('Did you mean telegram?'),
  });
});

test('rooms are listed with what was noted of them, and a muted one is heard again on demand', async () => {
  const room = { ...telegram, room: '-9' };
  await database.db.transaction().execute(async (tx) => await noteRoom({ tx, log }, room, 'archived', 'closed'));
  await muteRoom({ db: database.db, log }, { ...telegram, room: '-8' }, { forMs: 3_600_000, reason: 'a flood' });
  const { stdout } = await run('channel', 'rooms');
  expect(stdout).toMatch(/telegram\s+-9\s+archived\s+closed/);
  expect(stdout).toMatch(/telegram\s+-8\s+active\s+\d{4}-/);
  expect((await run('channel', 'unmute', 'telegram', '-8')).stdout).toContain('Listening to -8');
  expect((await run('channel', 'rooms')).stdout).not.toMatch(/-8\s+active\s+\d{4}-/);
  expect((await run('channel', 'unmute', 'telegram', '-77')).code).toBe(1);
});

test('people are let in, changed, listed and removed, and codes are shown and withdrawn', async () => {
  expect((await run('people', 'allow', 'telegram:555')).stdout).toContain('Let in: 555 (member).');
  expect((await run('people', 'role', '555', 'admin')).stdout).toContain('555 is admin.');
  expect((await run('people', 'role', '555', 'boss')).code).toBe(1);
  const { people } = JSON.parse((await run('people', 'list', '--json')).stdout) as { people: { role: string }[] };
  expect(people.map(({ role }) => role)).toEqual(['owner', 'admin']);
  expect((await run('people', 'list')).stdout).toMatch(/admin\s+555\s+never\s+telegram:555/);
  expect((await run('people', 'remove', '555')).stdout).toContain('Removed: 555.');
  expect((await run('people', 'remove', '555')).code).toBe(1);
  await run('pair');
  expect((await run('people', 'codes')).stdout).toContain('one member');
  expect((await run('people', 'revoke-code', 'ffffff')).code).toBe(1);
  expect((await run('people', 'revoke-code')).stdout).toContain('Revoked: 1.');
});

test('the last owner cannot be removed from the terminal either', async () => {
  const { people } = JSON.parse((await run('people', 'list', '--json')).stdout) as {
    people: { displayName: string }[];
  };
  expect(await run('people', 'remove', people[0]?.displayName ?? '')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('last owner'),
  });
});
