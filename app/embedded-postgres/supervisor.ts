import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { createPool } from '#core/kit/database.ts';
import { AppError, isAppError } from '#core/kit/errors.ts';
import type { Log } from '#core/kit/log.ts';
import { type ClusterPlace, findClusterPlace, prepareCluster } from './cluster-place.ts';
import type { PostgresBinaries } from './postgres-binaries.ts';
import { startServer } from './postgres-process.ts';
import { processIdentity } from './process-identity.ts';
import { databaseName, embeddedUrl, findRunningServer } from './running-server.ts';
import { type SupervisorLock, takeSupervisorLock } from './supervisor-lock.ts';

/** The embedded database while this process supervises it; disposing stops the server. */
export interface EmbeddedPostgres extends AsyncDisposable {
  readonly url: string;
  /** A server that outlived its supervisor was taken over instead of a new one being started. */
  readonly isReused: boolean;
  readonly pid: number;
}

/** For one machine and a few hundred chats: 64 MB of cache, no replication, no helper processes that sit idle. */
const settings = [
  'shared_buffers=64MB',
  'max_connections=60',
  'work_mem=4MB',
  'maintenance_work_mem=64MB',
  'wal_level=minimal',
  'max_wal_senders=0',
  'max_wal_size=512MB',
  'max_logical_replication_workers=0',
  'autovacuum_max_workers=2',
  'io_method=sync',
  'jit=off',
  'log_checkpoints=off',
];

/** Remembered ports stay below the range the kernel gives to outgoing connections, so they are rarely taken. */
const portRange = { low: 20_000, high: 29_999 };
const startTriesMax = 12;
const backOffMaxMs = 5_000;
/** A fast shutdown writes a checkpoint; past this it is cut short and the next start recovers from the log. */
const shutdownMs = 10_000;

/**
 * Opens the embedded database of `dataDir`: takes the directory for this process, takes over a live server or starts
 * one, and starts it again when it dies. The URL stays the same for as long as this process runs.
 * @throws AppError `config.invalid` when another process holds the directory; `database.unavailable` when the server
 * does not start.
 */
export async function openEmbeddedPostgres(options: {
  readonly dataDir: string;
  readonly log: Log;
}): Promise<EmbeddedPostgres> {
  const place = findClusterPlace(options.dataDir);
  const lock = takeSupervisorLock(place.lockFile, options.dataDir);
  try {
    const { binaries, password } = await prepareCluster(place);
    const supervisor = new Supervisor({ place, lock, binaries, password, log: options.log });
    await supervisor.open();
    return supervisor;
  } catch (err) {
    lock.release();
    throw err;
  }
}

interface SupervisorParts {
  readonly place: ClusterPlace;
  readonly lock: SupervisorLock;
  readonly binaries: PostgresBinaries;
  readonly password: string;
  readonly log: Log;
}

/** Resolves with the reason when the server has ended. In an object, because returning a bare promise awaits it. */
interface Ending {
  readonly closed: Promise<string>;
}

class Supervisor implements EmbeddedPostgres {
  readonly #parts: SupervisorParts;
  readonly #stop = new AbortController();
  #pid = 0;
  #port = 0;
  #isReused = false;
  #watching: Promise<void> = Promise.resolve();

  constructor(parts: SupervisorParts) {
    this.#parts = parts;
  }

