import { pino } from 'pino';
import { inject } from 'vitest';
import { createPool, type Db, openDatabase } from '#core/kit/database.ts';
import { newToken } from '#core/kit/ids.ts';

/** A fresh, migrated database of this test file's own, cloned from the run's template. */
export interface TestDatabase extends AsyncDisposable {
  readonly url: string;
  readonly db: Db;
  /** Plain SQL for looking behind the stores. */
  query<Row = Record<string, unknown>>(text: string, values?: readonly unknown[]): Promise<Row[]>;
}

/**
 * Clones the template. The database is left behind: dropping it right after its pool ends is flaky (57P01), and the
 * whole server goes away with the run.
 */
export async function openTestDatabase(connectionsMax = 10): Promise<TestDatabase> {
  const log = pino({ level: 'silent' });
  const serverUrl = inject('postgresUrl');
  const name = `test_${newToken(9)
    .toLowerCase()
    .replaceAll(/[^a-z0-9]/g, '_')}`;
  const admin = createPool({ url: `${serverUrl}/postgres`, connectionsMax: 1, applicationName: 'tests', log });
  await admin.query(`create database ${name} template template_switchyard`);
  await admin.end();
  const url = `${serverUrl}/${name}`;
  const pool = createPool({ url, connectionsMax, applicationName: 'tests', log });
  const db = openDatabase(pool);
  return {
    url,
    db,
    query: async <Row>(text: string, values: readonly unknown[] = []) =>
      (await pool.query(text, [...values])).rows as Row[],
    [Symbol.asyncDispose]: async () => {
      await db.destroy();
    },
  };
}
