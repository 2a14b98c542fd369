import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestProject } from 'vitest/node';
import { openEngine } from '#workers/sandbox/docker-engine.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** A `DOCKER_HOST` value that answers. */
    dockerHost: string;
    sandboxImage: string;
  }
}

const root = path.resolve(import.meta.dirname, '../..');
const engineMs = 120_000;

/**
 * Makes sure that a Docker engine answers and has the sandbox image. Uses the one that runs; otherwise starts one of its
 * own, with its own storage, and stops it at the end. Fails when neither works: these tests are never skipped.
 */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const configured = process.env['DOCKER_HOST'] ?? 'unix:///var/run/docker.sock';
  const own = (await answers(configured)) ? undefined : await sharedEngine(configured);
  const dockerHost = own?.dockerHost ?? configured;
  const stop = own?.stop ?? (async () => undefined);
  // The docker command line of the tests talks to the same engine.
  process.env['DOCKER_HOST'] = dockerHost;
  try {
    const build = spawnSync(path.join(root, 'sandbox-image/build'), {
      env: { ...process.env, DOCKER_HOST: dockerHost },
      encoding: 'utf8',
    });
    if (build.status !== 0) throw new Error(`The sandbox image could not be built.\n${build.stdout}${build.stderr}`);
  } catch (err) {
    await stop();
    throw err;
  }
  project.provide('dockerHost', dockerHost);
  project.provide('sandboxImage', 'switchyard-sandbox:latest');
  return stop;
}

async function answers(dockerHost: string): Promise<boolean> {
  try {
    await openEngine(dockerHost).ping();
    return true;
  } catch {
    return false;
  }
}

interface OwnEngine {
  readonly dockerHost: string;
  readonly stop: () => Promise<void>;
}

const engines = globalThis as { switchyardEngine?: Promise<OwnEngine>; switchyardEngineUsers?: number };

/** One engine for all projects of a run, whichever asks first; it stops with the last of them. */
async function sharedEngine(configured: string): Promise<OwnEngine> {
  engines.switchyardEngine ??= startEngine(configured);
  engines.switchyardEngineUsers = (engines.switchyardEngineUsers ?? 0) + 1;
  const { dockerHost, stop } = await engines.switchyardEngine;
  return {
    dockerHost,
    stop: async () => {
      engines.switchyardEngineUsers = (engines.switchyardEngineUsers ?? 1) - 1;
      if (engines.switchyardEngineUsers === 0) await stop();
    },
  };
}

async function startEngine(configured: string): Promise<OwnEngine> {
  const program = ['/usr/bin/dockerd', '/usr/sbin/dockerd', '/usr/local/bin/dockerd'].find((file) => existsSync(file));
  if (program === undefined || process.getuid?.() !== 0) {
    throw new Error(
      `No Docker engine answers at ${configured}, and this user cannot start one. Start Docker (Debian: apt-get install ` +
        'docker.io), or set DOCKER_HOST; the sandbox tests need a real engine.',
    );
  }
  // Short, because containerd's sockets lie below it.
  const folder = mkdtempSync(path.join(tmpdir(), 'syd-'));
  const storage = path.join(root, '.switchyard/docker');
  mkdirSync(storage, { recursive: true });
  const socket = path.join(folder, 'docker.sock');
  const logFile = path.join(folder, 'dockerd.log');
  const log = openSync(logFile, 'w');
  // Sandboxes have no network and builds use the host's, so the engine needs neither bridge nor firewall rules.
  const networkless = ['--bridge=none', '--iptables=false', '--ip6tables=false', '--ip-forward=false'];
  const engine = spawn(
    program,
    [
      '-H',
      `unix://${socket}`,
      '--data-root',
      storage,
      '--exec-root',
      path.join(folder, 'x'),
      '--pidfile',
      path.join(folder, 'pid'),
    ].concat(networkless),
    { stdio: ['ignore', log, log] },
  );
  const exited = new Promise<void>((resolve) => engine.once('exit', () => resolve()));
  const stop = async () => {
    engine.kill('SIGTERM');
    await exited;
    // The engine leaves its default network namespace mounted, deepest last in the list.
    const left = readFileSync('/proc/mounts', 'utf8')
      .split('\n')
      .map((line) => line.split(' ')[1] ?? '')
      .filter((place) => place.startsWith(`${folder}/`));
    for (const place of left.reverse()) spawnSync('umount', ['-l', place]);
    rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
  };
  const dockerHost = `unix://${socket}`;
  const deadline = performance.now() + engineMs;
  while (!(await answers(dockerHost))) {
    if (engine.exitCode !== null || performance.now() > deadline) {
      const said = readFileSync(logFile, 'utf8').split('\n').slice(-6).join('\n');
      await stop();
      throw new Error(`A Docker engine for the sandbox tests did not start:\n${said}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return { dockerHost, stop };
}
