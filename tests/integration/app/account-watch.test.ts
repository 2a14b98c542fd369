import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { AccountWatch } from '#app/compose/account-watch.ts';
import { noteAccount } from '#core/channels/note-account.ts';
import { switchChannel } from '#core/channels/switch-channel.ts';
import { aborted } from '#core/kit/aborted.ts';
import { systemClock } from '#core/kit/clock.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';
import { eventually } from '#tests/support/eventually.ts';

const log = pino({ level: 'silent' });
const account = { channel: 'telegram', account: '7' };
let database: TestDatabase;

beforeAll(async () => {
  database = await openTestDatabase();
  await noteAccount({ db: database.db, log }, account, { state: 'connected', detail: '' });
});
afterAll(async () => await database[Symbol.asyncDispose]());

const turn = async (isEnabled: boolean): Promise<unknown> =>
  await switchChannel(database.db, 'telegram', { isEnabled, by: 'test' });

test('work runs while its account is switched on, again after each time it was off, and never before it is known', async () => {
  await turn(false);
  const watch = new AccountWatch({ db: database.db, clock: systemClock, log });
  const stop = new AbortController();
  const seen: string[] = [];
  const work = async (signal: AbortSignal): Promise<void> => {
    seen.push('on');
    await aborted(signal);
    seen.push('off');
  };
  const done = watch.whileEnabled(account, stop.signal, work);
  const watching = watch.run(stop.signal);
  await watch.look();
  expect(seen).toEqual([]);
  await turn(true);
  await eventually(() => expect(seen).toEqual(['on']));
  await turn(false);
  await eventually(() => expect(seen).toEqual(['on', 'off']));
  await turn(true);
  await eventually(() => expect(seen).toEqual(['on', 'off', 'on']));
  stop.abort();
  await Promise.all([done, watching]);
  expect(seen).toEqual(['on', 'off', 'on', 'off']);
});

test('work that ends by itself ends the whole, and what it throws comes out', async () => {
  const watch = new AccountWatch({ db: database.db, clock: systemClock, log });
  const { signal } = new AbortController();
  await watch.whileEnabled(account, signal, async () => await Promise.resolve());
  const failing = watch.whileEnabled(account, signal, async () => await Promise.reject(new Error('no connection')));
  await expect(failing).rejects.toThrow('no connection');
});
