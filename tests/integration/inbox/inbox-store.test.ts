import { afterAll, beforeAll, expect, test } from 'vitest';
import { findPendingEvents, insertRawEvents, markAttemptFailed, markEvent } from '#core/inbox/inbox-store.ts';
import { openTestDatabase, type TestDatabase } from '../../support/database.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
});

const source = { channel: 'telegram', account: '42' };
const limits = { olderThanMs: 0, attemptsMax: 5, rowsMax: 100 };

test('an event that arrives twice is stored once, also within one batch', async () => {
  const first = await insertRawEvents(database.db, source, [
    { dedupKey: '1', raw: { a: 1 } },
    { dedupKey: '2', raw: { a: 2 } },
    { dedupKey: '1', raw: { a: 'again' } },
  ]);
  expect(first.map((row) => row.dedupKey)).toEqual(['1', '2']);
  expect(await insertRawEvents(database.db, source, [{ dedupKey: '2', raw: {} }])).toEqual([]);
});

test('the same key of another account is another event', async () => {
  const rows = await insertRawEvents(database.db, { ...source, account: '43' }, [{ dedupKey: '1', raw: {} }]);
  expect(rows).toHaveLength(1);
});

test('text that jsonb refuses is stored without what it refuses', async () => {
  const raw = { text: 'a\u0000b \ud800 c', ['\udc00']: '😀', path: 'C:\\u0000' };
  const [row] = await insertRawEvents(database.db, source, [{ dedupKey: 'odd', raw }]);
  expect(row?.raw).toEqual({ text: 'ab \ufffd c', '\ufffd': '😀', path: 'C:\\u0000' });
});

test('pending events come back in the order they were stored until they are routed', async () => {
  const other = { channel: 'telegram', account: '77' };
  const rows = await insertRawEvents(
    database.db,
    other,
    Array.from({ length: 30 }, (_, index) => ({ dedupKey: String(index), raw: { index } })),
  );
  const pending = await findPendingEvents(database.db, other, limits);
  expect(pending.map((row) => row.raw)).toEqual(rows.map((row) => row.raw));
  for (const row of rows) await markEvent(database.db, row.id, 'routed');
  expect(await findPendingEvents(database.db, other, limits)).toEqual([]);
});

test('an event that cannot be routed is set aside after its tries with the reason', async () => {
  const other = { channel: 'telegram', account: '78' };
  const [row] = await insertRawEvents(database.db, other, [{ dedupKey: 'x', raw: {} }]);
  for (let attempt = 0; attempt < 5; attempt += 1) await markAttemptFailed(database.db, row?.id ?? '', 'broken', 5);
  expect(await findPendingEvents(database.db, other, { ...limits, attemptsMax: 99 })).toEqual([]);
  const [stored] = await database.query<{ state: string; error: string }>(
    'select state, error from inbox where id = $1',
    [row?.id],
  );
  expect(stored).toEqual({ state: 'failed', error: 'broken' });
});
