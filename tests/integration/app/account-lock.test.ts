import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { whileHoldingAccount } from '#app/compose/account-lock.ts';
import { systemClock } from '#core/kit/clock.ts';
import { eventually } from '#tests/support/eventually.ts';
import { openTestDatabase, type TestDatabase } from '../../support/database.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
});

/** A gateway that notes when it is connected and stays so until it has to let go. */
function gateway(account: string) {
  const stop = new AbortController();
  let isConnected = false;
  const deps = { databaseUrl: database.url, clock: systemClock, log: pino({ level: 'silent' }) };
  const done = whileHoldingAccount(deps, account, stop.signal, async (signal) => {
    isConnected = true;
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    isConnected = false;
  });
  return {
    get isConnected() {
      return isConnected;
    },
    stop: async () => {
      stop.abort();
      await done;
    },
  };
}

test('of two gateways one holds the account, and the other takes over when it stops', async () => {
  const first = gateway('telegram 1');
  await eventually(() => expect(first.isConnected).toBe(true));
  const second = gateway('telegram 1');
  const other = gateway('telegram 2');
  await eventually(() => expect(other.isConnected).toBe(true));
  expect(second.isConnected).toBe(false);
  await first.stop();
  await eventually(() => expect(second.isConnected).toBe(true));
  await Promise.all([second.stop(), other.stop()]);
});

test('a gateway whose database connection is cut lets go and connects again', async () => {
  const only = gateway('telegram 3');
  await eventually(() => expect(only.isConnected).toBe(true));
  const lost = eventually(() => expect(only.isConnected).toBe(false), { interval: 5 });
  await database.query(
    `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'switchyard account telegram 3'`,
  );
  await lost;
  await eventually(() => expect(only.isConnected).toBe(true));
  await only.stop();
});
