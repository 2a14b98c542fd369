import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { loadProjectAgents } from '#app/load-project-agents.ts';
import type { CliDeps } from '#cli/cli-deps.ts';
import { runProgram } from '#cli/run-program.ts';
import { applyAgents } from '#core/agents/apply-agents.ts';
import { requestApproval } from '#core/approvals/request-approval.ts';
import { newId } from '#core/kit/ids.ts';
import { acceptTurns } from '#core/lanes/accept-turns.ts';
import { putMessages } from '#core/outbox/put-messages.ts';
import { identify } from '#core/people/identify.ts';
import { pairIdentity } from '#core/people/pair-identity.ts';
import { SkillLibrary } from '#core/skills/skill-library.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';
import { writeSkill } from '#tests/support/skill-files.ts';

const repository = path.resolve(import.meta.dirname, '../../..');
const skillsRoot = mkdtempSync(path.join(tmpdir(), 'sw-cli-skills-'));
let database: TestDatabase;

interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(async () => {
  rmSync(skillsRoot, { recursive: true, force: true });
  await database[Symbol.asyncDispose]();
});

/** Runs a command against the test's database. */
async function run(...argv: string[]): Promise<Run> {
  return await runOn({ hasColour: false }, argv);
}

async function runOn({ hasColour }: { readonly hasColour: boolean }, argv: readonly string[]): Promise<Run> {
  let stdout = '';
  let stderr = '';
  const refuse = () => {
    throw new Error('this command was not to use that');
  };
  const deps: CliDeps = {
    version: '1.2.3',
    installDir: repository,
    terminal: {
      stdout: { write: (text: string) => (stdout += text) },
      stderr: { write: (text: string) => (stderr += text) },
      hasColour,
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
    openSkills: () => ({
      library: new SkillLibrary({
        bundled: path.join(skillsRoot, 'bundled'),
        project: path.join(skillsRoot, 'skills'),
        agentsFolder: undefined,
        agentsDir: path.join(skillsRoot, 'agents'),
        revoked: [],
      }),
      keepFolder: path.join(skillsRoot, 'kept'),
    }),
    testSkill: refuse,
    listHooks: async () => [],
    openMcp: refuse,
    checkImage: refuse,
    readBill: refuse,
    openSandboxes: refuse,
    loadAgents: async () => await loadProjectAgents({ agentsDir: path.join(repository, 'agents') }),
    openDatabase: async () => ({ db: database.db, [Symbol.asyncDispose]: async () => undefined }),
  };
  const code = await runProgram(deps, argv, { showStack: false });
  return { code, stdout, stderr };
}

async function json(...argv: string[]): Promise<unknown> {
  const { code, stdout, stderr } = await run(...argv, '--json');
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
}

/** A session with one queued turn, in a chat of its own. */
async function givenTurn(): Promise<{ sessionId: string; turnId: string }> {
  const sessionId = newId();
  const turnId = newId();
  const origin = { channel: 'test', account: 'bot', room: sessionId, kind: 'dm' } as const;
  const key = `test:bot:${sessionId}:-`;
  await database.query('insert into thread (thread_key, conversation) values ($1, $2)', [key, JSON.stringify(origin)]);
  await database.query('insert into session (id, thread_key, agent_name, origin) values ($1, $2, $3, $4)', [
    sessionId,
    key,
    'assistant',
    JSON.stringify(origin),
  ]);
  await database.db.transaction().execute(async (tx) => {
    await acceptTurns(tx, [
      {
        turnId,
        sessionId,
        eventKey: newId(),
        mode: 'followup',
        kind: 'message',
        agentName: 'assistant',
        agentVersion: 'v1',
        origin,
        payload: { text: 'hello' },
      },
    ]);
  });
  return { sessionId, turnId };
}

test('apply puts the bundled agents in force, and again changes nothing', async () => {
  expect(await json('apply')).toMatchObject({ added: ['assistant', 'coder'], removed: [] });
  expect(await json('apply')).toMatchObject({ added: [], changed: [], unchanged: ['assistant', 'coder'] });
  expect(await json('agent', 'list')).toMatchObject({ agents: [{ name: 'assistant' }, { name: 'coder' }] });
  expect((await run('agent', 'show', 'coder')).stdout).toContain('"name": "coder"');
  expect(await run('agent', 'show', 'codr')).toMatchObject({ code: 1, stderr: expect.stringContaining('"coder"') });
});

test('agent list shows roles, and names in their colours where there are any', async () => {
  const profiles = await loadProjectAgents({ agentsDir: path.join(repository, 'agents') });
  const colours = ['Cyan', 'hidden'];
  const painted = profiles.map((profile, index) => ({
    ...profile,
    version: `${profile.version.slice(0, 60)}-${index}`,
    colour: colours[index] ?? 'cyan',
  }));
  await applyAgents(database.db, painted);
  expect(await json('agent', 'list')).toMatchObject({
    agents: [{ role: 'assistant', colour: 'Cyan' }, { role: 'developer' }],
  });
  const { stdout } = await runOn({ hasColour: true }, ['agent', 'list']);
  expect(stdout).toContain('\u001b[36massistant\u001b[39m  assistant');
  expect(stdout).toContain('\ncoder      developer');
});

test('a code from pair makes somebody what it says, once', async () => {
  const { code } = (await json('pair', '--role', 'admin')) as { code: string };
  const identity = await identify(database.db, {
    channel: 'test',
    account: 'bot',
    externalId: newId(),
    displayName: 'Ada',
  });
  const pair = async () =>
    await database.db.transaction().execute(async (tx) => await pairIdentity(tx, identity, code));
  expect(await pair()).toMatchObject({ role: 'admin', displayName: 'Ada' });
  expect(await pair()).toBeUndefined();
  expect((await run('pair', '--role', 'king')).code).toBe(1);
});

test('session list, show and kill see and end the queued work', async () => {
  const { sessionId } = await givenTurn();
  expect(await json('session', 'list')).toMatchObject({
    sessions: expect.arrayContaining([expect.objectContaining({ id: sessionId, queuedTurns: 1 })]),
  });
  expect(await run('session', 'kill', sessionId)).toMatchObject({ code: 0, stdout: '1 waiting turns were ended\n' });
  expect(await run('session', 'kill', sessionId)).toMatchObject({
    code: 0,
    stdout: 'nothing was running or waiting\n',
  });
  // The last letters are cut off: nothing else begins like that.
  expect(await json('session', 'show', sessionId.slice(0, -2))).toMatchObject({
    session: { id: sessionId, state: 'active' },
  });
  for (const id of [newId(), 'nonsense']) {
    expect(await run('session', 'kill', id)).toMatchObject({ code: 1, stderr: expect.stringContaining('no session') });
  }
});

test('an approval is listed, denied once with its reason, and then already decided', async () => {
  const { sessionId, turnId } = await givenTurn();
  const { approval } = await database.db.transaction().execute(
    async (tx) =>
      await requestApproval(tx, {
        sessionId,
        turnId,
        callId: 'call-1',
        agentName: 'assistant',
        action: {
          tool: 'exec',
          arguments: { command: 'rm -r build' },
          permission: 'tool.exec',
          resource: 'rm -r build',
        },
        summary: 'Run `rm -r build`',
        risk: 'medium',
        costMicros: undefined,
        requesterId: undefined,
        approvers: [['role:owner']],
        requesterMayApprove: true,
        conversation: { channel: 'test', account: 'bot', room: sessionId, kind: 'dm' },
        validMs: 60_000,
      }),
  );
  const listed = (await run('approvals', 'list')).stdout;
  expect(listed).toContain(approval.id);
  expect(listed).toMatch(/ {2}\d{4}-\d\d-\d\d \d\d:\d\d UTC {2}/);
  expect(await run('approvals', 'deny', approval.id, '--reason', 'not today')).toMatchObject({ code: 0, stderr: '' });
  expect(await json('approvals', 'list', '--all')).toMatchObject({
    approvals: [{ id: approval.id, state: 'denied', reason: 'not today', decidedByName: userInfo().username }],
  });
  expect((await run('approvals', 'approve', approval.id)).code).toBe(1);
  expect((await run('approvals', 'list')).stdout).toBe('Nothing waits for an answer.\n');
});

test('a message that did not arrive is listed with its reason, sent again, or dropped', async () => {
  expect((await run('outbox', 'list')).stdout).toBe('Everything that was said has arrived.\n');
  await putMessages(
    database.db,
    ['lost one', 'lost two'].map((markdown) => ({
      key: markdown,
      conversation: { channel: 'test', account: 'bot', room: 'lost', kind: 'dm' as const },
      importance: 'result' as const,
      body: { parts: [{ type: 'markdown' as const, markdown }] },
    })),
  );
  await database.query(
    `update outbox set state = 'dead', last_error = 'unreachable: blocked' where thread_key like '%:lost:-'`,
  );
  const { messages } = z
    .object({ messages: z.array(z.object({ id: z.string(), text: z.string(), reason: z.string() })) })
    .parse(await json('outbox', 'list'));
  expect(messages.map(({ text, reason }) => `${text} ${reason}`).sort()).toEqual([
    'lost one unreachable: blocked',
    'lost two unreachable: blocked',
  ]);
  expect((await run('outbox', 'list')).stdout).toContain('test:bot:lost:-');
  expect((await run('outbox', 'resend', messages[0]?.id ?? '')).code).toBe(0);
  expect((await run('outbox', 'drop', messages[1]?.id ?? '')).code).toBe(0);
  expect((await run('outbox', 'list')).stdout).toBe('Everything that was said has arrived.\n');
  expect(await run('outbox', 'drop', messages[1]?.id ?? '')).toMatchObject({ code: 1 });
  expect((await run('outbox', 'resend', 'nonsense')).stderr).toContain('no undelivered message nonsense');
});

test.each([
  ['approvals', 'approve'],
  ['approvals', 'deny'],
  ['grants', 'revoke'],
])('%s %s refuses what does not exist', async (...command) => {
  for (const id of [newId(), "x' or true"]) {
    const { code, stderr } = await run(...command, id);
    expect(code).toBe(1);
    expect(stderr).toMatch(/no (approval|remembered)|unknown|not known|does not exist/i);
  }
});

test('costs are zero when nothing was spent, in every grouping and period', async () => {
  for (const by of ['agent', 'model', 'person']) {
    for (const period of ['today', 'week', 'month']) {
      expect(await json('costs', '--by', by, '--period', period)).toMatchObject({ totalMicros: '0', rows: [] });
    }
  }
  expect((await run('costs', '--by', 'colour')).code).toBe(1);
  expect((await run('costs')).stdout).toMatch(/^total since \d{4}-\d\d-\d\d \(UTC\): \$/m);
});

test('session list and show have times people can read', async () => {
  const { sessionId } = await givenTurn();
  for (const command of [['list'], ['show', sessionId]]) {
    const { stdout } = await run('session', ...command);
    expect(stdout).toMatch(/ \d{4}-\d\d-\d\d \d\d:\d\d UTC\b/);
    expect(stdout).not.toMatch(/\dT\d\d:/);
  }
});

test('each change of a skill is on the audit with who, source and digest, also one that failed', async () => {
  const source = writeSkill(path.join(skillsRoot, 'incoming'), 'noted');
  expect(await json('skill', 'add', source, '--yes')).toMatchObject({ trusted: { name: 'noted' } });
  appendFileSync(path.join(skillsRoot, 'skills/noted/SKILL.md'), 'more\n');
  expect((await run('skill', 'restore', 'noted')).code).toBe(0);
  appendFileSync(path.join(skillsRoot, 'skills/noted/SKILL.md'), 'more\n');
  expect((await run('skill', 'trust', 'noted', '--yes')).code).toBe(0);
  rmSync(path.join(skillsRoot, 'kept'), { recursive: true });
  expect((await run('skill', 'restore', 'noted')).code).toBe(1);
  expect((await run('skill', 'rm', 'noted', '--yes')).code).toBe(0);
  const rows = await database.query<{ body: Record<string, unknown> }>(
    "select body from audit_body where body ->> 'name' = 'noted' order by chain, seq",
  );
  const record = { source: `folder:${source}`, digest: expect.stringMatching(/^sha256:/), via: 'cli' };
  expect(rows.map(({ body }) => body)).toMatchObject([
    { ...record, kind: 'skill.added' },
    { ...record, kind: 'skill.restored' },
    { ...record, kind: 'skill.trusted' },
    { ...record, kind: 'skill.restored' },
    { ...record, kind: 'skill.change_failed', change: 'skill.restored', code: 'skill.invalid' },
    { ...record, kind: 'skill.removed' },
  ]);
  const [operator] = await database.query<{ id: string }>('select id from person where display_name = $1', [
    userInfo().username,
  ]);
  expect(new Set(rows.map(({ body }) => body['personId']))).toEqual(new Set([operator?.id]));
  expect(rows[2]?.body['digest']).not.toBe(rows[0]?.body['digest']);
});
