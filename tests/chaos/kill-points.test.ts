import { expect, test, vi } from 'vitest';
import type { FailpointName } from '#core/kit/failpoint.ts';
import {
  answersIn,
  death,
  expectNothingLostOrDoubled,
  patienceMs,
  prepareCrew,
  settled,
  until,
} from '../support/crash-stage.ts';
import type { Product } from '../support/product.ts';
import { RedisProcess } from '../support/redis-process.ts';

vi.setConfig({ testTimeout: 300_000 });

const chats = [2001, 2002, 2003];
const messagesEach = 4;

/** Where a process dies, which one it is, and how many times it passes there first. */
const gatewayPoints: readonly (readonly [FailpointName, number])[] = [
  ['inbox.before', 1],
  ['inbox.committed', 1],
  ['inbox.routed', 3],
  ['accept.committed', 2],
  ['wake.added', 2],
];
const workerPoints: readonly (readonly [FailpointName, number])[] = [
  ['claim.committed', 2],
  ['handler.mid', 3],
  ['finish.committed', 3],
  ['wake.readded', 2],
];

/** Everyone writes in turns; every other message is one whose effect can be counted. */
function everyoneWrites(product: Product): Map<number, string[]> {
  const sent = new Map<number, string[]>(chats.map((chat) => [chat, []]));
  for (let number = 1; number <= messagesEach; number += 1) {
    for (const chat of chats) {
      const text = `${number % 2 === 0 ? 'save' : 'note'} ${chat}-${number}`;
      sent.get(chat)?.push(text);
      product.telegram.people.says(chat, chat, text);
    }
  }
  return sent;
}

/**
 * Every message has exactly one answer in its chat, except what was on its way to Telegram when the worker died: that
 * is never repeated by itself, the person is told once, and /resend gives what is not known to be there.
 * @returns how many messages were on their way.
 */
async function expectAllAnswered(product: Product, sent: ReadonlyMap<number, readonly string[]>): Promise<number> {
  await settled(product);
  await expectNothingLostOrDoubled(product, sent);
  const unknown = await product.database.query<{ room: string; posted: number }>(
    `select conversation ->> 'room' as room, cardinality(posted_ids) as posted from outbox where state = 'unknown'`,
  );
  // What had already told its platform id is there for sure: sending again goes on behind it.
  const missing = (chat: number): number =>
    unknown.filter(({ room, posted }) => room === String(chat) && posted === 0).length;
  const isUnknown = (chat: number): boolean => unknown.some(({ room }) => room === String(chat));
  const before = new Map(chats.map((chat) => [chat, answersIn(product, chat)]));
  for (const chat of chats) {
    const notices = product.telegram.said(chat).filter((message) => message.text.includes('may have been lost'));
    expect(notices).toHaveLength(isUnknown(chat) ? 1 : 0);
    if (isUnknown(chat)) product.telegram.people.says(chat, chat, '/resend');
    else expect(before.get(chat)).toEqual(sent.get(chat));
  }
  await until(product, patienceMs, async () => {
    const rows = await product.database.query(`select key from outbox where state <> 'sent'`);
    return rows.length === 0 ? true : rows;
  });
  for (const chat of chats) {
    const answers = answersIn(product, chat);
    expect([...new Set(answers)].sort()).toEqual([...(sent.get(chat) ?? [])].sort());
    expect(answers).toHaveLength((before.get(chat)?.length ?? 0) + missing(chat));
  }
  return unknown.length;
}

test.each(gatewayPoints)(
  'a gateway killed at %s loses no message, doubles none and keeps their order',
  async (point, hit) => {
    await using product = await prepareCrew(chats);
    await Promise.all([product.start('gateway', { FAIL_AT: `${point}:${hit}` }), product.start('worker')]);
    const sent = everyoneWrites(product);
    expect(await death(product, 'gateway')).toBe('SIGKILL');
    // Written while nobody listens: it must not overtake what was stored before the crash.
    for (const chat of chats) {
      sent.get(chat)?.push(`note ${chat}-late`);
      product.telegram.people.says(chat, chat, `note ${chat}-late`);
    }
    await product.start('gateway');
    expect(await expectAllAnswered(product, sent)).toBe(0);
  },
);

test.each(workerPoints)(
  'a worker killed at %s leaves every turn to the next one, done once and in order',
  async (point, hit) => {
    await using product = await prepareCrew(chats);
    await dieAndRevive(product, point, hit);
  },
);

test.each(workerPoints)('the same on Redis: a worker killed at %s', async (point, hit) => {
  await using redis = await RedisProcess.start();
  await using product = await prepareCrew(chats, { env: { QUEUE_BACKEND: 'redis', REDIS_URL: redis.url } });
  await dieAndRevive(product, point, hit);
});

async function dieAndRevive(product: Product, point: FailpointName, hit: number): Promise<number> {
  await Promise.all([product.start('gateway'), product.start('worker', { FAIL_AT: `${point}:${hit}` })]);
  const sent = everyoneWrites(product);
  expect(await death(product, 'worker')).toBe('SIGKILL');
  await product.start('worker');
  return await expectAllAnswered(product, sent);
}

test.each([
  ['delivery.claimed', 3],
  ['delivery.sent', 3],
] as const)(
  'a worker killed at %s never posts an answer twice by itself; the person is told and /resend gives what is missing',
  async (point, hit) => {
    await using product = await prepareCrew(chats);
    expect(await dieAndRevive(product, point, hit)).toBeGreaterThan(0);
  },
);
