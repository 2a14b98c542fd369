import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { whileHoldingAccount } from '#app/compose/account-lock.ts';
import { aborted } from '#core/kit/aborted.ts';
import { type Clock, systemClock } from '#core/kit/clock.ts';
import { eventually } from '#tests/support/eventually.ts';
import { openTestDatabase, type TestDatabase } from '../../support/database.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
});

/** A gateway that notes when it connects and lets go, which it does only when it has to. */
function gateway(account: string) {
  const stop = new AbortController();
  const seen: ('on' | 'off')[] = [];
  let tries = 0;
  const clock: Clock = {
    ...systemClock,
    sleep: async (ms, signal) => {
      tries += 1;
      await systemClock.sleep(ms, signal);
    },
  };
  const deps = { databaseUrl: database.url, clock, log: pino({ level: 'silent' }) };
  const done = whileHoldingAccount(deps, account, stop.signal, async (signal) => {
    seen.push('on');
    await aborted(signal);
    seen.push('off');
  });
  return {
    seen,
    /** How often it has asked for the account and does not have it any more. */
    tries: () => tries,
    stop: async () => {
      stop.abort();
      await done;
    },
  };
}

test('of two gateways one holds the account, and the other takes over when it stops', async () => {
  const first = gateway('telegram 1');
  await eventually(() => expect(first.seen).toEqual(['on']));
  const second = gateway('telegram 1');
  const other = gateway('telegram 2');
  await eventually(() => expect(other.seen).toEqual(['on']));
  await eventually(() => expect(second.tries()).toBeGreaterThan(0));
  expect(second.seen).toEqual([]);
  await first.stop();
  await eventually(() => expect(second.seen).toEqual(['on']));
  await Promise.all([second.stop(), other.stop()]);
});

test('a gateway whose database connection is cut lets go and connects again', async () => {
  const only = gateway('telegram 3');
  await eventually(() => expect(only.seen).toEqual(['on']));
  await database.query(
    `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'switchyard account telegram 3'`,
  );
  await eventually(() => expect(only.seen).toEqual(['on', 'off', 'on']));
  await only.stop();
});
