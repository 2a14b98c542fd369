import { afterAll, beforeAll, expect, test } from 'vitest';
import { openPlaces } from '#core/sandboxes/open-places.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';
import { eventually } from '#tests/support/eventually.ts';
import { openSandboxStage, run, type SandboxStage } from '#tests/support/sandbox-stage.ts';
import { labels } from '#workers/sandbox/container-spec.ts';

let stage: SandboxStage;
let database: TestDatabase;
beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(async () => await database[Symbol.asyncDispose]());
beforeAll(() => {
  stage = openSandboxStage();
});
afterAll(async () => await stage[Symbol.asyncDispose]());

/** Room for so many sandboxes of 64 MiB. */
const roomFor = (count: number) => ({ memoryMb: 64 * count, overcommitPercent: 100 });
const small = { memory_mb: 64, pids: 64, disk_mb: 16 };

test('a sandbox that can never fit is refused at once, with what is promised and the mend', async () => {
  await using own = openSandboxStage();
  const opening = own.open(own.worker({ ...roomFor(1), admitMs: 10_000 }), own.newSession(), { memory_mb: 128 });
  await expect(opening).rejects.toMatchObject({
    code: 'sandbox.full',
    message: expect.stringContaining('0 of 64 MiB are promised and this one needs 128'),
    mend: expect.stringContaining('SWITCHYARD_LIMIT_SANDBOX_MEMORY_MB'),
  });
});

test('one too many waits while the others work, and is then told', async () => {
  await using own = openSandboxStage();
  const worker = own.worker({ ...roomFor(2), admitMs: 600 });
  const busy = await Promise.all([own.newSession(), own.newSession()].map((id) => own.open(worker, id, small)));
  const command = 'until [ -e go ]; do sleep 0.1; done; echo done';
  const working = busy.map(async (sandbox) => await run(sandbox, command, { timeoutMs: 50_000 }));
  await expect(own.open(worker, own.newSession(), small)).rejects.toMatchObject({ code: 'sandbox.full' });
  for (const sandbox of busy) await run(sandbox, 'touch go');
  for (const work of working) expect((await work).output).toBe('done\n');
});

test('one too many gets the place of whoever was idle longest, whose files are kept', async () => {
  await using own = openSandboxStage();
  const worker = own.worker({ ...roomFor(2), admitMs: 10_000 });
  const [oldest, newer, third] = [own.newSession(), own.newSession(), own.newSession()];
  const first = await own.open(worker, oldest, small);
  await run(first, 'echo kept > file');
  await run(await own.open(worker, newer, small), 'true');
  await run(await own.open(worker, third, small), 'true');
  expect(await own.container(oldest)).toBeUndefined();
  expect(await own.container(newer)).toBeDefined();
  expect((await run(first, 'cat file')).output).toBe('kept\n');
});

test('a job keeps its place', async () => {
  await using own = openSandboxStage();
  const worker = own.worker({ ...roomFor(1), admitMs: 300, pauseAfterMs: 60_000 });
  const sessionId = own.newSession();
  const sandbox = await own.open(worker, sessionId, small);
  const { signal } = new AbortController();
  const { id } = await sandbox.startJob({ command: 'sleep 1000', timeoutMs: 600_000, signal });
  await expect(own.open(worker, own.newSession(), small)).rejects.toMatchObject({ code: 'sandbox.full' });
  await sandbox.stopJob(id, signal);
  expect((await run(await own.open(worker, own.newSession(), small), 'echo in')).output).toBe('in\n');
});

test('what another worker put to rest makes room, and that worker goes on with a new container', async () => {
  await using own = openSandboxStage();
  const other = own.worker({ ...roomFor(1), admitMs: 10_000, pauseAfterMs: 100 });
  const resting = own.newSession();
  const theirs = await own.open(other, resting, small);
  await run(theirs, 'echo kept > file');
  await eventually(async () => expect((await own.container(resting))?.State.Paused).toBe(true));
  const mine = own.newSession();
  const worker = own.worker({ ...roomFor(1), admitMs: 10_000, pauseAfterMs: 100 });
  expect((await run(await own.open(worker, mine, small), 'echo in')).output).toBe('in\n');
  expect(await own.container(resting)).toBeUndefined();
  await eventually(async () => expect((await own.container(mine))?.State.Paused).toBe(true));
  expect((await run(theirs, 'cat file')).output).toBe('kept\n');
});

test('a crowd at one engine from several workers is never let in above the bound', async () => {
  await using own = openSandboxStage({ places: () => openPlaces({ db: database.db }) });
  const limits = { ...roomFor(3), admitMs: 0 };
  const workers = [own.worker(limits), own.worker(limits), own.worker(limits)];
  let most = 0;
  const watching = new AbortController();
  const watch = (async () => {
    while (!watching.signal.aborted) {
      const there = await own.engine.listContainers({
        all: true,
        filters: { label: [`${labels.instance}=${own.instance}`] },
      });
      most = Math.max(most, there.length);
    }
  })();
  // Those that are in stay busy until everybody has an answer, so that nobody can be sent away for another.
  const answered = new AbortController();
  let answers = 0;
  const answer = () => {
    answers += 1;
    if (answers === 12) answered.abort();
  };
  const tries = workers.flatMap((worker) =>
    Array.from({ length: 4 }, async () => {
      const sandbox = await own.open(worker, own.newSession(), small).catch((err: unknown) => {
        answer();
        throw err;
      });
      await run(sandbox, 'echo up; sleep 1000', { timeoutMs: 55_000, signal: answered.signal, onOutput: answer });
    }),
  );
  const results = await Promise.allSettled(tries);
  watching.abort();
  await watch;
  const letIn = results.filter((result) => result.status === 'fulfilled');
  expect(letIn).toHaveLength(3);
  expect(most).toBe(3);
  const refused = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
  expect(new Set(refused.map((err) => err.code))).toEqual(new Set(['sandbox.full']));
});

test('processes are counted like memory', async () => {
  await using own = openSandboxStage();
  const worker = own.worker({ pidsMax: 100, admitMs: 0 });
  await expect(own.open(worker, own.newSession(), { ...small, pids: 101 })).rejects.toMatchObject({
    code: 'sandbox.full',
    message: expect.stringContaining('processes'),
  });
  expect((await run(await own.open(worker, own.newSession(), { ...small, pids: 100 }), 'echo in')).output).toBe('in\n');
});

test('the engine’s own memory is the bound when none is set', async () => {
  const worker = stage.worker({ overcommitPercent: 100 });
  const machineMb = Math.floor((await stage.engine.info()).MemTotal / (1 << 20));
  const tooLarge = Math.min(16_384, Math.floor(machineMb * 0.8) + 1);
  const opening = stage.open(worker, stage.newSession(), { memory_mb: tooLarge });
  if (tooLarge > machineMb * 0.8) await expect(opening).rejects.toMatchObject({ code: 'sandbox.full' });
  else await expect(opening).resolves.toBeDefined();
});
