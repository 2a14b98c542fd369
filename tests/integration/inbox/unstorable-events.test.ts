import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { findPendingEvents, insertRawEvents } from '#core/inbox/inbox-store.ts';
import { createPool, openDatabase } from '#core/kit/database.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';

const source = { channel: 'telegram', account: '700001' };
let database: TestDatabase;

beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
});

function nested(depth: number): unknown {
  return JSON.parse(`${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`);
}

test('an event that cannot be stored leaves only its reason, and those around it are stored in order', async () => {
  const events = [
    { dedupKey: '1', raw: { text: 'before' } },
    { dedupKey: '2', raw: { update: nested(20_000) } },
    { dedupKey: '3\u0000\ud800', raw: { text: 'after' } },
  ];
  const rows = await insertRawEvents(database.db, source, events);
  expect(rows.map((row) => row.dedupKey)).toEqual(['1', '2', '3\ufffd']);
  expect(rows[1]?.raw).toEqual({ unstorable: expect.stringContaining('Maximum call stack size') });
  // The platform sends the same again: all are known.
  expect(await insertRawEvents(database.db, source, events)).toEqual([]);
  const limits = { olderThanMs: 0, attemptsMax: 5, rowsMax: 2 };
  const page = await findPendingEvents(database.db, source, limits);
  expect(page.map((row) => row.dedupKey)).toEqual(['1', '2']);
  const rest = await findPendingEvents(database.db, source, { ...limits, afterId: page[1]?.id ?? '' });
  expect(rest.map((row) => row.dedupKey)).toEqual(['3\ufffd']);
});

test('a database that is away is no fault of the event: nothing is stored in its place', async () => {
  const url = 'postgres://nobody:nothing@127.0.0.1:1/nowhere';
  const log = pino({ level: 'silent' });
  const away = openDatabase(createPool({ url, connectionsMax: 1, applicationName: 'tests', log }));
  await expect(insertRawEvents(away, source, [{ dedupKey: '9', raw: {} }])).rejects.toThrow(/ECONNREFUSED/);
  await away.destroy();
});
