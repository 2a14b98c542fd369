import { pino } from 'pino';
import { SlackChannel } from '#bots/slack/slack-channel.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { FakeSlack } from '../../fakes/slack/fake-slack.ts';
import {
  type ChannelHarness,
  type ChannelOffer,
  describeChannel,
  type VisibleMessage,
} from '../../support/channel-contract.ts';
import { serveRoutes } from './serve-routes.ts';

const person = 'U501';

const offers: readonly ChannelOffer[] = [
  'edits',
  'deletes',
  'buttons',
  'parts',
  'files',
  'repeats',
  'throttling',
  'blocking',
  'forgetting',
  'lost answers',
];

/** Contents of the fenced blocks of a Markdown text. */
function codeOf(markdown: string): string[] {
  return [...markdown.matchAll(/^(`{3,})[^\n]*\n([\s\S]*?)\n\1$/gm)].map((match) => match[2] ?? '');
}

async function makeHarness(mode: 'socket' | 'http'): Promise<ChannelHarness> {
  const fake = await FakeSlack.start({ limits: { ackMs: 400, retriesMax: 1_000 } });
  const room = fake.people.dm(person);
  const channel = new SlackChannel({
    botToken: fake.botToken,
    apiUrl: fake.apiUrl,
    hasDmThreads: false,
    log: pino({ level: 'silent' }),
    ...(mode === 'socket' ? { appToken: fake.appToken } : { signingSecret: fake.signingSecret }),
  });
  const hook = mode === 'http' ? await serveRoutes(channel.routes) : undefined;
  if (hook !== undefined) fake.useHook(`${hook.url}/hooks/slack/events`);
  const conversation: Conversation = {
    channel: 'slack',
    account: channel.account,
    space: fake.world.teamId,
    room,
    kind: 'dm',
  };
  return {
    channel,
    conversation,
    says: async (text) => {
      fake.people.says(room, person, text);
    },
    presses: async (token) => {
      fake.people.presses(person, token);
    },
    visible: async () =>
      fake.said(room).map(
        (message): VisibleMessage => ({
          id: message.ts,
          text: message.text.replaceAll('\u2060', ''),
          code: codeOf(message.text),
          buttons: message.buttons.map(({ label, value }) => ({
            label,
            ...(value === undefined ? {} : { token: value }),
          })),
          ...(message.files[0] === undefined
            ? {}
            : { file: { name: message.files[0].name, text: message.files[0].bytes.toString('utf8') } }),
        }),
      ),
    failures: {
      throttleNextSend: async (afterMs) =>
        fake.faults.next('chat.postMessage', { kind: 'throttle', retryAfter: afterMs / 1_000 }),
      becomeUnreachable: async () => {
        const user = fake.world.users.get(person);
        if (user !== undefined) user.isDeactivated = true;
      },
      forgetMessage: async (id) => fake.people.deletes(room, id),
      loseNextAnswer: async () => fake.faults.next('chat.postMessage', { kind: 'dropAfter' }),
    },
    redeliver: async () => fake.push.repeat(fake.lastPush),
    [Symbol.asyncDispose]: async () => {
      await hook?.[Symbol.asyncDispose]();
      await fake[Symbol.asyncDispose]();
    },
  };
}

describeChannel('slack by Socket Mode', offers, async () => await makeHarness('socket'));
describeChannel('slack by HTTP', offers, async () => await makeHarness('http'));
