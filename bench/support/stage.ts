import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import pg from 'pg';
import { findPostgresBinaries } from '#app/embedded-postgres/postgres-binaries.ts';
import { initCluster, startServer } from '#app/embedded-postgres/postgres-process.ts';
import { freePort } from '../../tests/support/free-port.ts';

const root = path.resolve(import.meta.dirname, '../..');

/** A child process and the first line of its output that matched. */
export interface Started {
  readonly child: ChildProcess;
  readonly line: string;
  readonly tookMs: number;
}

/** Starts a program and resolves at the first output line that matches. */
async function startProgram(
  file: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  ready: RegExp,
): Promise<Started> {
  const startedAt = performance.now();
  const child = spawn(file, args, {
    cwd: root,
    env: { PATH: process.env['PATH'] ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let tail = '';
  return await new Promise((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        tail = `${tail}${line}\n`.slice(-3000);
        if (ready.test(line)) resolve({ child, line, tookMs: performance.now() - startedAt });
      });
    }
    child.once('exit', (code) => reject(new Error(`${file} ${args.join(' ')} ended with ${code}:\n${tail}`)));
  });
}

/** A folder, a Postgres with durable commits, and children that are ended together. */
export class Stage implements AsyncDisposable {
  readonly folder: string;
  readonly #children: ChildProcess[] = [];

  constructor() {
    this.folder = mkdtempSync(path.join(tmpdir(), 'sw-bench-'));
    chmodSync(this.folder, 0o755);
  }

  /** Postgres as an operator would run it: fsync and synchronous commit on. */
  async startPostgres(): Promise<string> {
    const binaries = findPostgresBinaries();
    const dataDir = path.join(this.folder, 'postgres');
    await initCluster(binaries, { dataDir, password: 'bench' });
    const port = await freePort();
    const server = await startServer(binaries, {
      dataDir,
      port,
      settings: ['max_connections=100', 'shared_buffers=128MB'],
      detached: false,
    });
    this.#children.push(server.process);
    const url = `postgres://switchyard:bench@127.0.0.1:${port}`;
    const client = new pg.Client({ connectionString: `${url}/postgres` });
    await client.connect();
    await client.query('create database switchyard');
    await client.end();
    return `${url}/switchyard`;
  }

  async startRedis(): Promise<string> {
    const port = await freePort();
    const args = ['--port', String(port), '--bind', '127.0.0.1', '--dir', this.folder, '--appendonly', 'yes'];
    const { child } = await startProgram('redis-server', [...args, '--save', ''], {}, /Ready to accept connections/);
    this.#children.push(child);
    return `redis://127.0.0.1:${port}`;
  }

  /** Starts a TypeScript program of this checkout. */
  async startNode(
    file: string,
    args: readonly string[],
    env: Readonly<Record<string, string>>,
    ready: RegExp,
  ): Promise<Started> {
    const started = await startProgram(process.execPath, [path.join(root, file), ...args], env, ready);
    this.#children.push(started.child);
    return started;
  }

  /** Ends one child and waits for it. */
  async stop(child: ChildProcess, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children.reverse()) await this.stop(child, 'SIGTERM');
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** The value below which `share` of the sorted values lie. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** Two decimals are more than these figures hold. */
export function round(value: number): number {
  return Math.round(value * 100) / 100;
}
