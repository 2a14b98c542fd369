import { z } from 'zod';
import { chatter } from '../chatter.ts';
import type { FakeSlack } from './fake-slack.ts';

const injectSchema = z.object({
  count: z.int().positive().default(1),
  /** People whose direct messages the events are spread over, round robin. */
  people: z.int().positive().default(1),
  text: z.string().default('hello'),
  thread: z.string().optional(),
});
const saySchema = z.object({ channel: z.string(), user: z.string(), text: z.string(), thread: z.string().optional() });
const pressSchema = z.object({ user: z.string(), what: z.string() });
const commandSchema = z.object({
  channel: z.string(),
  user: z.string(),
  command: z.string(),
  text: z.string().default(''),
});
const channelSchema = z.object({ channel: z.string(), members: z.array(z.string()) });
const faultSchema = z.object({
  method: z.string(),
  times: z.int().positive().default(1),
  fault: z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('throttle'), retryAfter: z.number() }),
    z.object({ kind: z.literal('status'), code: z.int(), description: z.string() }),
    z.object({ kind: z.literal('dropBefore') }),
    z.object({ kind: z.literal('dropAfter') }),
    z.object({ kind: z.literal('delay'), ms: z.number() }),
    z.object({ kind: z.literal('html'), code: z.int() }),
  ]),
});
const chatterSchema = z.object({ perSecond: z.number(), seconds: z.number(), rooms: z.int().positive().default(20) });
/** How much of each text is wanted. */
const textSchema = z.object({ textMax: z.int().positive().default(200) });
const personSchema = z.object({ user: z.string() });
const transcriptSchema = z.object({ channel: z.string(), thread: z.string().optional() });
const refreshSchema = z.object({ graceMs: z.coerce.number().default(1_000) });

/** The person of a number, as `inject` names them. */
function personOf(index: number): string {
  return `U${String(10_000_000 + index)}`;
}

/**
 * Drives the fake from another process. `inject` gives back each event's id; `pushes` says when each was first sent and
 * acknowledged, and `deliveries` what the bot wrote when, so that latency is measured by one clock.
 */
export function control(fake: FakeSlack, path: string, body: unknown): unknown {
  switch (path) {
    case 'health':
      return {
        apiUrl: fake.apiUrl,
        botToken: fake.botToken,
        appToken: fake.appToken,
        connections: fake.socketMode.openConnections,
        connected: fake.socketMode.openConnections > 0,
      };
    case 'channel': {
      const { channel, members } = channelSchema.parse(body);
      return { channel: fake.people.channel(channel, members) };
    }
    case 'inject': {
      const { count, people, text, thread } = injectSchema.parse(body);
      const injected = [];
      for (let index = 0; index < count; index += 1) {
        const user = personOf(index % people);
        const channel = fake.people.dm(user);
        const said = text.replaceAll('{n}', String(index));
        const ts = fake.people.says(channel, user, said, thread === undefined ? {} : { thread });
        injected.push({ channel, user, ts, push: fake.lastPush.id, at: fake.world.now() });
      }
      return { injected };
    }
    case 'statuses':
      return { statuses: fake.world.statuses };
    case 'pushes':
      return {
        pushes: fake.push.pushes.map(({ id, createdAt, ackedAt, tries, isGivenUp }) => ({
          id,
          createdAt,
          ackedAt,
          sentAt: tries[0]?.at,
          tries: tries.length,
          isGivenUp,
        })),
      };
    case 'dm':
      return { channel: fake.people.dm(personSchema.parse(body).user) };
    case 'deliveries': {
      const { textMax } = textSchema.parse(body);
      return {
        deliveries: [...fake.world.channels.keys()].flatMap((channel) =>
          fake.said(channel).map(({ ts, threadTs, text, sentAt, editedAt, edits, isStreaming }) => ({
            channel,
            ts,
            thread: threadTs,
            text: text.slice(0, textMax),
            length: text.length,
            sentAt,
            editedAt,
            edits,
            isStreaming,
          })),
        ),
      };
    }
    case 'chatter': {
      const { perSecond, seconds, rooms } = chatterSchema.parse(body);
      const channels = Array.from({ length: rooms }, (_, room) => fake.people.channel(`C9${room}`, [personOf(0)]));
      return chatter(perSecond, seconds, (index) => {
        fake.people.says(channels[index % rooms] ?? '', personOf(0), `chatter ${index}`);
      }).then((count) => ({ count }));
    }
    case 'counts':
      return { calls: Object.fromEntries(fake.callCounts), throttled: Object.fromEntries(fake.rates.refused) };
    case 'says': {
      const { channel, user, text, thread } = saySchema.parse(body);
      return { ts: fake.people.says(channel, user, text, thread === undefined ? {} : { thread }) };
    }
    case 'presses': {
      const { user, what } = pressSchema.parse(body);
      return { push: fake.people.presses(user, what).id };
    }
    case 'command': {
      const { channel, user, command, text } = commandSchema.parse(body);
      return { push: fake.people.slashCommand(channel, user, command, text).id };
    }
    case 'transcript': {
      const { channel, thread } = transcriptSchema.parse(body);
      return {
        messages: fake.transcript(channel, thread).map((message) => ({
          ...message,
          files: message.files.map(({ name }) => name),
        })),
      };
    }
    case 'fault': {
      const { method, fault, times } = faultSchema.parse(body);
      fake.faults.next(method, fault, times);
      return {};
    }
    case 'refresh':
      fake.socketMode.refresh(refreshSchema.parse(body).graceMs);
      return {};
    case 'reset':
      for (const channel of fake.world.channels.values()) channel.messages.clear();
      fake.push.pushes.length = 0;
      fake.calls.length = 0;
      fake.callCounts.clear();
      fake.rates.refused.clear();
      return {};
    default:
      return { error: `there is no control called ${path}` };
  }
}
