import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { openPlaces } from '#core/sandboxes/open-places.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';
import { type EngineOnNetwork, openEngineOnNetwork } from '#tests/support/engine-on-network.ts';
import { eventually } from '#tests/support/eventually.ts';
import { openSandboxStage, run, type SandboxStage } from '#tests/support/sandbox-stage.ts';
import { toolContext } from '#tests/support/tool-context.ts';
import type { DockerHostSetting } from '#workers/sandbox/docker-host.ts';
import { execTool } from '#workers/tools/exec.ts';

const { signal } = new AbortController();
let database: TestDatabase;
let stage: SandboxStage;
/** The engine, but for what is asked of it with `/pause`: it says that it cannot. */
let odd: EngineOnNetwork;
let refusedCount = 0;

beforeAll(async () => {
  database = await openTestDatabase();
  stage = openSandboxStage({ places: () => openPlaces({ db: database.db }) });
  odd = await openEngineOnNetwork(inject('dockerHost'), (request) => {
    if (!/^POST \S+\/pause /.test(request)) return undefined;
    refusedCount++;
    const body = '{"message":"the freezer is not there"}';
    return `HTTP/1.1 500 Internal Server Error\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
  });
});
afterAll(async () => {
  await stage[Symbol.asyncDispose]();
  await odd[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

const oddHost = (): DockerHostSetting => ({ name: 'odd', url: odd.url, sharesFiles: true });

test('a command that came near to the memory of its sandbox says so, and the next one that did not is silent', async () => {
  const sandbox = await stage.open(stage.worker(), stage.newSession(), { memory_mb: 256 });
  const near = await run(sandbox, 'python3 -c "import time; kept = bytes([1]) * (240 << 20); time.sleep(3)"');
  expect(near).toMatchObject({ ended: 'exit', exitCode: 0 });
  expect(near.nearLimits).toMatch(/^memory 2[345]\d of 256 MB$/);
  const told = await execTool().run(
    { command: 'python3 -c "import time; kept = bytes([1]) * (240 << 20); time.sleep(3)"' },
    { ...toolContext({}), sandbox: async () => sandbox },
  );
  expect(told.text).toMatch(/\(no output\)\n\[The sandbox is near its limits: memory 2[345]\d of 256 MB\.\]$/);
  expect(await run(sandbox, 'true')).not.toHaveProperty('nearLimits');
});

test('processes and the disk are told as well, also with the output of a job', async () => {
  const sandbox = await stage.open(stage.worker(), stage.newSession(), { pids: 64, disk_mb: 64 });
  const { id } = await sandbox.startJob({
    command: 'for i in $(seq 56); do sleep 600 & done; echo ready; wait',
    timeoutMs: 600_000,
    signal,
  });
  await eventually(async () => {
    const output = await sandbox.readJob(id, { offset: 0, bytesMax: 1_000, waitMs: 100, signal });
    expect(output.nearLimits).toMatch(/^processes (?:5[89]|6[0-4]) of 64$/);
    expect(output.text).toBe('ready\n');
  });
  await sandbox.stopJob(id, signal);
  const full = await run(sandbox, 'head -c 52m /dev/urandom > /workspace/file');
  expect(full.nearLimits).toMatch(/^disk \d\d of 64 MB$/);
});

test('a page cache that would be given up is not taken for memory', async () => {
  const sandbox = await stage.open(stage.worker(), stage.newSession(), { memory_mb: 128, disk_mb: 1_024 });
  const read = await run(sandbox, 'head -c 300m /dev/zero > file; cat file > /dev/null; sleep 1.5');
  expect(read).toMatchObject({ ended: 'exit', exitCode: 0 });
  expect(read.nearLimits).toBeUndefined();
});

test('what an agent left running costs nothing once its sandbox is idle: it is frozen', async () => {
  const worker = stage.worker({ pauseAfterMs: 300 });
  const sessionId = stage.newSession();
  const sandbox = await stage.open(worker, sessionId);
  await run(sandbox, 'setsid sh -c "while :; do :; done" > /dev/null 2>&1 &');
  await eventually(async () => expect((await stage.container(sessionId))?.State.Paused).toBe(true));
});

test('a sandbox that cannot be frozen is removed when it is idle, and started again with its files for the next call', async () => {
  const worker = stage.worker({ pauseAfterMs: 300 }, { hosts: [oddHost()] });
  const sessionId = stage.newSession();
  const sandbox = await stage.open(worker, sessionId);
  await run(sandbox, 'echo kept > file; setsid sh -c "while :; do :; done" > /dev/null 2>&1 &');
  await eventually(async () => expect(await stage.container(sessionId)).toBeUndefined());
  expect(refusedCount).toBe(3);
  expect((await run(sandbox, 'cat file')).output).toBe('kept\n');
});
