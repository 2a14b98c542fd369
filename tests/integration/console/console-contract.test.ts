import { pino } from 'pino';
import { expect, it } from 'vitest';
import { ConsoleChannel } from '#bots/console/console-channel.ts';
import { type ConsoleRaw, consoleConversation } from '#bots/console/console-raw.ts';
import { readHistory } from '#bots/hosted/hosted-store.ts';
import { newId } from '#core/kit/ids.ts';
import { threadKey } from '#core/sessions/origin.ts';
import { describeChannel } from '#tests/support/channel-contract.ts';
import { openTestDatabase } from '#tests/support/database.ts';
import { seeParts } from '#tests/support/see-parts.ts';

const conversation = consoleConversation({ room: 'ada' });

describeChannel('console', ['edits', 'deletes', 'buttons', 'files', 'repeats', 'forgetting'], async () => {
  const database = await openTestDatabase();
  const channel = new ConsoleChannel({ db: database.db, log: pino({ level: 'silent' }) });
  const key = threadKey(conversation);
  let last: ConsoleRaw | undefined;
  /** A client keeps its key and tries again until its message is accepted. */
  const submit = async (raw: ConsoleRaw): Promise<void> => {
    last = raw;
    await expect.poll(() => channel.submit(raw).then(() => 'accepted', String)).toBe('accepted');
  };
  const base = () => ({ key: newId(), room: 'ada', user: 'ada', at: new Date().toISOString() });
  return {
    channel,
    conversation,
    says: (text) => submit({ ...base(), kind: 'message', text }),
    presses: (token) => submit({ ...base(), kind: 'action', token }),
    async visible() {
      const { messages } = await readHistory(database.db, key, { rowsMax: 100 });
      return messages
        .filter((message) => message.direction === 'out')
        .map(({ messageId, body }) => seeParts(messageId, body.parts));
    },
    failures: {
      forgetMessage: async (id) => {
        await database.query('delete from console_message where message_id = $1', [id]);
      },
    },
    redeliver: async () => {
      if (last !== undefined) await channel.submit(last);
    },
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  };
});

it('what is written before the channel runs waits for it, and is turned away when it does not', async () => {
  await using database = await openTestDatabase();
  const channel = new ConsoleChannel({ db: database.db, log: pino({ level: 'silent' }) });
  const raw = (key: string) =>
    ({ key, room: 'ada', user: 'ada', at: new Date().toISOString(), kind: 'message', text: key }) as const;
  await expect(channel.submit(raw('too early'))).rejects.toMatchObject({ code: 'channel.unavailable' });

  const stop = new AbortController();
  const taken: unknown[] = [];
  const early = channel.submit(raw('early'));
  const running = channel.run(async (events) => void taken.push(...events), stop.signal);
  await early;
  expect(taken).toMatchObject([{ dedupKey: 'early' }]);
  stop.abort();
  await running;
});
