import { chmodSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, inject, test, vi } from 'vitest';
import { openEngine } from '#workers/sandbox/docker-engine.ts';
import { awayFromMidnight } from '../support/away-from-midnight.ts';
import {
  answersIn,
  clerk,
  clerkBrain,
  death,
  expectNothingLostOrDoubled,
  patienceMs,
  prepareCrew,
  settled,
  until,
} from '../support/crash-stage.ts';
import { owner, Product } from '../support/product.ts';
import { RedisProcess } from '../support/redis-process.ts';
import { containerOf, inWorkspace } from '../support/workspace.ts';

vi.setConfig({ testTimeout: 300_000 });

const chat = 2001;
const backends = ['postgres', 'redis'] as const;

/** The queue of a test: none to start for Postgres, an own server for Redis. */
async function openBackend(
  kind: (typeof backends)[number],
): Promise<{ readonly env: Record<string, string>; readonly redis: RedisProcess | undefined } & AsyncDisposable> {
  const redis = kind === 'redis' ? await RedisProcess.start() : undefined;
  return {
    env: redis === undefined ? {} : { QUEUE_BACKEND: 'redis', REDIS_URL: redis.url },
    redis,
    [Symbol.asyncDispose]: async () => await redis?.[Symbol.asyncDispose](),
  };
}

async function startBoth(product: Product, env: Record<string, string> = {}): Promise<void> {
  await Promise.all([product.start('gateway'), product.start('worker', env)]);
}

function says(product: Product, text: string, room = chat): void {
  product.telegram.people.says(room, chat, text);
}

async function isStreaming(product: Product): Promise<void> {
  await product.telegram.waitFor(
    () => product.telegram.drafts(chat).some((draft) => draft.text.includes('word')),
    patienceMs,
  );
}

test.each(backends)(
  'a worker killed while a model streams: the call is made again, answered once, and its money is spent once (%s)',
  async (kind) => {
    await awayFromMidnight();
    await using backend = await openBackend(kind);
    await using product = await prepareCrew([chat], {
      env: { ...backend.env, SWITCHYARD_LIMIT_MODEL_SECONDS: '60' },
      budget: 'budget: { daily_usd: 5 }',
    });
    await startBoth(product);
    says(product, 'endless story');
    await isStreaming(product);
    await product.kill('worker');
    await product.start('worker');
    await settled(product);
    await expectNothingLostOrDoubled(product, new Map([[chat, ['endless story']]]));
    expect(answersIn(product, chat)).toEqual(['endless story']);
    expect(product.model.requestCount()).toBe(2);

    // The dead worker's hold falls when its time is over; the clock is moved to it.
    await product.database.query(`update hold set expires_at = clock_timestamp() where state = 'open'`);
    await until(product, patienceMs, async () => {
      const rows = await product.database.query(`select state, amount_micros::text from hold where state = 'open'`);
      return rows.length === 0 ? true : rows;
    });
    const [budget] = await product.database.query<{ held: string; spent: string; booked: string; charges: number }>(
      `select b.held_micros::text as held, b.spent_micros::text as spent,
         (select coalesce(sum(cost_micros), 0)::text from ledger) as booked,
         (select count(*)::int from ledger where cost_micros > 0) as charges from budget b`,
    );
    expect(budget?.held).toBe('0');
    expect(budget?.spent).toBe(budget?.booked);
    expect(budget?.charges).toBe(1);
  },
);

test('in a group the message that was being written is continued by edits, not posted again', async () => {
  await using product = await prepareCrew([chat]);
  product.telegram.people.group(-900);
  await startBoth(product);
  says(product, '@switchyard_bot endless story', -900);
  await until(product, patienceMs, async () => {
    const rows = await product.database.query(`select 1 from outbox where platform_ids is not null`);
    return rows.length > 0 ? true : rows;
  });
  await product.kill('worker');
  await product.start('worker');
  await settled(product);
  const said = product.telegram.said(-900);
  expect(said).toHaveLength(1);
  expect(said[0]?.text).toMatch(/^\[endless story\] (word ?){100}$/);
  expect(said[0]?.edits).toBeGreaterThan(0);
});

test.each(backends)(
  'a worker killed while a command runs: it is not run again and the model is told that its outcome is unknown (%s)',
  async (kind) => {
    await using backend = await openBackend(kind);
    await using product = await prepareCrew([chat], { env: backend.env });
    await startBoth(product);
    says(product, 'exec job: echo begun >> log.txt; sleep 20');
    await inWorkspace(product, 'grep -q begun log.txt');
    await product.kill('worker');
    await product.start('worker');
    await product.hears(chat, /^\[exec job: [^\]]+\] Outcome unknown: the worker was interrupted/, patienceMs);
    says(product, 'exec look: cat log.txt');
    await product.hears(chat, /^\[exec look: cat log\.txt\] Exit code 0 [^\n]*\nbegun$/, patienceMs);
    await settled(product);
    const starts = await product.database.query(`select 1 from event where kind = 'tool_started'`);
    expect(starts).toHaveLength(2);
  },
);

