import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { findClusterPlace } from '#app/embedded-postgres/cluster-place.ts';
import { processIdentity } from '#app/embedded-postgres/process-identity.ts';
import { readPostmasterFile } from '#app/embedded-postgres/running-server.ts';
import { eventually } from '#tests/support/eventually.ts';
import { freePort } from '#tests/support/free-port.ts';

const launcher = path.resolve(import.meta.dirname, '../../../switchyard');
/** A start makes a database cluster and migrates it, on a machine that may be busy with other tests. */
const startMs = 120_000;
vi.setConfig({ testTimeout: 3 * startMs });
let folder = '';
const running: ChildProcess[] = [];

beforeAll(() => {
  folder = mkdtempSync('/tmp/switchyard-up-');
  chmodSync(folder, 0o755);
  mkdirSync(path.join(folder, 'home'));
});
afterEach(async () => {
  for (const child of running.splice(0)) {
    child.kill('SIGTERM');
    await eventually(() => expect(child.exitCode ?? child.signalCode).not.toBeNull(), { timeout: 60_000 });
  }
});
afterAll(() => {
  const server = readPostmasterFile(findClusterPlace(path.join(folder, 'data')).cluster);
  if (server !== undefined && processIdentity(server.pid) !== undefined) process.kill(server.pid, 'SIGKILL');
  // Of a server that was killed the last processes may still be writing.
  rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
});

interface Up {
  readonly child: ChildProcess;
  readonly url: string;
  text(): string;
  exitCode(): Promise<number | null>;
}

/** `./switchyard up` as a newcomer runs it: an empty home, no settings but where to put things. */
async function up(port?: number): Promise<Up> {
  const chosen = port ?? (await freePort());
  const child = spawn(launcher, ['up'], {
    cwd: '/',
    env: {
      PATH: process.env['PATH'],
      HOME: path.join(folder, 'home'),
      SWITCHYARD_DATA_DIR: path.join(folder, 'data'),
      SWITCHYARD_PORT: String(chosen),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.push(child);
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()));
  const closed = new Promise<number | null>((resolve) => child.once('close', resolve));
  return { child, url: `http://127.0.0.1:${chosen}`, text: () => text, exitCode: async () => await closed };
}

async function ready(process: Up): Promise<void> {
  await eventually(() => expect(process.text()).toContain('Switchyard is running'), { timeout: startMs, interval: 20 });
  await answers(process);
}

/** Every check of its readiness has two seconds: on a busy machine one of them may miss that once. */
async function answers({ url }: Up): Promise<void> {
  await eventually(async () => expect((await fetch(`${url}/readyz`)).status).toBe(200));
}

test('up on an empty machine gets ready, tells what to do next, and stops cleanly', async () => {
  const first = await up();
  await ready(first);
  expect(first.text()).toMatch(/\.\/switchyard chat[\s\S]*\/queues[\s\S]*demo/);
  first.child.kill('SIGINT');
  expect(await first.exitCode()).toBe(0);
  expect(readPostmasterFile(findClusterPlace(path.join(folder, 'data')).cluster)).toBeUndefined();
});

test('a second up on the same data is refused, and the first goes on', async () => {
  const first = await up();
  await ready(first);
  const second = await up();
  expect(await second.exitCode()).toBe(1);
  expect(second.text()).toContain(`in use by another switchyard, process ${first.child.pid}`);
  await answers(first);
});

test('up on a port that is taken says so and leaves no database behind', async () => {
  const squatter = createServer((_request, response) => response.end('mine'));
  await new Promise<void>((resolve) => squatter.listen(0, '127.0.0.1', resolve));
  const { port } = squatter.address() as AddressInfo;
  const refused = await up(port);
  expect(await refused.exitCode()).toBe(1);
  expect(refused.text()).toMatch(new RegExp(`${port}[\\s\\S]*SWITCHYARD_PORT`));
  expect(readPostmasterFile(findClusterPlace(path.join(folder, 'data')).cluster)).toBeUndefined();
  squatter.closeAllConnections();
  await new Promise((resolve) => squatter.close(resolve));
});

test('after kill -9 the next up takes the database over', async () => {
  const first = await up();
  await ready(first);
  const { cluster } = findClusterPlace(path.join(folder, 'data'));
  const before = readPostmasterFile(cluster)?.pid;
  first.child.kill('SIGKILL');
  await first.exitCode();
  const second = await up();
  await ready(second);
  expect(readPostmasterFile(cluster)?.pid).toBe(before);
  expect(readFileSync(path.join(folder, 'data/supervisor.lock'), 'utf8')).toMatch(new RegExp(`^${second.child.pid} `));
});
