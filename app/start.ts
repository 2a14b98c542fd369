import { once } from 'node:events';
import type { ProcessMode } from '#cli/cli-deps.ts';
import type { Log } from '#core/kit/log.ts';
import type { Config } from './config.ts';
import { openDatabaseSource, openMigrated } from './database-source.ts';

/** Runs the parts of one process until the signal aborts, then stops them in reverse order. */
export async function start(config: Config, mode: ProcessMode, log: Log, signal: AbortSignal): Promise<void> {
  for (const { name, asked, used } of config.limitClamps) log.warn({ name, asked, used }, 'limit out of bounds');
  await using source = await openDatabaseSource(config, log);
  const connectionsMax = config.limits.databaseConnectionsMax;
  await using database = await openMigrated(source, { connectionsMax, applicationName: `switchyard-${mode}`, log });
  log.info({ mode, database: source.kind, migrations: database.applied.length }, 'ready');
  if (!signal.aborted) await once(signal, 'abort');
  log.info({ mode }, 'stopping');
}
