import { accessSync, constants } from 'node:fs';
import { pino } from 'pino';
import type { Finding } from '#cli/finding.ts';
import { createPool } from '#core/kit/database.ts';
import { toAppError } from '#core/kit/errors.ts';
import type { Config } from '../config.ts';
import { reasonOf } from '../database-source.ts';
import { findPostgresBinaries } from '../embedded-postgres/postgres-binaries.ts';
import { findSupervisedUrl } from '../embedded-postgres/running-server.ts';

const connectMs = 5_000;
const versionLow = 15;

/** Whether the database is there or, for the embedded one, could be started here. Starts nothing. */
export async function checkDatabase(config: Config): Promise<Finding> {
  const name = 'Postgres';
  if (config.databaseUrl !== undefined) {
    try {
      const version = await readVersion(config.databaseUrl);
      if (Number.parseInt(version, 10) < versionLow) {
        const mend = `Point DATABASE_URL at Postgres ${versionLow} or newer.`;
        return { name, status: 'broken', detail: `version ${version} is too old`, mend };
      }
      return { name, status: 'ok', detail: `${version} at ${new URL(config.databaseUrl).host}` };
    } catch (err) {
      const detail = `${new URL(config.databaseUrl).host} cannot be used: ${reasonOf(err)}`;
      return {
        name,
        status: 'broken',
        detail,
        mend: 'Start it, or correct DATABASE_URL (host, user, password, name).',
      };
    }
  }
  try {
    const running = await findSupervisedUrl(config.dataDir);
    if (running !== undefined) {
      const version = await readVersion(running.url);
      return { name, status: 'ok', detail: `${version}, embedded, run by process ${running.pid}` };
    }
    const binaries = findPostgresBinaries();
    accessSync(binaries.postgres, constants.X_OK);
    return { name, status: 'ok', detail: `embedded ${binaries.version.replace(/-.*/, '')}, starts with up` };
  } catch (err) {
    const { message, mend } = toAppError(err);
    return { name, status: 'broken', detail: message, mend: mend ?? 'Set DATABASE_URL to a Postgres of your own.' };
  }
}

async function readVersion(url: string): Promise<string> {
  const pool = createPool({
    url,
    connectionsMax: 1,
    applicationName: 'switchyard-doctor',
    log: pino({ level: 'silent' }),
  });
  pool.options.connectionTimeoutMillis = connectMs;
  try {
    const { rows } = await pool.query<{ version: string }>("select current_setting('server_version') as version");
    return (rows[0]?.version ?? '').replace(/ .*/, '');
  } finally {
    await pool.end();
  }
}