  get url(): string {
    return embeddedUrl(this.#port, this.#parts.password);
  }

  get isReused(): boolean {
    return this.#isReused;
  }

  get pid(): number {
    return this.#pid;
  }

  async open(): Promise<void> {
    const { place, password, log } = this.#parts;
    const orphan = await findRunningServer(place, password);
    const server = orphan === undefined ? await this.#start() : this.#adopt(orphan);
    this.#isReused = orphan !== undefined;
    writeFileSync(place.portFile, String(this.#port), { mode: 0o600 });
    await this.#ensureDatabase();
    log.info({ serverPid: this.#pid, port: this.#port, isReused: this.#isReused }, 'embedded database is ready');
    this.#watching = this.#watch(server);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    stopProcess(this.#pid, 'SIGINT');
    const deadline = AbortSignal.timeout(shutdownMs);
    deadline.addEventListener('abort', () => stopProcess(this.#pid, 'SIGQUIT'), { once: true });
    await this.#watching;
    this.#parts.lock.release();
  }

  /** Starts a server on the remembered or another free port; later starts keep the port, which the URL promised. */
  async #start(): Promise<Ending> {
    const { place, binaries, log } = this.#parts;
    for (let tries = 1; ; tries += 1) {
      const port = this.#port === 0 ? await choosePort(place) : this.#port;
      try {
        const server = await startServer(binaries, { dataDir: place.cluster, port, settings, detached: true });
        this.#pid = server.process.pid ?? 0;
        this.#port = port;
        return { closed: server.closed };
      } catch (err) {
        // Two ways to fail that pass: backends of a killed server still hold its memory for a moment, and a port that
        // was free when we looked.
        const canPass = isAppError(err) && /pre-existing shared memory|could not bind|in use/i.test(err.message);
        if (!canPass || tries >= startTriesMax) throw err;
        log.debug({ err, tries }, 'embedded database did not start yet');
        await delay(Math.min(50 * 2 ** tries, 1_000));
      }
    }
  }

  /** A server we did not start is no child of ours, so its end is seen by looking. */
  #adopt(server: { readonly pid: number; readonly port: number }): Ending {
    this.#pid = server.pid;
    this.#port = server.port;
    const identity = processIdentity(server.pid);
    const wait = async (): Promise<string> => {
      while (processIdentity(server.pid) === identity) await delay(100);
      return 'gone';
    };
    return { closed: wait() };
  }

  async #ensureDatabase(): Promise<void> {
    const { password, log } = this.#parts;
    const url = embeddedUrl(this.#port, password, 'postgres');
    const pool = createPool({ url, connectionsMax: 1, applicationName: 'switchyard-supervisor', log });
    try {
      const { rowCount } = await pool.query('select 1 from pg_database where datname = $1', [databaseName]);
      if (rowCount === 0) await pool.query(`create database ${databaseName}`);
    } catch (cause) {
      throw new AppError('database.unavailable', 'The embedded database started but cannot be used.', {
        mend: 'Run ./switchyard doctor; if the password file was replaced, restore it from your backup.',
        cause,
      });
    } finally {
      await pool.end();
    }
  }

  /** Restarts the server whenever it ends, with growing pauses, until this process stops it. */
  async #watch(first: Ending): Promise<void> {
    const { log } = this.#parts;
    let server = first;
    while (true) {
      const end = await server.closed;
      if (this.#stop.signal.aborted) return;
      log.error({ end }, 'embedded database ended; starting it again');
      for (let pauseMs = 100; ; pauseMs = Math.min(pauseMs * 2, backOffMaxMs)) {
        try {
          server = await this.#start();
          break;
        } catch (err) {
          log.error({ err, pauseMs }, 'embedded database could not be started again');
        }
        try {
          await delay(pauseMs, undefined, { signal: this.#stop.signal });
        } catch {
          return;
        }
      }
      log.info({ serverPid: this.#pid }, 'embedded database is back');
      // The stop may have come while the server was starting: it was then sent to the old process.
      if (this.#stop.signal.aborted) stopProcess(this.#pid, 'SIGINT');
    }
  }
}

async function choosePort(place: ClusterPlace): Promise<number> {
  let remembered = 0;
  try {
    remembered = Number(readFileSync(place.portFile, 'utf8'));
  } catch {
    // The first start has none.
  }
  for (let tries = 0; tries < 100; tries += 1) {
    const { low, high } = portRange;
    const port = tries === 0 && remembered > 0 ? remembered : low + Math.floor(Math.random() * (high - low + 1));
    if (await isFree(port)) return port;
  }
  throw new AppError('database.unavailable', `No free port between ${portRange.low} and ${portRange.high}.`, {
    mend: 'Set DATABASE_URL to a Postgres of your own.',
  });
}

async function isFree(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

function stopProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    if (pid > 0) process.kill(pid, signal);
  } catch {
    // It ended by itself meanwhile.
  }
}
