import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Migration, type MigrationProvider, Migrator } from 'kysely/migration';
import type { Db } from './database.ts';

const folder = path.resolve(import.meta.dirname, '../../migrations');

/** Reads `migrations/NNNN_*.ts` in order of their numbers; Node runs them as they are. */
const provider: MigrationProvider = {
  async getMigrations() {
    const migrations: Record<string, Migration> = {};
    for (const file of (await readdir(folder)).filter((name) => /^\d{4}_.*\.ts$/.test(name)).sort()) {
      migrations[file.replace(/\.ts$/, '')] = (await import(pathToFileURL(path.join(folder, file)).href)) as Migration;
    }
    return migrations;
  },
};

/**
 * Brings the schema up to date. Kysely holds a lock while it runs, so several processes may start at once.
 * @returns the names of the migrations that were applied now.
 * @throws the first migration's own error; everything of that migration is rolled back.
 */
export async function migrateToLatest(db: Db): Promise<string[]> {
  const migrator = new Migrator({ db, provider });
  const { error, results } = await migrator.migrateToLatest();
  if (error !== undefined) throw error;
  return (results ?? []).map((result) => result.migrationName);
}
