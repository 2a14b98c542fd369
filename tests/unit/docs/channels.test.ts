import { readFileSync } from 'node:fs';
import path from 'node:path';
import { pino } from 'pino';
import { afterAll, expect, test } from 'vitest';
import type { Channel } from '#bots/channel.ts';
import { ConsoleChannel } from '#bots/console/console-channel.ts';
import { DiscordChannel } from '#bots/discord/discord-channel.ts';
import { createPlaceStore } from '#bots/discord/place-store.ts';
import { FileChannel } from '#bots/file/file-channel.ts';
import { SlackChannel } from '#bots/slack/slack-channel.ts';
import { TelegramChannel } from '#bots/telegram/telegram-channel.ts';
import { openTopicStore } from '#bots/telegram/topic-store.ts';
import { WebChannel } from '#bots/web/web-channel.ts';
import { systemClock } from '#core/kit/clock.ts';
import { createPool, openDatabase } from '#core/kit/database.ts';
import type { ChannelCapabilities } from '#core/outbox/channel-sender.ts';
import type { Conversation } from '#core/sessions/origin.ts';

const log = pino({ level: 'silent' });
// Never connected: capabilities are known without a database.
const db = openDatabase(
  createPool({ url: 'postgres://127.0.0.1:1/none', connectionsMax: 1, applicationName: 'docs', log }),
);
afterAll(async () => await db.destroy());

const channels: readonly (readonly [string, Channel])[] = [
  ['Telegram', new TelegramChannel({ token: '1:a', log, topics: (account) => openTopicStore(db, account) })],
  [
    'Slack',
    new SlackChannel({
      botToken: 'xoxb-1-2-a',
      appToken: 'xapp-1-A1-2-a',
      signingSecret: undefined,
      hasDmThreads: false,
      apiUrl: undefined,
      log,
    }),
  ],
  [
    'Discord',
    new DiscordChannel({
      token: 'MTIz.a.b',
      apiUrl: undefined,
      log,
      places: createPlaceStore({ db }),
      suggest: async () => [],
    }),
  ],
  ['Web chat', new WebChannel({ db, log })],
  ['Console', new ConsoleChannel({ db, log })],
  ['File', new FileChannel({ db, log, clock: systemClock, folder: '/nowhere' })],
];

const yes = (is: boolean): string => (is ? 'yes' : 'no');
const size = (bytes: number): string => (bytes === 0 ? 'no' : `${Math.round(bytes / 1024 / 1024)} MB`);
const seconds = (ms: number): string => (ms === 0 ? 'at once' : `${ms / 1000} s`);

/** What a reader wants to know, from the tables the product itself reads. */
const rows: readonly (readonly [string, (of: ChannelCapabilities) => string])[] = [
  ['Characters in one message', ({ textMax }) => String(textMax)],
  ['Messages before a long text becomes a file', ({ partsMax }) => String(partsMax)],
  [
    'An answer grows by',
    ({ nativeStream, canEdit }) =>
      ({ draft: 'a live preview', append: 'a native stream', none: canEdit ? 'edits' : 'nothing' })[nativeStream],
  ],
  ['Time between two edits', ({ editIntervalMs }) => seconds(editIntervalMs)],
  ['Time between two messages', ({ sendIntervalMs }) => seconds(sendIntervalMs)],
  ['Edit, delete', ({ canEdit, canDelete }) => `${yes(canEdit)}, ${yes(canDelete)}`],
  ['Buttons in a row', ({ buttonsPerRowMax }) => (buttonsPerRowMax === 0 ? 'none' : String(buttonsPerRowMax))],
  ['Forms', ({ modal }) => (modal ? 'yes' : 'by reply')],
  [
    'Seen by one person only',
    ({ ephemeral }) => ({ native: 'yes', interaction: 'after a press or command', none: 'no' })[ephemeral],
  ],
  ['Threads', ({ threads }) => ({ topic: 'topics', thread: 'yes', none: 'no' })[threads]],
  [
    'Slash commands',
    ({ commands }) =>
      ({ everywhere: 'yes', 'not-in-threads': 'not in threads: `@bot run …`', text: 'as text' })[commands],
  ],
  ['Tables', ({ tables }) => ({ native: 'yes', code: 'as aligned text' })[tables]],
  [
    'Progress of longer work',
    ({ progress }) => ({ card: 'a card', 'edited-message': 'an edited message', none: 'no' })[progress],
  ],
  ['Reactions', ({ reactions }) => yes(reactions)],
  ['Typing sign', ({ typingIntervalMs }) => yes(typingIntervalMs > 0)],
  ['File to a person', ({ uploadBytesMax }) => size(uploadBytesMax)],
  ['File from a person', ({ downloadBytesMax }) => size(downloadBytesMax)],
  [
    'A message of unknown fate',
    ({ idempotentSend }) =>
      ({
        nonce: 'is sent again, seen once',
        metadata: 'is looked up, then sent if missing',
        none: 'is named; `/resend` repeats it',
      })[idempotentSend],
  ],
];

function tableOf(): string {
  const columns = channels.map(([, channel]) => {
    const of = (kind: Conversation['kind'], thread?: string) =>
      channel.capabilities({
        channel: channel.channel,
        account: channel.account,
        room: '1',
        kind,
        ...(thread === undefined ? {} : { thread }),
      });
    return { dm: of('dm'), group: of('group', '1') };
  });
  const lines = rows.map(([title, say]) => {
    const cells = columns.map(({ dm, group }) => {
      const [inDm, inGroup] = [say(dm), say(group)];
      return inDm === inGroup ? inDm : `${inDm}; in groups and threads ${inGroup}`;
    });
    return `| ${[title, ...cells].join(' | ')} |`;
  });
  return [
    `| | ${channels.map(([name]) => name).join(' | ')} |`,
    `|${' --- |'.repeat(channels.length + 1)}`,
    ...lines,
  ].join('\n');
}

test('the guide says of every channel what its capability table says', () => {
  const page = readFileSync(path.resolve(import.meta.dirname, '../../../docs/guide/channels.md'), 'utf8');
  const table = page.split('\n').filter((line) => line.startsWith('|'));
  expect(table.join('\n')).toBe(tableOf());
});
