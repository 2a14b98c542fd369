import { pino } from 'pino';
import { DiscordChannel } from '#bots/discord/discord-channel.ts';
import { createPlaceStore } from '#bots/discord/place-store.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { FakeDiscord } from '../../fakes/discord/fake-discord.ts';
import { type ChannelHarness, describeChannel } from '../../support/channel-contract.ts';
import { openTestDatabase } from '../../support/database.ts';

const person = '501500000000000001';

describeChannel(
  'discord',
  ['edits', 'deletes', 'buttons', 'parts', 'files', 'repeats', 'throttling', 'blocking', 'forgetting', 'lost answers'],
  async (): Promise<ChannelHarness> => {
    const fake = await FakeDiscord.start();
    const database = await openTestDatabase(2);
    const room = fake.people.dm(person);
    const channel = new DiscordChannel({
      token: fake.token,
      apiUrl: fake.apiUrl,
      log: pino({ level: 'silent' }),
      places: createPlaceStore({ db: database.db }),
    });
    const conversation: Conversation = { channel: 'discord', account: channel.account, room, kind: 'dm' };
    return {
      channel,
      conversation,
      says: async (text) => {
        fake.people.says(room, person, text);
      },
      presses: async (token) => {
        fake.people.presses(room, person, token);
      },
      visible: async () =>
        fake
          .said(room)
          .filter(({ onlyFor }) => onlyFor === undefined)
          .map((message) => ({
            id: message.id,
            text: message.text,
            code: [...message.text.matchAll(/^```[^\n]*\n([\s\S]*?)\n```$/gm)].map(([, code]) => code ?? ''),
            buttons: message.buttons.map(({ label, token }) => ({ label, ...(token === undefined ? {} : { token }) })),
            ...(message.file === undefined
              ? {}
              : { file: { name: message.file.name, text: message.file.bytes.toString('utf8') } }),
          })),
      failures: {
        throttleNextSend: async (afterMs) =>
          fake.faults.next('createMessage', { kind: 'throttle', retryAfter: afterMs / 1_000 }),
        becomeUnreachable: async () => {
          fake.world.closedTo.add(person);
        },
        forgetMessage: async (id) => fake.people.deletes(room, id),
        loseNextAnswer: async () => fake.faults.next('createMessage', { kind: 'dropAfter' }),
      },
      redeliver: async () => fake.gateway.repeat(),
      [Symbol.asyncDispose]: async () => {
        await fake[Symbol.asyncDispose]();
        await database[Symbol.asyncDispose]();
      },
    };
  },
);
