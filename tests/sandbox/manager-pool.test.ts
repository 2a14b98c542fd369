import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { openPlaces } from '#core/sandboxes/open-places.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';
import { eventually } from '#tests/support/eventually.ts';
import { openSandboxStage, run, type SandboxStage } from '#tests/support/sandbox-stage.ts';
import { labels } from '#workers/sandbox/container-spec.ts';
import type { DockerSandboxes, DockerSandboxesOptions } from '#workers/sandbox/docker-sandboxes.ts';
import type { OpenGateway } from '#workers/sandbox/sandbox.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(async () => await database[Symbol.asyncDispose]());

const openStage = () => openSandboxStage({ places: () => openPlaces({ db: database.db }) });
const containersOf = async (stage: SandboxStage) =>
  await stage.engine.listContainers({ all: true, filters: { label: [`${labels.instance}=${stage.instance}`] } });

/** A worker that keeps one container ready, and when it does. */
async function openReady(
  stage: SandboxStage,
  limits = {},
  options: Partial<DockerSandboxesOptions> = {},
): Promise<{ worker: DockerSandboxes; stop: () => Promise<void> }> {
  const worker = stage.worker({ poolSize: 1, ...limits }, options);
  const stopping = new AbortController();
  const keeping = worker.keepReady(stopping.signal);
  await eventually(async () => expect(await containersOf(stage)).toHaveLength(1));
  await eventually(() => expect(worker.readyCount).toBe(1));
  return {
    worker,
    stop: async () => {
      stopping.abort();
      await keeping;
    },
  };
}

test('a new session takes a ready container, keeps it and its files, and another is made ready', async () => {
  await using stage = openStage();
  const { worker, stop } = await openReady(stage);
  const [ready] = await containersOf(stage);
  const sessionId = stage.newSession();
  const sandbox = await stage.open(worker, sessionId);
  await run(sandbox, 'echo kept > file');
  // The one that was taken and another: none was made for the session.
  await eventually(async () => {
    expect(worker.readyCount).toBe(1);
    expect(await containersOf(stage)).toHaveLength(2);
  });
  expect((await containersOf(stage)).map((container) => container.Id)).toContain(ready?.Id);
  await stop();
  const next = stage.worker();
  await worker[Symbol.asyncDispose]();
  expect((await run(await stage.open(next, sessionId), 'cat file')).output).toBe('kept\n');
  expect((await containersOf(stage)).map((container) => container.Id)).toEqual([ready?.Id]);
  await next.removeAll();
  expect((await run(await stage.open(stage.worker(), sessionId), 'cat file')).output).toBe('kept\n');
  await stage.worker().forget(sessionId);
});

test('two sessions never get the same container', async () => {
  await using stage = openStage();
  const { worker, stop } = await openReady(stage);
  const sessions = [stage.newSession(), stage.newSession()];
  const [a, b] = await Promise.all(sessions.map(async (sessionId) => await stage.open(worker, sessionId)));
  if (a === undefined || b === undefined) throw new Error('two sandboxes');
  await run(a, 'echo private > file');
  expect((await run(b, 'ls -A')).output).toBe('');
  await stop();
  for (const sessionId of sessions) await worker.forget(sessionId);
});

test('an agent with other limits, and a session that has files, get containers of their own', async () => {
  await using stage = openStage();
  const old = stage.newSession();
  const before = stage.worker();
  await run(await stage.open(before, old), 'echo kept > file');
  await before.removeAll();
  const { worker, stop } = await openReady(stage);
  const other = stage.newSession();
  await stage.open(worker, other, { memory_mb: 256 });
  expect((await run(await stage.open(worker, old), 'cat file')).output).toBe('kept\n');
  // A container that was kept ready bears no session's name.
  for (const sessionId of [old, other]) expect(await stage.container(sessionId)).toBeDefined();
  await stop();
  for (const sessionId of [old, other]) await worker.forget(sessionId);
});

