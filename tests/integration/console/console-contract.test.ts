import { pino } from 'pino';
import { expect } from 'vitest';
import { ConsoleChannel } from '#bots/console/console-channel.ts';
import { type ConsoleRaw, consoleConversation } from '#bots/console/console-raw.ts';
import { readHistory } from '#bots/console/console-store.ts';
import { newId } from '#core/kit/ids.ts';
import type { OutboundPart } from '#core/outbox/outbound.ts';
import { threadKey } from '#core/sessions/origin.ts';
import { describeChannel, type VisibleMessage } from '#tests/support/channel-contract.ts';
import { openTestDatabase } from '#tests/support/database.ts';

const conversation = consoleConversation({ room: 'ada' });

describeChannel('console', ['edits', 'deletes', 'buttons', 'files', 'repeats', 'forgetting'], async () => {
  const database = await openTestDatabase();
  const channel = new ConsoleChannel({ db: database.db, log: pino({ level: 'silent' }) });
  const key = threadKey(conversation);
  let last: ConsoleRaw | undefined;
  /** A client keeps its key and tries again until its message is accepted. */
  const submit = async (raw: ConsoleRaw): Promise<void> => {
    last = raw;
    await expect.poll(() => channel.submit(raw).then(() => 'accepted', String), { timeout: 5_000 }).toBe('accepted');
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
        .map(({ messageId, body }) => see(messageId, body.parts));
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

function see(id: string, parts: readonly OutboundPart[]): VisibleMessage {
  const texts = parts.flatMap((part) => (part.type === 'markdown' || part.type === 'notice' ? [part.markdown] : []));
  const file = parts.find((part) => part.type === 'file');
  return {
    id,
    text: texts.join('\n'),
    code: texts.flatMap((text) => [...text.matchAll(/^```\w*\n([\s\S]*?)\n```$/gm)].map((match) => match[1] ?? '')),
    buttons: parts
      .flatMap((part) => (part.type === 'buttons' ? part.rows.flat() : []))
      .map(({ label, token }) => ({
        label,
        ...(token === undefined ? {} : { token }),
      })),
    ...(file === undefined
      ? {}
      : { file: { name: file.name, text: Buffer.from(file.dataBase64, 'base64').toString() } }),
  };
}
