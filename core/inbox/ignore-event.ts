import { coalesce } from '../kit/coalesce.ts';
import type { Db } from '../kit/database.ts';
import { markIgnored } from './inbox-store.ts';

/** By connection pool: what is ignored at the same time is recorded in one statement. */
const ignorers = new WeakMap<Db, (id: string) => Promise<void>>();

/** Ends an event that is not for us. Busy groups have thousands of them for each that is; they share their commits. */
export async function ignoreEvent(db: Db, id: string): Promise<void> {
  let ignore = ignorers.get(db);
  if (ignore === undefined) {
    ignore = coalesce<string, void>(
      async (ids) => {
        await markIgnored(db, ids);
        return ids.map(() => undefined);
      },
      { batchMax: 500 },
    );
    ignorers.set(db, ignore);
  }
  await ignore(id);
}
