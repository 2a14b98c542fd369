import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { openPlaces } from '#core/sandboxes/open-places.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';
import { type EngineOnNetwork, openEngineOnNetwork } from '#tests/support/engine-on-network.ts';
import { eventually } from '#tests/support/eventually.ts';
import { openSandboxStage, run, type SandboxStage } from '#tests/support/sandbox-stage.ts';
import type { DockerHostSetting } from '#workers/sandbox/docker-host.ts';
import type { DockerSandboxesOptions } from '#workers/sandbox/docker-sandboxes.ts';

const { signal } = new AbortController();
let database: TestDatabase;
let stage: SandboxStage;
/** The engine under an address of the network: no folder in common, as far as the product can tell. */
let far: EngineOnNetwork;

beforeAll(async () => {
  database = await openTestDatabase();
  stage = openSandboxStage({ places: () => openPlaces({ db: database.db }) });
  far = await openEngineOnNetwork(inject('dockerHost'));
});
afterAll(async () => {
  await stage[Symbol.asyncDispose]();
  await far[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

const farHost = (): DockerHostSetting => ({ name: 'far', url: far.url, sharesFiles: false });
const here = (): DockerHostSetting => ({ name: 'here', url: inject('dockerHost'), sharesFiles: true });
const away: DockerHostSetting = { name: 'away', url: 'tcp://127.0.0.1:1', sharesFiles: false };
const on = (...hosts: DockerHostSetting[]): Partial<DockerSandboxesOptions> => ({ hosts });

test('a sandbox on an engine without shared files works: commands, files, output, stop', async () => {
  const sandbox = await stage.open(stage.worker({}, on(farHost())), stage.newSession());
  expect((await run(sandbox, 'echo hello; cat', { stdin: 'from afar' })).output).toBe('hello\nfrom afar');
  const body = Buffer.alloc(3_000_000, 'bytes ');
  await sandbox.writeFile('large', body, { append: false, signal });
  const { bytes } = await sandbox.readBytes('large', { bytesMax: 4_000_000, signal });
  expect(bytes.equals(body)).toBe(true);
  const cancel = new AbortController();
  const stopped = await run(sandbox, 'echo up; sleep 1000', { signal: cancel.signal, onOutput: () => cancel.abort() });
  expect(stopped).toMatchObject({ ended: 'cancelled' });
  expect((await run(sandbox, 'ls /run/host 2>&1')).output).toMatch(/No such file/);
});

test('the next worker adopts it there, jobs included', async () => {
  const sessionId = stage.newSession();
  const first = stage.worker({}, on(farHost()));
  const sandbox = await stage.open(first, sessionId);
  const { id } = await sandbox.startJob({ command: 'sleep 1000', timeoutMs: 600_000, signal });
  const container = (await stage.container(sessionId))?.Id;
  await first[Symbol.asyncDispose]();
  const next = await stage.open(stage.worker({}, on(farHost())), sessionId);
  expect((await next.listJobs(signal)).find((job) => job.id === id)?.state).toBe('running');
  expect((await stage.container(sessionId))?.Id).toBe(container);
});

test('a worker that took it over ends the other’s hold: the other’s timers touch nothing', async () => {
  const sessionId = stage.newSession();
  const old = await stage.open(stage.worker({ pauseAfterMs: 300, removeAfterMs: 600 }, on(farHost())), sessionId);
  await run(old, 'true');
  const fresh = await stage.open(stage.worker({}, on(farHost())), sessionId);
  const id = (await stage.container(sessionId))?.Id;
  expect((await run(fresh, 'sleep 1.5; echo done')).output).toBe('done\n');
  expect((await stage.container(sessionId))?.Id).toBe(id);
});

test('what needs shared files is refused there by name, not half done', async () => {
  const gateway = stage.worker({}, on(farHost()));
  await expect(stage.open(gateway, stage.newSession(), { network: 'gateway' })).rejects.toMatchObject({
    code: 'sandbox.unavailable',
    message: expect.stringContaining('gateway'),
  });
  const { writeFile } = await import('node:fs/promises');
  const folders = stage.worker(
    {},
    { ...on(farHost()), prepareFolders: [async (_, folder) => await writeFile(`${folder}/skill`, 'x')] },
  );
  await expect(stage.open(folders, stage.newSession())).rejects.toMatchObject({
    code: 'sandbox.unavailable',
    message: expect.stringMatching(/far cannot give a sandbox files of the worker \(skill\)/),
  });
});

test('a session stays with its files; new ones go where there is room, and never to a host that is away', async () => {
  const [first, second] = [stage.newSession(), stage.newSession()];
  await run(await stage.open(stage.worker({}, on(farHost())), first), 'echo kept > file');
  const worker = stage.worker({}, on(away, here(), farHost()));
  expect((await run(await stage.open(worker, first), 'cat file')).output).toBe('kept\n');
  expect((await run(await stage.open(worker, second), 'echo new')).output).toBe('new\n');
  const [place] = await database.query<{ host: string }>('select host from sandbox_place where session_id = $1', [
    second,
  ]);
  expect(['here', 'far']).toContain(place?.host);
});

test('a host that is away fails its own sessions only, and one that was taken out says how to put it back', async () => {
  const sessionId = stage.newSession();
  await database.query(
    "insert into sandbox_place (session_id, host, workspace, disk) values ($1, 'away', $1, 'watched')",
    [sessionId],
  );
  const worker = stage.worker({}, on(here(), away));
  await expect(stage.open(worker, sessionId)).rejects.toMatchObject({
    code: 'sandbox.unavailable',
    message: 'The Docker host away does not answer.',
  });
  expect((await run(await stage.open(worker, stage.newSession()), 'echo fine')).output).toBe('fine\n');
  await expect(stage.open(stage.worker({}, on(here())), sessionId)).rejects.toMatchObject({
    message: expect.stringContaining('on the Docker host away, which is not set up'),
    mend: expect.stringContaining('DOCKER_HOSTS'),
  });
  expect(await worker.check()).toMatchObject({ ok: true, detail: expect.stringContaining('away: ') });
});

test('what a worker far away left is swept once it has been silent; what it still says it holds is not', async () => {
  const sessionId = stage.newSession();
  const gone = stage.worker({}, on(farHost()));
  await stage.open(gone, sessionId);
  await gone[Symbol.asyncDispose]();
  const sweeper = stage.worker({ removeAfterMs: 200 }, on(farHost()));
  await sweeper.sweep();
  expect((await stage.container(sessionId))?.State.Running).toBe(true);
  await database.query("update sandbox_place set seen_at = now() - interval '10 minutes' where session_id = $1", [
    sessionId,
  ]);
  await eventually(async () => {
    await sweeper.sweep();
    expect(await stage.container(sessionId)).toBeUndefined();
  });
});
