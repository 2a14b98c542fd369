import { pino } from 'pino';
import { expect } from 'vitest';
import { hostedConversation } from '#bots/hosted/hosted-channel.ts';
import { readHistory } from '#bots/hosted/hosted-store.ts';
import { WebChannel } from '#bots/web/web-channel.ts';
import type { WebRaw } from '#bots/web/web-raw.ts';
import { newId } from '#core/kit/ids.ts';
import { threadKey } from '#core/sessions/origin.ts';
import { describeChannel } from '#tests/support/channel-contract.ts';
import { openTestDatabase } from '#tests/support/database.ts';
import { seeParts } from '#tests/support/see-parts.ts';

const room = `v${'0'.repeat(32)}`;
const thread = 'abcdefgh12345678';
const conversation = hostedConversation('web', { room, thread });

describeChannel('web', ['edits', 'deletes', 'buttons', 'files', 'repeats', 'forgetting'], async () => {
  const database = await openTestDatabase();
  const channel = new WebChannel({ db: database.db, log: pino({ level: 'silent' }) });
  let last: WebRaw | undefined;
  /** A page keeps its key and tries again until its message is accepted. */
  const submit = async (raw: WebRaw): Promise<void> => {
    last = raw;
    await expect.poll(() => channel.submit(raw).then(() => 'accepted', String)).toBe('accepted');
  };
  const base = () => ({
    key: newId(),
    room,
    thread,
    user: 'Browser 0000',
    isOperator: false,
    at: new Date().toISOString(),
  });
  return {
    channel,
    conversation,
    says: (text) => submit({ ...base(), kind: 'message', text, files: [] }),
    presses: (token) => submit({ ...base(), kind: 'action', token }),
    async visible() {
      const { messages } = await readHistory(database.db, threadKey(conversation), { rowsMax: 100 });
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
