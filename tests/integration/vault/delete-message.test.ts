import { pino } from 'pino';
import { expect, test } from 'vitest';
import { ConsoleChannel } from '#bots/console/console-channel.ts';
import { putMessage, readHistory } from '#bots/hosted/hosted-store.ts';
import { threadKey } from '#core/sessions/origin.ts';
import { openTestDatabase } from '#tests/support/database.ts';

test('in the terminal and the web chat a message with a secret is deleted, and nothing of it is kept', async () => {
  await using database = await openTestDatabase(2);
  const { db } = database;
  const channel = new ConsoleChannel({ db, log: pino({ level: 'silent' }) });
  const place = { channel: 'console', account: channel.account, room: 'r', kind: 'dm' } as const;
  const key = threadKey(place);
  const body = { parts: [{ type: 'markdown' as const, markdown: 'typed-secret-0123456789' }] };
  await putMessage(db, { threadKey: key, messageId: 'm-1', direction: 'in', author: 'ann', body });
  expect(await channel.deleteMessage(place, 'm-1')).toBe(true);
  expect((await readHistory(db, key, { rowsMax: 5 })).messages).toEqual([]);
  expect(JSON.stringify(await database.query('select * from console_message'))).not.toContain('typed-secret');
});