test('a container killed during a command: the model reads why, and the next call has the same workspace', async () => {
  await using product = await prepareCrew([chat]);
  await startBoth(product);
  says(product, 'exec job: echo kept > kept.txt; sleep 60');
  await inWorkspace(product, 'grep -q kept kept.txt');
  const before = await containerOf(product);
  const engine = openEngine(inject('dockerHost'));
  await engine.getContainer(before ?? '').remove({ force: true });
  await product.hears(chat, /^\[exec job: [^\]]+\] .*sandbox.*/i, patienceMs);
  says(product, 'exec look: cat kept.txt');
  await product.hears(chat, /^\[exec look: cat kept\.txt\] Exit code 0 [^\n]*\nkept$/, patienceMs);
  expect(await containerOf(product)).not.toBe(before);
  const [result] = await product.database.query<{ text: string }>(
    `select payload ->> 'text' as text from event where kind = 'tool_finished' order by seq limit 1`,
  );
  expect(result?.text).not.toMatch(/operator|reason of its own/);
});

test.each([
  ['postgres', 'that is there already'],
  ['postgres', 'that comes later'],
  ['redis', 'that is there already'],
  ['redis', 'that comes later'],
] as const)(
  'a worker that is stopped in the middle of a turn hands it back, and another goes on at once (%s, one %s)',
  async (kind, other) => {
    await awayFromMidnight();
    await using backend = await openBackend(kind);
    await using product = await prepareCrew([chat], { env: backend.env, budget: 'budget: { daily_usd: 5 }' });
    await startBoth(product, { SWITCHYARD_LIMIT_DRAIN_SECONDS: '0' });
    says(product, 'endless story');
    await isStreaming(product);
    if (other === 'that is there already') await product.start('worker');
    expect(await product.kill('worker', 'SIGTERM')).toBe('exit 0');
    if (other === 'that comes later') await product.start('worker');
    await settled(product);
    expect(answersIn(product, chat)).toEqual(['endless story']);
    await expectNothingLostOrDoubled(product, new Map([[chat, ['endless story']]]));
    expect(product.output).not.toContain('took lanes from dead workers');
    expect(await product.database.query('select 1 from worker')).toHaveLength(1);
    const [budget] = await product.database.query<{ held: string; spent: string; booked: string; kinds: string[] }>(
      `select b.held_micros::text as held, b.spent_micros::text as spent,
         (select coalesce(sum(cost_micros), 0)::text from ledger) as booked,
         (select array_agg(kind order by created_at) from ledger) as kinds from budget b`,
    );
    // What the cut call cost is estimated; the one that was made again is booked as the vendor says.
    expect(budget).toEqual({ held: '0', spent: budget?.booked, booked: budget?.booked, kinds: ['estimate', 'charge'] });
  },
);

test('a worker that is stopped with patience ends its turn first, answers, and exits cleanly', async () => {
  await using product = await prepareCrew([chat]);
  await startBoth(product, { SWITCHYARD_LIMIT_DRAIN_SECONDS: '60' });
  says(product, 'slow story');
  await isStreaming(product);
  expect(await product.kill('worker', 'SIGTERM')).toBe('exit 0');
  expect(product.model.requestCount()).toBe(1);
  const [turn] = await product.database.query<{ state: string }>('select state from turn');
  expect(turn?.state).toBe('done');
  await product.start('worker');
  await settled(product);
  expect(answersIn(product, chat)).toEqual(['slow story']);
});

test.each(backends)('of two workers one is killed: the other takes its lanes, each turn once (%s)', async (kind) => {
  const chats = [2001, 2002, 2003, 2004];
  await using backend = await openBackend(kind);
  await using product = await prepareCrew(chats, { env: backend.env });
  await Promise.all([product.start('gateway'), product.start('worker'), product.start('worker')]);
  const sent = new Map<number, string[]>(chats.map((room) => [room, []]));
  for (const number of [1, 2, 3, 4, 5]) {
    for (const room of chats) {
      const text = `${number === 2 ? 'slow' : 'save'} ${room}-${number}`;
      sent.get(room)?.push(text);
      product.telegram.people.says(room, room, text);
    }
  }
  // In the middle: some are done, the rest is not.
  await until(product, patienceMs, async () => {
    const rows = await product.database.query(`select 1 from turn where state = 'done'`);
    return rows.length >= chats.length ? true : rows.length;
  });
  await product.kill('worker');
  await settled(product);
  await expectNothingLostOrDoubled(product, sent);
});

