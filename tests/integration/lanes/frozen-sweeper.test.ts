import { sql } from 'kysely';
import { expect, it } from 'vitest';
import { inspectLanes } from '#core/lanes/sweep-lanes.ts';
import { tryBecomeSweeper } from '#core/lanes/worker-store.ts';
import { openTestDatabase } from '#tests/support/database.ts';
import { eventually } from '#tests/support/eventually.ts';

it('a process that freezes in the middle of its sweep keeps nobody else from sweeping', async () => {
  await using database = await openTestDatabase();
  const woken = Promise.withResolvers<void>();
  const sweeping = Promise.withResolvers<boolean>();
  let isFrozen = false;
  const frozen = database.db.transaction().execute(async (tx) => {
    sweeping.resolve(await tryBecomeSweeper(tx));
    while (!isFrozen) await sql`select pg_sleep(0.01)`.execute(tx);
    await woken.promise;
  });
  expect(await sweeping.promise).toBe(true);
  expect(await inspectLanes(database.db)).toBeUndefined();
  isFrozen = true;
  await eventually(async () => expect(await inspectLanes(database.db)).toBeDefined());
  woken.resolve();
  await expect(frozen).rejects.toThrow();
});
