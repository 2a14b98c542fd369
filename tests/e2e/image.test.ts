import { execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { z } from 'zod';
import { newToken } from '#core/kit/ids.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';
import { eventually } from '#tests/support/eventually.ts';
import { freePort } from '#tests/support/free-port.ts';

const root = path.resolve(import.meta.dirname, '../..');
const run = newToken(6)
  .toLowerCase()
  .replaceAll(/[^a-z0-9]/g, 'x');
const base = `switchyard-test-base:${run}`;
const image = `switchyard-test:${run}`;
const containers: string[] = [];
let database: TestDatabase;

function docker(...args: string[]): string {
  const env = { ...process.env, DOCKER_HOST: inject('dockerHost'), DOCKER_BUILDKIT: '0' };
  return execFileSync('docker', args, { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 2 ** 26 });
}

/**
 * Stands in for node:24-bookworm-slim where no registry can be reached: a Debian, this machine's Node, and the packages
 * of this checkout that are not for development.
 */
function buildBase(): void {
  const folder = mkdtempSync(path.join(tmpdir(), 'switchyard-image-'));
  try {
    const schema = z.looseObject({ packages: z.record(z.string(), z.looseObject({ dev: z.boolean().optional() })) });
    const installed = path.join(root, 'node_modules/.package-lock.json');
    const { packages } = schema.parse(JSON.parse(readFileSync(installed, 'utf8')));
    const app = path.join(folder, 'app');
    mkdirSync(path.join(app, 'node_modules'), { recursive: true });
    copyFileSync(installed, path.join(app, 'node_modules/.package-lock.json'));
    for (const [place, entry] of Object.entries(packages)) {
      // A package inside another's folder comes along with that one.
      if (entry.dev === true || place.lastIndexOf('node_modules/') !== 0) continue;
      cpSync(path.join(root, place), path.join(app, place), { recursive: true, verbatimSymlinks: true });
    }
    mkdirSync(path.join(folder, 'usr/local/bin'), { recursive: true });
    copyFileSync(process.execPath, path.join(folder, 'usr/local/bin/node'));
    writeFileSync(
      path.join(folder, 'Dockerfile'),
      `FROM ${inject('sandboxImage')}\nUSER root\nENTRYPOINT []\nCOPY . /\n`,
    );
    docker('build', '-q', '-t', base, folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Starts one process of the product the way docker-compose.yml does. */
function start(command: string, port: number): string {
  const id = docker(
    ...['run', '-d', '--network', 'host', '--init', '--read-only', '--cap-drop', 'ALL'],
    ...['--security-opt', 'no-new-privileges:true', '--tmpfs', '/tmp'],
    ...['--tmpfs', '/var/lib/switchyard:uid=10003,gid=10003,mode=0700'],
    ...['-e', `DATABASE_URL=${database.url}`, '-e', `REDIS_URL=${inject('redisUrl')}`],
    ...['-e', `SWITCHYARD_PORT=${port}`, '-e', 'SWITCHYARD_HOST=127.0.0.1', '-e', 'OPENAI_API_KEY='],
    ...[image, command],
  ).trim();
  containers.push(id);
  return id;
}

beforeAll(async () => {
  database = await openTestDatabase();
  buildBase();
  // Without a network: the base has brought every package, so nothing may be fetched.
  docker('build', '-q', '--network', 'none', '--build-arg', `BASE=${base}`, '-t', image, root);
}, 600_000);
afterAll(async () => {
  for (const id of containers) docker('rm', '-f', id);
  docker('rmi', '-f', image, base);
  await database[Symbol.asyncDispose]();
});

test('gateway and worker of the image answer a message, as an ordinary user on a read-only file system', async () => {
  const port = await freePort();
  const gateway = start('gateway', port);
  start('worker', port);
  await eventually(
    async () => {
      const response = await fetch(`http://127.0.0.1:${port}/readyz`);
      expect(await response.json()).toMatchObject({ status: 'ready' });
    },
    { timeout: 90_000, interval: 200 },
  );
  expect(docker('exec', gateway, 'id', '-u').trim()).toBe('10003');
  expect(docker('exec', gateway, 'switchyard', 'chat', '--message', 'hello')).toContain('demo');
  docker('stop', '-t', '60', gateway);
  expect(docker('inspect', '-f', '{{.State.ExitCode}}', gateway).trim()).toBe('0');
}, 300_000);

test('nothing of the developer is in the image', () => {
  const files = docker('run', '--rm', '--network', 'none', '--entrypoint', 'ls', image, '-A', '/app').split('\n');
  for (const name of ['.env', '.git', '.switchyard', 'tests', 'switchyard.yaml']) expect(files).not.toContain(name);
});