test.each(backends)(
  'a worker that froze and wakes up late finds its lane taken and writes nothing (%s)',
  async (kind) => {
    await using backend = await openBackend(kind);
    await using product = await prepareCrew([chat], { env: backend.env });
    await product.start('gateway');
    const frozen = await product.start('worker');
    says(product, 'endless story');
    await isStreaming(product);
    frozen.child.kill('SIGSTOP');
    await product.start('worker');
    await product.hears(chat, /^\[endless story\]/, patienceMs);
    const [{ now } = { now: '' }] = await product.database.query<{ now: string }>(
      'select clock_timestamp()::text as now',
    );
    frozen.child.kill('SIGCONT');
    await until(product, patienceMs, async () => {
      const rows = await product.database.query('select 1 from worker where beat_at > $1::timestamptz', [now]);
      return rows.length === 2 ? true : rows;
    });
    says(product, 'save afterwards');
    await product.hears(chat, /^\[save afterwards\]/, patienceMs);
    expect(await product.kill('worker', 'SIGTERM')).toBe('exit 0');
    await settled(product);
    await expectNothingLostOrDoubled(product, new Map([[chat, ['endless story', 'save afterwards']]]));
    expect(answersIn(product, chat)).toEqual(['endless story', 'save afterwards']);
    const said = await product.database.query(
      `select 1 from event where kind = 'assistant_message' and payload ->> 'parts' like '%endless story%'`,
    );
    expect(said).toHaveLength(1);
  },
);

test('Redis killed and back empty: what is written meanwhile is accepted and answered once, in order', async () => {
  await using backend = await openBackend('redis');
  await using product = await prepareCrew([chat], { env: backend.env });
  await startBoth(product);
  says(product, 'note before');
  await product.hears(chat, /^\[note before\]/, patienceMs);
  await backend.redis?.kill();
  says(product, 'note meanwhile');
  says(product, 'save meanwhile');
  await until(product, patienceMs, async () => {
    const rows = await product.database.query(`select 1 from turn`);
    return rows.length === 3 ? true : rows.length;
  });
  await backend.redis?.start();
  await settled(product);
  await expectNothingLostOrDoubled(product, new Map([[chat, ['note before', 'note meanwhile', 'save meanwhile']]]));
  expect(answersIn(product, chat)).toEqual(['note before', 'note meanwhile', 'save meanwhile']);
});

test('of two gateways the one that holds the bot is killed: the other takes it over, nothing lost, in order', async () => {
  const chats = [2001, 2002];
  await using product = await prepareCrew(chats);
  await product.start('gateway', { FAIL_AT: 'inbox.routed:3' });
  await product.telegram.waitFor(() => product.telegram.callsOf('getUpdates').length > 0, patienceMs);
  await Promise.all([product.start('gateway'), product.start('worker')]);
  const sent = new Map<number, string[]>(chats.map((room) => [room, []]));
  for (const number of [1, 2, 3]) {
    for (const room of chats) {
      sent.get(room)?.push(`save ${room}-${number}`);
      product.telegram.people.says(room, room, `save ${room}-${number}`);
    }
  }
  expect(await death(product, 'gateway')).toBe('SIGKILL');
  for (const room of chats) {
    sent.get(room)?.push(`note ${room}-late`);
    product.telegram.people.says(room, room, `note ${room}-late`);
  }
  await settled(product);
  await expectNothingLostOrDoubled(product, sent);
  for (const [room, texts] of sent) expect(answersIn(product, room)).toEqual(texts);
});

test('the embedded database killed under a running `up`: it comes back, and what was written meanwhile is answered once', async () => {
  await using product = await Product.prepare({ agents: [clerk], script: clerkBrain() });
  // Passable for the server's user, so that the cluster lies inside and goes with the folder, also for root.
  chmodSync(product.folder, 0o755);
  await product.start('up', { DATABASE_URL: '' });
  await product.pairOwner();
  const says = (text: string): number => product.telegram.people.says(owner, owner, text);
  says('/queue followup');
  await product.hears(owner, /Queue mode followup/, patienceMs);
  const texts: string[] = [];
  for (const round of [1, 2]) {
    for (const number of [1, 2, 3, 4]) {
      texts.push(`${number === 2 ? 'slow' : 'note'} ${round}-${number}`);
      says(texts.at(-1) ?? '');
    }
    await product.hears(owner, new RegExp(`^\\[note ${round}-1\\]`), patienceMs);
    // The log names the server each time it is up.
    const log = readFileSync(path.join(product.folder, 'data/switchyard.log'), 'utf8');
    process.kill(Number([...log.matchAll(/"serverPid":(\d+)/g)].at(-1)?.[1]), 'SIGKILL');
    texts.push(`note ${round}-meanwhile`);
    says(texts.at(-1) ?? '');
    await product.hears(owner, new RegExp(`^\\[note ${round}-meanwhile\\]`), patienceMs);
  }
  // A message that was being sent when the database went is recorded when it is back, not sent again.
  expect(answersIn(product, owner)).toEqual(texts);
});