test('what most of the latest sessions ask for is what is kept ready', async () => {
  await using stage = openStage();
  const { worker, stop } = await openReady(stage);
  const sessions = [stage.newSession(), stage.newSession()];
  const limits = { memory_mb: 128 };
  await stage.open(worker, sessions[0] ?? '', limits);
  await eventually(async () => {
    const ready = (await containersOf(stage)).filter((container) => container.Labels[labels.session] === undefined);
    expect(ready.map((container) => container.Labels[labels.memoryMb])).toEqual(['128']);
    expect(worker.readyCount).toBe(1);
  });
  await stage.open(worker, sessions[1] ?? '', limits);
  // A container that was kept ready bears no session's name.
  expect(await stage.container(sessions[1] ?? '')).toBeUndefined();
  await stop();
  for (const sessionId of sessions) await worker.forget(sessionId);
});

test('a session with the gateway has its way out from the first command on, in a container that was ready before', async () => {
  await using stage = openStage();
  const openGateway: OpenGateway = async (spec, socketPath) => {
    const server = createServer((socket) => socket.end(`gateway of ${spec.sessionId}`));
    const address = { path: socketPath, readableAll: true, writableAll: true };
    await new Promise<void>((resolve) => server.listen(address, resolve));
    return {
      update: () => undefined,
      [Symbol.asyncDispose]: async () => await new Promise((resolve) => server.close(() => resolve())),
    };
  };
  const { worker, stop } = await openReady(stage, {}, { openGateway });
  const sessions = [stage.newSession(), stage.newSession()];
  const limits = { network: 'gateway' } as const;
  await stage.open(worker, sessions[0] ?? '', limits);
  await eventually(async () => {
    const [ready] = (await containersOf(stage)).filter((each) => each.Labels[labels.session] === undefined);
    if (ready === undefined) throw new Error('none is ready');
    const { Config } = await stage.engine.getContainer(ready.Id).inspect();
    expect(Config.Env.join(' ')).toContain('HTTPS_PROXY');
    expect(worker.readyCount).toBe(1);
  });
  const sandbox = await stage.open(worker, sessions[1] ?? '', limits);
  // A container that was kept ready bears no session's name.
  expect(await stage.container(sessions[1] ?? '')).toBeUndefined();
  const say = `python3 -c 'import socket as s; k=s.create_connection(("127.0.0.1",3128)); print(k.recv(99).decode())'`;
  expect((await run(sandbox, say)).output).toBe(`gateway of ${sessions[1]}\n`);
  await stop();
  for (const sessionId of sessions) await worker.forget(sessionId);
});

test('a worker that stops leaves no ready container and no workspace of one', async () => {
  await using stage = openStage();
  const { stop } = await openReady(stage);
  await stop();
  expect(await containersOf(stage)).toEqual([]);
  await eventually(() => expect(readdirSync(stage.workspaceDirectory)).toEqual([]));
  expect(readdirSync(stage.socketDirectory)).toEqual([]);
});

test('a worker that dies leaves a ready container, and the next sweep takes it with its workspace', async () => {
  await using stage = openStage();
  const { instance, socketDirectory, workspaceDirectory } = stage;
  const options = {
    dockerHost: inject('dockerHost'),
    image: inject('sandboxImage'),
    instance,
    socketDirectory,
    workspaceDirectory,
  };
  const program = path.resolve(import.meta.dirname, '../support/ready-worker.main.ts');
  const child = spawn(process.execPath, [program, JSON.stringify(options)], { stdio: 'ignore' });
  const gone = new Promise((resolve) => child.once('exit', resolve));
  const isReady = async () => {
    const [container] = await containersOf(stage);
    const log =
      container === undefined ? '' : (await stage.engine.getContainer(container.Id).top()).Processes.join(' ');
    return log.includes('toolbox');
  };
  await eventually(async () => expect(await isReady()).toBe(true));
  child.kill('SIGKILL');
  await gone;
  await stage.worker().sweep();
  expect(await containersOf(stage)).toEqual([]);
  expect(readdirSync(stage.workspaceDirectory).filter((name) => name.endsWith('.img'))).toEqual([]);
});

test('a ready container makes room when a session needs it', async () => {
  await using stage = openStage();
  const { worker, stop } = await openReady(stage, { memoryMb: 600, overcommitPercent: 100, admitMs: 30_000 });
  const sessionId = stage.newSession();
  expect((await run(await stage.open(worker, sessionId, { memory_mb: 300 }), 'echo in')).output).toBe('in\n');
  await stop();
  await worker.forget(sessionId);
});
