import { expect, test } from 'vitest';
import type { FailpointName } from '#core/kit/failpoint.ts';
import type { Product } from '../support/product.ts';
import { RedisProcess } from '../support/redis-process.ts';
import { answersIn, expectNothingLostOrDoubled, prepareCrew, settled } from './crash-stage.ts';

const chats = [2001, 2002, 2003];
const messagesEach = 4;

/** Where a process dies, which one it is, and how many times it passes there first. */
const gatewayPoints: readonly (readonly [FailpointName, number])[] = [
  ['inbox.before', 2],
  ['inbox.committed', 2],
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

async function expectAllAnsweredOnce(product: Product, sent: ReadonlyMap<number, readonly string[]>): Promise<void> {
  await settled(product);
  await expectNothingLostOrDoubled(product, sent);
  for (const [chat, texts] of sent) expect(answersIn(product, chat)).toEqual(texts);
}

test.each(gatewayPoints)(
  'a gateway killed at %s loses no message, doubles none and keeps their order',
  async (point, hit) => {
    await using product = await prepareCrew(chats);
    await product.kill('gateway', 'SIGTERM');
    await product.start('gateway', { FAIL_AT: `${point}:${hit}` });
    const sent = everyoneWrites(product);
    expect(await product.ended('gateway')).toBe('SIGKILL');
    // Written while nobody listens: it must not overtake what was stored before the crash.
    for (const chat of chats) {
      sent.get(chat)?.push(`note ${chat}-late`);
      product.telegram.people.says(chat, chat, `note ${chat}-late`);
    }
    await product.start('gateway');
    await expectAllAnsweredOnce(product, sent);
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

async function dieAndRevive(product: Product, point: FailpointName, hit: number): Promise<void> {
  await product.kill('worker', 'SIGTERM');
  await product.start('worker', { FAIL_AT: `${point}:${hit}` });
  const sent = everyoneWrites(product);
  expect(await product.ended('worker')).toBe('SIGKILL');
  await product.start('worker');
  await expectAllAnsweredOnce(product, sent);
}

test.each([
  ['delivery.claimed', 3],
  ['delivery.sent', 3],
] as const)(
  'a worker killed at %s never posts an answer twice by itself; the person is told and /resend gives what is missing',
  async (point, hit) => {
    await using product = await prepareCrew(chats);
    await product.kill('worker', 'SIGTERM');
    await product.start('worker', { FAIL_AT: `${point}:${hit}` });
    const sent = everyoneWrites(product);
    expect(await product.ended('worker')).toBe('SIGKILL');
    await product.start('worker');
    await settled(product);
    await expectNothingLostOrDoubled(product, sent);

    const unknown = await product.database.query<{ room: string; count: number }>(
      `select conversation ->> 'room' as room, count(*)::int as count from outbox where state = 'unknown' group by 1`,
    );
    expect(unknown.length).toBeGreaterThan(0);
    for (const chat of chats) {
      const notices = product.telegram.said(chat).filter((message) => message.text.includes('may have been lost'));
      expect(notices).toHaveLength(unknown.find((row) => row.room === String(chat))?.count ?? 0);
    }
    const before = new Map(chats.map((chat) => [chat, answersIn(product, chat)]));
    for (const { room } of unknown) product.telegram.people.says(Number(room), Number(room), '/resend');
    await settled(product);
    for (const [chat, texts] of sent) {
      const answers = answersIn(product, chat);
      expect([...new Set(answers)].sort()).toEqual([...texts].sort());
      const resent = unknown.find((row) => row.room === String(chat))?.count ?? 0;
      expect(answers).toHaveLength((before.get(chat)?.length ?? 0) + resent);
    }
  },
);
