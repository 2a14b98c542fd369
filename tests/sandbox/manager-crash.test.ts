import { spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { openPlaces } from '#core/sandboxes/open-places.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';
import { eventually } from '#tests/support/eventually.ts';
import { openSandboxStage, run, type SandboxStage } from '#tests/support/sandbox-stage.ts';
import { labels } from '#workers/sandbox/container-spec.ts';

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

/** Runs a worker process, and kills it so many milliseconds after it made its first folder. */
async function killedAfter(ms: number, sessions: readonly string[]): Promise<readonly string[]> {
  const { instance, socketDirectory, workspaceDirectory } = stage;
  const options = { instance, socketDirectory, workspaceDirectory, databaseUrl: database.url, sessions };
  const where = { dockerHost: inject('dockerHost'), image: inject('sandboxImage') };
  const program = path.resolve(import.meta.dirname, '../support/opening-worker.main.ts');
  const child = spawn(process.execPath, [program, JSON.stringify({ ...options, ...where })], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const before = new Set(readdirSync(socketDirectory));
  const written: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => written.push(line));
  const gone = new Promise((resolve) => child.once('exit', resolve));
  const isNew = () => readdirSync(socketDirectory).some((name) => !before.has(name));
  await eventually(() => expect(isNew()).toBe(true), { interval: 5 });
  await new Promise((resolve) => setTimeout(resolve, ms));
  child.kill('SIGKILL');
  await gone;
  return written;
}

const devices = () => {
  const { stdout } = spawnSync('losetup', ['-n', '-O', 'BACK-FILE', '-a'], { encoding: 'utf8' });
  return stdout.split('\n').filter((line) => line.includes(stage.workspaceDirectory));
};

// The moments are spread over the start of containers; which step they hit differs from run to run.
test.each([0, 40, 90, 150, 220, 320, 450, 700])(
  'a worker killed %i ms into its work leaves nothing that sweeps do not clear, and no file is lost',
  async (ms) => {
    const sessions = Array.from({ length: 6 }, () => stage.newSession());
    const written = await killedAfter(ms, sessions);
    const heir = stage.worker();
    // More than one sweep: a mount(8) or a request to the engine that was on its way goes on without its worker.
    await eventually(async () => {
      await heir.sweep({ isThorough: true });
      const filters = { label: [`${labels.instance}=${stage.instance}`] };
      expect(await stage.engine.listContainers({ all: true, filters })).toEqual([]);
      expect(readFileSync('/proc/self/mountinfo', 'utf8').includes(stage.workspaceDirectory)).toBe(false);
      expect(readdirSync(stage.workspaceDirectory).filter((name) => !name.endsWith('.img'))).toEqual([]);
      expect(devices()).toEqual([]);
    });
    for (const sessionId of written) {
      const sandbox = await stage.open(heir, sessionId, { disk_mb: 32 });
      expect((await run(sandbox, 'cat file')).output).toBe(`${sessionId}\n`);
    }
    for (const sessionId of sessions) await heir.forget(sessionId);
    await heir[Symbol.asyncDispose]();
  },
  120_000,
);

test('twenty sessions opened at once get twenty containers, each with a disk of its own', async () => {
  const worker = stage.worker();
  const sessions = Array.from({ length: 20 }, () => stage.newSession());
  const limits = { memory_mb: 64, disk_mb: 16 };
  const sandboxes = await Promise.all(sessions.map(async (id) => await stage.open(worker, id, limits)));
  await Promise.all(sandboxes.map(async (sandbox, at) => await run(sandbox, `echo ${at} > file`)));
  const seen = await Promise.all(sandboxes.map(async (sandbox) => (await run(sandbox, 'cat file; ls -A')).output));
  expect(seen).toEqual(sessions.map((_, at) => `${at}\nfile\n`));
  expect(new Set(devices()).size).toBe(20);
  for (const sessionId of sessions) await worker.forget(sessionId);
  await eventually(() => expect(devices()).toEqual([]));
}, 120_000);
