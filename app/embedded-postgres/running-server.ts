import { readFileSync } from 'node:fs';
import path from 'node:path';
import { pino } from 'pino';
import { createPool } from '#core/kit/database.ts';
import type { Log } from '#core/kit/log.ts';
import { type ClusterPlace, findClusterPlace, readPassword } from './cluster-place.ts';
import { processIdentity } from './process-identity.ts';
import { readLockOwner } from './supervisor-lock.ts';

/** A live server on a cluster, whoever started it. */
export interface RunningServer {
  readonly pid: number;
  readonly port: number;
}

export const databaseName = 'switchyard';

/** The URL of one database of the embedded server. */
export function embeddedUrl(port: number, password: string, database: string = databaseName): string {
  return `postgres://switchyard:${encodeURIComponent(password)}@127.0.0.1:${port}/${database}`;
}

/**
 * The server that runs on this cluster and answers with our password; undefined when none does. A process that merely
 * inherited the number in postmaster.pid does not answer for this directory, so it is never mistaken for the server.
 */
export async function findRunningServer(place: ClusterPlace, password: string): Promise<RunningServer | undefined> {
  const found = readPostmasterFile(place.cluster);
  if (found === undefined || processIdentity(found.pid) === undefined) return undefined;
  const pool = createPool({
    url: embeddedUrl(found.port, password, 'postgres'),
    connectionsMax: 1,
    applicationName: 'switchyard-probe',
    log: silent(),
  });
  try {
    const { rows } = await pool.query<{ folder: string }>("select current_setting('data_directory') as folder");
    return rows[0]?.folder === place.cluster ? found : undefined;
  } catch {
    return undefined;
  } finally {
    await pool.end();
  }
}

/** Line 1 of postmaster.pid is the server's process id, line 4 its port. */
export function readPostmasterFile(cluster: string): RunningServer | undefined {
  try {
    const lines = readFileSync(path.join(cluster, 'postmaster.pid'), 'utf8').split('\n');
    const pid = Number(lines[0]);
    const port = Number(lines[3]);
    return pid > 0 && port > 0 ? { pid, port } : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The URL of the embedded database while another process (`up`) supervises it, for commands that only look; undefined
 * when none does.
 */
export async function findSupervisedUrl(
  dataDir: string,
): Promise<{ readonly url: string; readonly pid: number } | undefined> {
  const place = findClusterPlace(dataDir);
  const owner = readLockOwner(place.lockFile);
  if (!owner.isAlive) return undefined;
  const password = readPassword(place);
  const server = await findRunningServer(place, password);
  return server === undefined ? undefined : { url: embeddedUrl(server.port, password), pid: owner.pid };
}

/** Probing asks whether something answers; that it does not is an answer and no event. */
function silent(): Log {
  return pino({ level: 'silent' });
}
