import { afterAll, beforeAll, expect, test } from 'vitest';
import { dropStale } from '#core/outbox/drop-stale.ts';
import { type NewMessage, putMessages } from '#core/outbox/put-messages.ts';
import { openTestDatabase, type TestDatabase } from '../../support/database.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
});

function message(key: string, more: Partial<NewMessage> = {}): NewMessage {
  return {
    key,
    conversation: { channel: 'telegram', account: '1', room: '5', kind: 'dm' },
    importance: 'progress',
    body: { parts: [{ type: 'markdown', markdown: key }] },
    ...more,
  };
}

async function states(): Promise<Record<string, string>> {
  const rows = await database.query<{ key: string; state: string }>('select key, state from outbox');
  return Object.fromEntries(rows.map((row) => [row.key, row.state]));
}

test('a message past its time is given up, one without a limit and one in time stay', async () => {
  await putMessages(database.db, [
    message('old', { validMs: 1 }),
    message('young', { validMs: 60_000 }),
    message('timeless'),
  ]);
  await database.query(`update outbox set expires_at = expires_at - interval '1 second' where key = 'old'`);
  expect(await dropStale(database)).toBe(1);
  expect(await states()).toEqual({ old: 'dead', young: 'pending', timeless: 'pending' });
});
