import { z } from 'zod';
import { chatter } from '../chatter.ts';
import type { FakeTelegram } from './fake-telegram.ts';

const injectSchema = z.object({
  count: z.int().positive().default(1),
  /** Private chats the updates are spread over, round robin; their ids start here. */
  chats: z.int().positive().default(1),
  firstChat: z.int().positive().default(1_001),
  text: z.string().default('hello'),
});
const saySchema = z.object({ chat: z.int(), user: z.int(), text: z.string() });
const pressSchema = z.object({ chat: z.int(), user: z.int(), data: z.string() });
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
const chatSchema = z.object({ chat: z.coerce.number() });

/**
 * Drives the fake from another process. `inject` gives back the update ids and their times; `deliveries` lists every
 * message of the bot with its time and, for a reply, the message it answers, so that latency is measured by one clock.
 */
export function control(fake: FakeTelegram, path: string, body: unknown): unknown {
  switch (path) {
    case 'health':
      return {
        apiRoot: fake.apiRoot,
        token: fake.token,
        pending: fake.updates.pending,
        connected: fake.callCounts.has('getUpdates'),
      };
    case 'inject': {
      const { count, chats, firstChat, text } = injectSchema.parse(body);
      const injected = [];
      for (let index = 0; index < count; index += 1) {
        const chat = firstChat + (index % chats);
        const messageId = fake.people.says(chat, chat, text.replaceAll('{n}', String(index)));
        injected.push({ chat, messageId, update: fake.updates.lastId, at: performance.timeOrigin + performance.now() });
      }
      return { injected };
    }
    case 'deliveries': {
      const { textMax } = textSchema.parse(body);
      return {
        deliveries: [...fake.state.chats.keys()].flatMap((chat) =>
          fake.said(chat).map(({ id, text, replyTo, sentAt, editedAt, edits }) => ({
            chat,
            id,
            text: text.slice(0, textMax),
            replyTo,
            sentAt,
            editedAt,
            edits,
          })),
        ),
        drafts: [...fake.state.chats.keys()].flatMap((chat) =>
          fake.drafts(chat).map(({ draftId, at, text }) => ({ chat, draftId, at, length: text.length })),
        ),
        polledAt: Object.fromEntries(fake.updates.deliveredAt),
      };
    }
    case 'group':
      return { chat: fake.people.group(chatSchema.parse(body).chat) };
    case 'chatter': {
      const { perSecond, seconds, rooms } = chatterSchema.parse(body);
      for (let room = 1; room <= rooms; room += 1) fake.people.group(-1_000_000 - room);
      return chatter(perSecond, seconds, (index) => {
        fake.people.says(-1_000_001 - (index % rooms), 900_000 + (index % 50), `chatter ${index}`);
      }).then((count) => ({ count }));
    }
    case 'confirmed':
      return { delays: fake.updates.confirmDelays };
    case 'throttled':
      return { refused: [...fake.rates.refused.values()] };
    case 'counts':
      return Object.fromEntries(fake.callCounts);
    case 'says': {
      const { chat, user, text } = saySchema.parse(body);
      return { messageId: fake.people.says(chat, user, text) };
    }
    case 'presses': {
      const { chat, user, data } = pressSchema.parse(body);
      return { query: fake.people.presses(chat, user, data) };
    }
    case 'transcript':
      return {
        messages: fake
          .transcript(chatSchema.parse(body).chat)
          .map((message) => ({ ...message, file: message.file?.name })),
      };
    case 'fault': {
      const { method, fault, times } = faultSchema.parse(body);
      fake.faults.next(method, fault, times);
      return {};
    }
    case 'reset':
      for (const chat of fake.state.chats.values()) {
        chat.messages.clear();
        chat.drafts.length = 0;
      }
      fake.calls.length = 0;
      fake.callCounts.clear();
      fake.updates.deliveredAt.clear();
      fake.updates.confirmDelays.length = 0;
      return {};
    default:
      return { error: `there is no control called ${path}` };
  }
}
