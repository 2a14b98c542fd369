import { z } from 'zod';
import { chatter } from '../chatter.ts';
import type { FakeDiscord } from './fake-discord.ts';

const injectSchema = z.object({
  count: z.coerce.number().int().positive().default(1),
  /** Private chats the messages are spread over, round robin; ids of the people start here. */
  chats: z.coerce.number().int().positive().default(1),
  firstPerson: z.string().default('600000000000000000'),
  text: z.string().default('hello'),
});
const saySchema = z.object({ channel: z.string(), user: z.string(), text: z.string() });
const slashSchema = z.object({
  channel: z.string(),
  user: z.string(),
  name: z.string(),
  options: z.record(z.string(), z.string()).default({}),
});
const pressSchema = z.object({ channel: z.string(), user: z.string(), token: z.string() });
const submitSchema = z.object({ interaction: z.string(), values: z.record(z.string(), z.string()) });
const faultSchema = z.object({
  method: z.string(),
  times: z.int().positive().default(1),
  channel: z.string().optional(),
  fault: z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('throttle'), retryAfter: z.number() }),
    z.object({ kind: z.literal('status'), code: z.int(), description: z.string() }),
    z.object({ kind: z.literal('dropBefore') }),
    z.object({ kind: z.literal('dropAfter') }),
    z.object({ kind: z.literal('delay'), ms: z.number() }),
    z.object({ kind: z.literal('html'), code: z.int() }),
  ]),
});
const chatterSchema = z.object({
  perSecond: z.number(),
  seconds: z.number(),
  user: z.string(),
  rooms: z.int().positive().default(20),
});
/** How much of each text is wanted. */
const textSchema = z.object({ textMax: z.int().positive().default(200) });
const guildSchema = z.object({ members: z.array(z.string()).default([]) });
const userSchema = z.object({ user: z.string() });
const channelSchema = z.object({ channel: z.string() });
const codeSchema = z.object({ code: z.coerce.number().int() });

/**
 * Drives the fake from another process. `inject` gives back the messages and their times; `deliveries` lists every
 * message of the bot with its time, `acks` how long each interaction waited for its first answer, so that latency is
 * measured by one clock.
 */
export function control(fake: FakeDiscord, path: string, body: unknown): unknown {
  switch (path) {
    case 'health':
      return { apiUrl: fake.apiUrl, token: fake.token, connected: fake.gateway.connected };
    case 'inject': {
      const { count, chats, firstPerson, text } = injectSchema.parse(body);
      const injected = [];
      for (let index = 0; index < count; index += 1) {
        const user = String(BigInt(firstPerson) + BigInt(index % chats));
        const channel = fake.people.dm(user);
        const messageId = fake.people.says(channel, user, text.replaceAll('{n}', String(index)));
        injected.push({ channel, user, messageId, at: performance.timeOrigin + performance.now() });
      }
      return { injected };
    }
    case 'deliveries': {
      const { textMax } = textSchema.parse(body);
      return {
        deliveries: [...fake.world.channels.keys()].flatMap((channel) =>
          fake.said(channel).map(({ id, text, replyTo, sentAt, editedAt, edits }) => ({
            channel,
            id,
            text: text.slice(0, textMax),
            replyTo,
            sentAt,
            editedAt,
            edits,
          })),
        ),
      };
    }
    case 'chatter': {
      const { perSecond, seconds, rooms, user } = chatterSchema.parse(body);
      const guild = fake.people.guild([user]);
      const channels = Array.from({ length: rooms }, () => fake.people.channel(guild));
      return chatter(perSecond, seconds, (index) => {
        const channel = channels[index % rooms] ?? '';
        // Among the talk, people use commands, which want their answer within three seconds.
        if (index % 50 === 0) fake.people.slash(channel, user, 'status');
        else fake.people.says(channel, user, `chatter ${index}`);
      }).then((count) => ({ count }));
    }
    case 'acks':
      return {
        acks: [...fake.world.interactions.values()].map(({ id, type, at, answeredAfterMs }) => ({
          id,
          type,
          at,
          answeredAfterMs,
        })),
      };
    case 'counts':
      return Object.fromEntries(fake.callCounts);
    case 'throttled':
      return { invalidRequests: fake.rates.invalidRequests, routes: Object.fromEntries(fake.throttled) };
    case 'guild': {
      const guild = fake.people.guild(guildSchema.parse(body).members);
      return { guild: guild.id, channel: fake.people.channel(guild) };
    }
    case 'dm':
      return { channel: fake.people.dm(userSchema.parse(body).user) };
    case 'says': {
      const { channel, user, text } = saySchema.parse(body);
      return { messageId: fake.people.says(channel, user, text) };
    }
    case 'slash': {
      const { channel, user, name, options } = slashSchema.parse(body);
      return { interaction: fake.people.slash(channel, user, name, options) };
    }
    case 'presses': {
      const { channel, user, token } = pressSchema.parse(body);
      return { interaction: fake.people.presses(channel, user, token) };
    }
    case 'submits': {
      const { interaction, values } = submitSchema.parse(body);
      return { interaction: fake.people.submits(interaction, values) };
    }
    case 'transcript':
      return {
        messages: fake
          .transcript(channelSchema.parse(body).channel)
          .map((message) => ({ ...message, file: message.file?.name })),
      };
    case 'fault': {
      const { method, fault, times, channel } = faultSchema.parse(body);
      fake.faults.next(method, fault, times, channel);
      return {};
    }
    case 'disconnect':
      fake.gateway.disconnect(codeSchema.parse(body).code);
      return {};
    case 'reset':
      for (const channel of fake.world.channels.values()) channel.messages.clear();
      fake.world.interactions.clear();
      fake.world.nonces.clear();
      fake.calls.length = 0;
      fake.callCounts.clear();
      fake.throttled.clear();
      fake.rates.invalidRequests = 0;
      return {};
    default:
      return { error: `there is no control called ${path}` };
  }
}
