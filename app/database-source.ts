import { createPool, type Db, openDatabase } from '#core/kit/database.ts';
import { AppError } from '#core/kit/errors.ts';
import type { Log } from '#core/kit/log.ts';
import { migrateToLatest } from '#core/kit/migrate.ts';
import type { Config } from './config.ts';
import { findSupervisedUrl } from './embedded-postgres/running-server.ts';
import { openEmbeddedPostgres } from './embedded-postgres/supervisor.ts';

/** Where the database is, and whether this process runs it. Disposing stops only what this process started. */
export interface DatabaseSource extends AsyncDisposable {
  readonly url: string;
  readonly kind: 'external' | 'embedded' | 'supervised by another process';
}

/**
 * `DATABASE_URL` if it is set, else the embedded database, supervised by this process.
 * @throws AppError `config.invalid` when another process supervises the data directory.
 */
export async function openDatabaseSource(
  config: Pick<Config, 'databaseUrl' | 'dataDir'>,
  log: Log,
): Promise<DatabaseSource> {
  if (config.databaseUrl !== undefined) {
    return { url: config.databaseUrl, kind: 'external', [Symbol.asyncDispose]: async () => undefined };
  }
  const embedded = await openEmbeddedPostgres({ dataDir: config.dataDir, log });
  return { url: embedded.url, kind: 'embedded', [Symbol.asyncDispose]: () => embedded[Symbol.asyncDispose]() };
}

/** The same for a command that only looks: beside a running `up` it uses that one's server. */
export async function joinDatabaseSource(
  config: Pick<Config, 'databaseUrl' | 'dataDir'>,
  log: Log,
): Promise<DatabaseSource> {
  if (config.databaseUrl === undefined) {
    const running = await findSupervisedUrl(config.dataDir);
    if (running !== undefined) {
      const kind = 'supervised by another process';
      return { url: running.url, kind, [Symbol.asyncDispose]: async () => undefined };
    }
  }
  return await openDatabaseSource(config, log);
}

/**
 * Opens a pool on a source and brings the schema up to date.
 * @throws AppError `database.unavailable` when the server cannot be reached.
 */
export async function openMigrated(
  source: Pick<DatabaseSource, 'url' | 'kind'>,
  options: { readonly connectionsMax: number; readonly applicationName: string; readonly log: Log },
): Promise<{ readonly db: Db; readonly applied: readonly string[] } & AsyncDisposable> {
  const pool = createPool({ url: source.url, ...options });
  const db = openDatabase(pool);
  try {
    // Asked first, so that an unreachable server and a broken migration are told apart.
    await pool.query('select 1');
  } catch (cause) {
    await db.destroy();
    const { host } = new URL(source.url);
    throw new AppError('database.unavailable', `Postgres at ${host} cannot be used: ${reasonOf(cause)}`, {
      mend: 'Start it, or correct DATABASE_URL (host, user, password, name).',
      cause,
    });
  }
  try {
    const applied = await migrateToLatest(db);
    return { db, applied, [Symbol.asyncDispose]: async () => await db.destroy() };
  } catch (err) {
    await db.destroy();
    throw err;
  }
}

/** A refused connection to a name with several addresses has an empty message and its reasons inside. */
export function reasonOf(err: unknown): string {
  if (err instanceof AggregateError) return err.errors.map(reasonOf).join(', ');
  return err instanceof Error ? err.message : String(err);
}
