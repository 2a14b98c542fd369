import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { AppError } from '#core/kit/errors.ts';
import type { PostgresBinaries } from './postgres-binaries.ts';

const run = promisify(execFile);

/** Creates the cluster in `dataDir` unless it is there. Its one user is `switchyard`, with `password`. */
export async function initCluster(
  binaries: PostgresBinaries,
  options: { readonly dataDir: string; readonly password: string },
): Promise<void> {
  if (existsSync(path.join(options.dataDir, 'PG_VERSION'))) return;
  mkdirSync(options.dataDir, { recursive: true, mode: 0o700 });
  if (binaries.runAs !== undefined) chownSync(options.dataDir, binaries.runAs.uid, binaries.runAs.gid);
  // A file and not standard input: Node hands a socket to its children, which initdb cannot open by name.
  const folder = mkdtempSync(path.join(tmpdir(), 'switchyard-initdb-'));
  const passwordFile = path.join(folder, 'password');
  try {
    writeFileSync(passwordFile, `${options.password}\n`, { mode: 0o600 });
    if (binaries.runAs !== undefined) {
      chownSync(folder, binaries.runAs.uid, binaries.runAs.gid);
      chownSync(passwordFile, binaries.runAs.uid, binaries.runAs.gid);
    }
    const args = ['--pgdata', options.dataDir, '--username=switchyard', '--auth=scram-sha-256', '--encoding=UTF8'];
    await run(binaries.initdb, [...args, '--locale=C.UTF-8', `--pwfile=${passwordFile}`], {
      ...binaries.runAs,
      cwd: '/',
      env: { LC_ALL: 'C.UTF-8', PATH: '/usr/bin:/bin' },
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A running server. `closed` resolves with its exit code or signal. */
export interface PostgresServer {
  readonly process: ChildProcess;
  readonly port: number;
  readonly closed: Promise<string>;
}

/**
 * Starts the server and resolves when it accepts connections.
 * @throws AppError `database.unavailable` with the server's last words when it ends instead.
 */
export async function startServer(
  binaries: PostgresBinaries,
  options: {
    readonly dataDir: string;
    readonly port: number;
    /** `name=value` server settings. */
    readonly settings: readonly string[];
    /** Keep the server when this process dies, so that the next one can take it over. */
    readonly detached: boolean;
  },
): Promise<PostgresServer> {
  const flags = ['-D', options.dataDir, '-p', String(options.port), '-c', 'listen_addresses=127.0.0.1'];
  for (const setting of ['unix_socket_directories=', ...options.settings]) flags.push('-c', setting);
  const child = spawn(binaries.postgres, flags, {
    ...binaries.runAs,
    cwd: '/',
    env: { LC_ALL: 'C.UTF-8', PATH: '/usr/bin:/bin' },
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: options.detached,
  });
  let words = '';
  const closed = new Promise<string>((resolve) => {
    child.once('error', (err) => resolve(err.message));
    child.once('exit', (code, signal) => resolve(signal ?? `exit ${code}`));
  });
  const ready = new Promise<void>((resolve) => {
    child.stderr?.on('data', (chunk: Buffer) => {
      words = (words + chunk.toString()).slice(-4000);
      if (words.includes('ready to accept connections')) resolve();
    });
  });
  const end = await Promise.race([ready, closed]);
  if (end !== undefined) {
    throw new AppError('database.unavailable', `Embedded Postgres did not start (${end}): ${words.trim().slice(-500)}`);
  }
  return { process: child, port: options.port, closed };
}
