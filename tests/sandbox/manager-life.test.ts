import { mkdirSync, readdirSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openPlaces } from '#core/sandboxes/open-places.ts';
import { readSandboxEvents } from '#core/sandboxes/read-sandbox-events.ts';
import { attack } from '#tests/support/attack.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';
import { eventually } from '#tests/support/eventually.ts';
import { openSandboxStage, run, type SandboxStage } from '#tests/support/sandbox-stage.ts';
import { sessionKey, workspaceVolume } from '#workers/sandbox/container-spec.ts';

const { signal } = new AbortController();
let database: TestDatabase;
let stage: SandboxStage;
beforeAll(async () => {
  database = await openTestDatabase();
  stage = openSandboxStage({ places: () => openPlaces({ db: database.db }) });
});
afterAll(async () => {
  await stage[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

const idOf = async (sessionId: string) => (await stage.container(sessionId))?.Id;
const isPaused = async (sessionId: string) => (await stage.container(sessionId))?.State.Paused;
const whatHappened = async (sessionId: string) =>
  (await readSandboxEvents(database.db, sessionId, 100)).map((event) => event.what);
const job = { command: 'sleep 1000', timeoutMs: 600_000, signal };

describe('a job', () => {
  test('keeps its container awake and in place; when it ends the container rests', async () => {
    const sessionId = stage.newSession();
    const worker = stage.worker({ pauseAfterMs: 150, removeAfterMs: 5_000 });
    const sandbox = await stage.open(worker, sessionId);
    const { id } = await sandbox.startJob({
      ...job,
      command: 'echo begun; until [ -e go ]; do sleep 0.1; done; echo over',
    });
    const container = await idOf(sessionId);
    // One that is opened later and has no job is put to rest, and then removed, while this one is not.
    const other = stage.newSession();
    await stage.open(worker, other);
    await eventually(async () => expect(await isPaused(other)).toBe(true));
    expect(await isPaused(sessionId)).toBe(false);
    await eventually(async () => expect(await idOf(other)).toBeUndefined());
    expect(await isPaused(sessionId)).toBe(false);
    expect(await idOf(sessionId)).toBe(container);
    await run(sandbox, 'touch go');
    await eventually(async () => {
      const read = await sandbox.readJob(id, { offset: 0, bytesMax: 1000, waitMs: 2_000, signal });
      expect([read.status.state, read.text]).toEqual(['ended', 'begun\nover\n']);
    });
    await eventually(async () => expect(await isPaused(sessionId)).toBe(true));
  });

  test('goes on when its worker dies: the sweep of another takes it over, and puts it to rest at its end', async () => {
    const sessionId = stage.newSession();
    const first = stage.worker();
    const { id } = await (await stage.open(first, sessionId)).startJob(job);
    await first[Symbol.asyncDispose]();
    const second = stage.worker({ pauseAfterMs: 200 });
    await second.sweep();
    expect(await isPaused(sessionId)).toBe(false);
    const sandbox = await stage.open(second, sessionId);
    expect((await sandbox.listJobs(signal)).find((each) => each.id === id)?.state).toBe('running');
    await sandbox.stopJob(id, signal);
    await eventually(async () => expect(await isPaused(sessionId)).toBe(true));
  });

  test('does not keep its container beyond the age limit', async () => {
    const sessionId = stage.newSession();
    const worker = stage.worker({ pauseAfterMs: 200, ageMs: 1_500 });
    await (await stage.open(worker, sessionId)).startJob(job);
    await eventually(async () => expect(await idOf(sessionId)).toBeUndefined());
  });
});

test('a container beyond the age limit is replaced at the next call, never in the middle of one', async () => {
  const sessionId = stage.newSession();
  const sandbox = await stage.open(stage.worker({ ageMs: 500 }), sessionId);
  await run(sandbox, 'echo kept > file');
  const before = await idOf(sessionId);
  expect((await run(sandbox, 'sleep 1; echo whole')).output).toBe('whole\n');
  expect((await run(sandbox, 'cat file')).output).toBe('kept\n');
  expect(await idOf(sessionId)).not.toBe(before);
});

attack(
  'toolbox',
  '40: a toolbox that the agent froze, at rest and stop',
  'neither waits longer than a moment',
  async () => {
    const sessionId = stage.newSession();
    const sandbox = await stage.open(stage.worker({ pauseAfterMs: 2_000, jobsMs: 500 }), sessionId);
    const cancel = new AbortController();
    const working = run(sandbox, 'echo up; pkill -STOP -x toolbox; sleep 1000', {
      signal: cancel.signal,
      timeoutMs: 50_000,
    });
    await stage.isStopped(sessionId, 'toolbox');
    const startedAt = performance.now();
    cancel.abort();
    expect((await working).ended).toBe('cancelled');
    // 600 ms for the toolbox to obey and 300 ms at most for the engine, on a machine that does nothing else.
    expect(performance.now() - startedAt).toBeLessThan(15_000);
    // After the answer and well before the rest: a container at rest has nothing that could freeze its toolbox.
    await run(sandbox, '(sleep 0.05; pkill -STOP -x toolbox) >/dev/null 2>&1 &');
    await eventually(async () => expect(await idOf(sessionId)).toBeUndefined());
    expect(await run(sandbox, 'echo alive')).toMatchObject({ output: 'alive\n' });
  },
);

test('somebody at a terminal keeps the container awake, until their sign of life is old', async () => {
  const sessionId = stage.newSession();
  const worker = stage.worker({ pauseAfterMs: 150 });
  const sandbox = await stage.open(worker, sessionId);
  const mark = path.join(stage.socketDirectory, sessionKey(stage.instance, sessionId), '.held');
  writeFileSync(mark, '');
  // Fresh for as long as the other one may take to start and to rest.
  utimesSync(mark, new Date(Date.now() + 60_000), new Date(Date.now() + 60_000));
  await run(sandbox, 'true');
  await stage.othersRest(worker);
  expect(await isPaused(sessionId)).toBe(false);
  utimesSync(mark, new Date(Date.now() - 60_000), new Date(Date.now() - 60_000));
  await eventually(async () => expect(await isPaused(sessionId)).toBe(true));
});

test('what happened to a sandbox is on record: start, memory, rest, return', async () => {
  const sessionId = stage.newSession();
  const worker = stage.worker({ pauseAfterMs: 100, removeAfterMs: 400 });
  const sandbox = await stage.open(worker, sessionId, { memory_mb: 64 });
  await eventually(async () => {
    expect((await run(sandbox, "python3 -c 'x = bytearray(900 << 20)'")).ended).toBe('oom');
  });
  await eventually(async () => expect(await idOf(sessionId)).toBeUndefined());
  // It works, so that it does not rest once more before anybody has looked.
  const stop = new AbortController();
  const working = run(sandbox, 'sleep 1000', { timeoutMs: 50_000, signal: stop.signal });
  await eventually(async () => {
    const happened = await whatHappened(sessionId);
    expect(happened[0]).toBe('started');
    expect(happened).toContain('oom');
    expect(happened.slice(-2)).toEqual(['rested', 'started']);
  });
  stop.abort();
  await working;
  const [first] = await readSandboxEvents(database.db, sessionId, 100);
  expect(first).toMatchObject({
    sessionId,
    host: 'local',
    kind: 'core',
    detail: expect.stringMatching(/after \d+ ms/),
  });
});

test('a start that fails half-way leaves no container, no folder and no mount, and is on record', async () => {
  const sessionId = stage.newSession();
  const worker = stage.worker({}, { workspaceDirectory: path.join(stage.workspaceDirectory, 'locked') });
  mkdirSync(path.join(stage.workspaceDirectory, 'locked'));
  // The image of the workspace is a directory: mounting it fails after the container was made.
  mkdirSync(path.join(stage.workspaceDirectory, 'locked', `${workspaceVolume(sessionId)}.img`));
  await expect(stage.open(worker, sessionId)).rejects.toMatchObject({ code: 'sandbox.unavailable' });
  expect(await idOf(sessionId)).toBeUndefined();
  const key = sessionKey(stage.instance, sessionId);
  expect(readdirSync(stage.socketDirectory)).not.toContain(key);
  await eventually(() => {
    expect(readdirSync(path.join(stage.workspaceDirectory, 'locked')).filter((name) => name.endsWith('.mnt'))).toEqual(
      [],
    );
  });
  await eventually(async () => expect(await whatHappened(sessionId)).toEqual(['failed']));
});

test('the files of a session are kept for a while after its end, and then go', async () => {
  const [ended, active] = await Promise.all([addSession('ended'), addSession('active')]);
  const worker = stage.worker({ keepMs: 1_000 });
  for (const sessionId of [ended, active]) await run(await stage.open(worker, sessionId), 'echo kept > file');
  await worker.removeAll();
  await database.query("update session set ended_at = now() - interval '1 hour' where id = $1", [ended]);
  await worker.sweep({ isThorough: true });
  const left = readdirSync(stage.workspaceDirectory)
    .filter((name) => name.endsWith('.img'))
    .join(' ');
  expect(left).not.toContain(ended);
  expect(left).toContain(active);
  expect((await run(await stage.open(worker, active), 'cat file')).output).toBe('kept\n');
  for (const sessionId of [ended, active]) await worker.forget(sessionId);
});

async function addSession(state: 'active' | 'ended'): Promise<string> {
  const key = `test:${state}`;
  await database.query("insert into thread (thread_key, conversation) values ($1, '{}')", [key]);
  const [row] = await database.query<{ id: string }>(
    `insert into session (id, thread_key, agent_name, origin, state, ended_at)
     values (gen_random_uuid(), $1, 'tester', '{}', $2, case when $2 = 'ended' then now() end) returning id`,
    [key, state],
  );
  return row?.id ?? '';
}
