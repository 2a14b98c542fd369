import { pino } from 'pino';
import { TelegramChannel } from '#bots/telegram/telegram-channel.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { FakeTelegram } from '../../fakes/telegram/fake-telegram.ts';
import { type ChannelHarness, describeChannel } from '../../support/channel-contract.ts';

const person = 501;

describeChannel(
  'telegram',
  ['edits', 'deletes', 'buttons', 'parts', 'files', 'repeats', 'throttling', 'blocking', 'forgetting', 'lost answers'],
  async (): Promise<ChannelHarness> => {
    const fake = await FakeTelegram.start();
    const room = fake.people.privateChat(person);
    const channel = new TelegramChannel({
      token: fake.token,
      apiRoot: fake.apiRoot,
      log: pino({ level: 'silent' }),
    });
    const conversation: Conversation = {
      channel: 'telegram',
      account: channel.account,
      room: String(room),
      kind: 'dm',
    };
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
        fake.said(room).map((message) => ({
          id: String(message.id),
          text: message.text,
          code: message.entities
            .filter((entity) => entity.type === 'pre')
            .map((entity) => message.text.slice(entity.offset, entity.offset + entity.length)),
          buttons: message.buttons.map(({ text, data }) => ({
            label: text,
            ...(data === undefined ? {} : { token: data }),
          })),
          ...(message.file === undefined
            ? {}
            : { file: { name: message.file.name, text: message.file.bytes.toString('utf8') } }),
        })),
      failures: {
        throttleNextSend: async (afterMs) =>
          fake.faults.next('sendMessage', { kind: 'throttle', retryAfter: afterMs / 1_000 }),
        becomeUnreachable: async () => fake.people.changesMembership(room, person, 'kicked'),
        forgetMessage: async (id) => fake.people.deletes(room, Number(id)),
        loseNextAnswer: async () => fake.faults.next('sendMessage', { kind: 'dropAfter' }),
      },
      redeliver: async () => fake.updates.repeat(),
      [Symbol.asyncDispose]: async () => fake[Symbol.asyncDispose](),
    };
  },
);
