/**
 * Deliveries and ingest through the fake platforms, each in its own process and at its real limits: 1,000 conversations
 * whose answers are written at the same time, then 2,000 events a second that are not for us.
 *
 *   ./switchyard bench delivery --json [--only streaming|ingest] [--scale 0.1]
 *
 * Takes about two minutes, more where other work keeps the machine busy; the `cpu` figures do not depend on that. The last
 * line has the figures; `by_channel` has those of each platform.
 */

import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { z } from 'zod';
import { type ChatFake, startDiscord, startSlack, startTelegram } from './support/chat-fakes.ts';
import { quantile, round, Stage } from './support/stage.ts';

const { values } = parseArgs({
  options: { json: { type: 'boolean' }, only: { type: 'string' }, scale: { type: 'string', default: '1' } },
});
/** Conversations by platform; `--scale` makes fewer of them. */
const share = (count: number) => Math.ceil(count * Number(values.scale));
const counts = { dms: share(550), groups: share(100), slack: share(150), discord: share(200) };
/** Conversations that begin every second; all of them stream by the time the first one ends. */
const startsPerSecond = 40;
const pieces = 95;
const pieceMs = 350;
const giveUpMs = 90_000;
const eventsPerSecond = 2000;
const eventSeconds = 10;

const timesSchema = z.object({
  open: z.number(),
  times: z.record(z.string(), z.object({ firstAt: z.number(), endAt: z.number(), calls: z.number() })),
});

await using stage = new Stage();
const databaseUrl = await stage.startPostgres();
const model = await stage.startNode('bench/support/stream-model.ts', [String(pieces), String(pieceMs)], {}, /"port"/);
const { port } = z.object({ port: z.number() }).parse(JSON.parse(model.line));
const fakes = [
  await startTelegram(stage, counts),
  await startSlack(stage, counts.slack),
  await startDiscord(stage, counts.discord),
];
const product = await stage.startNode(
  'app/switchyard.main.ts',
  ['up'],
  {
    HOME: stage.folder,
    DATABASE_URL: databaseUrl,
    QUEUE_BACKEND: 'postgres',
    SWITCHYARD_DATA_DIR: `${stage.folder}/data`,
    SWITCHYARD_PORT: '0',
    SWITCHYARD_MODEL: 'vllm:stream',
    SWITCHYARD_WORKER_SLOTS: '1000',
    VLLM_BASE_URL: `http://127.0.0.1:${port}/v1`,
    LOG_LEVEL: 'error',
    ...Object.assign({}, ...fakes.map((fake) => fake.env)),
  },
  /Switchyard is running/,
);
const client = new pg.Client({ connectionString: databaseUrl });
await client.connect();
await admit(client, fakes);
await Promise.all(fakes.map((fake) => fake.connected()));

const streaming = values.only === 'ingest' ? {} : await measureStreaming(fakes);
const ingest = values.only === 'streaming' ? {} : await measureIngest(client, fakes);
await client.end();
await stage.stop(product.child);
console.log(JSON.stringify({ ...streaming, ...ingest }));

/** Pairs everybody of the bench with one person. */
async function admit(db: pg.Client, all: readonly ChatFake[]): Promise<void> {
  await db.query(`insert into person (id, display_name, role) values (gen_random_uuid(), 'Bench', 'owner')`);
  for (const { channel, account, people } of all) {
    await db.query(
      `insert into identity (id, person_id, channel, account, external_id, display_name)
       select gen_random_uuid(), (select id from person limit 1), $1, $2, who, 'Bench' from unnest($3::text[]) who`,
      [channel, account, people],
    );
  }
}

async function readTimes(): Promise<z.infer<typeof timesSchema>> {
  return timesSchema.parse(await (await fetch(`http://127.0.0.1:${port}/times`)).json());
}

async function measureStreaming(all: readonly ChatFake[]) {
  const asks = all.flatMap((fake) =>
    fake.people.map((_, index) => ({ fake, index, key: `key-${fake.name}-${index}` })),
  );
  // Mixed, so that every platform has its share of every second.
  asks.sort((a, b) => a.index / a.fake.people.length - b.index / b.fake.people.length);
  const cpuBefore = cpuSeconds();
  const startedAt = performance.now();
  for (const [place, { fake, index, key }] of asks.entries()) {
    await fake.ask(index, key);
    const dueMs = ((place + 1) / startsPerSecond) * 1000 - (performance.now() - startedAt);
    if (dueMs > 0) await delay(dueMs);
  }
  let peak = 0;
  const deadline = performance.now() + giveUpMs;
  for (;;) {
    const { open, times } = await readTimes();
    peak = Math.max(peak, open);
    const ended = Object.values(times).filter((time) => time.endAt > 0).length;
    if (ended >= asks.length || performance.now() > deadline) break;
    await delay(500);
  }
  const { times } = await readTimes();
  const shown = await settledAnswers(all, asks.length, deadline + 20_000);
  const wanted = (key: string) =>
    Array.from({ length: pieces }, (_, index) => (index === 0 ? `[${key}]` : `piece ${index} of many.`)).join(' ');
  const paints: number[] = [];
  const lags: number[] = [];
  let lost = 0;
  let duplicated = 0;
  const byChannel: Record<string, { paints: number[]; lags: number[]; lost: number }> = {};
  for (const { fake, index, key } of asks) {
    const time = times[key];
    const found = shown.get(key) ?? [];
    const name = fake.name === 'telegram' ? (index < counts.dms ? 'telegram_dm' : 'telegram_group') : fake.name;
    byChannel[name] ??= { paints: [], lags: [], lost: 0 };
    const channel = byChannel[name];
    duplicated += Math.max(0, found.length - 1) + Math.max(0, (time?.calls ?? 1) - 1);
    const [answer] = found;
    if (answer === undefined || time === undefined || answer.text.replaceAll(/\s+/g, ' ').trim() !== wanted(key)) {
      lost += 1;
      channel.lost += 1;
      continue;
    }
    const painted = Math.min(answer.paintedAt, answer.signedAt ?? Number.POSITIVE_INFINITY);
    channel.paints.push(Math.max(0, painted - time.firstAt));
    channel.lags.push(answer.endedAt - time.endAt);
  }
  for (const channel of Object.values(byChannel)) {
    paints.push(...channel.paints);
    lags.push(...channel.lags);
  }
  const extra = await Promise.all(all.map((fake) => fake.extraRefusals()));
  return {
    conversations: asks.length,
    streaming_at_once: peak,
    first_paint_ms_p50: round(quantile(paints, 0.5)),
    first_paint_ms_p95: round(quantile(paints, 0.95)),
    final_lag_ms_p50: round(quantile(lags, 0.5)),
    final_lag_ms_p99: round(quantile(lags, 0.99)),
    extra_429: extra.reduce((sum, count) => sum + count, 0),
    extra_429_by: Object.fromEntries(all.map((fake, index) => [fake.name, extra[index]])),
    lost,
    duplicated,
    streaming_cpu_s: round(cpuSeconds() - cpuBefore),
    by_channel: Object.fromEntries(
      Object.entries(byChannel).map(([name, channel]) => [
        name,
        {
          first_paint_ms_p50: round(quantile(channel.paints, 0.5)),
          first_paint_ms_p95: round(quantile(channel.paints, 0.95)),
          final_lag_ms_p50: round(quantile(channel.lags, 0.5)),
          final_lag_ms_p99: round(quantile(channel.lags, 0.99)),
          lost: channel.lost,
        },
      ]),
    ),
  };
}

/** The answers once all of them stand in their last form, or what there is when the time is over. */
async function settledAnswers(all: readonly ChatFake[], count: number, deadline: number) {
  for (;;) {
    const shown = new Map((await Promise.all(all.map(async (fake) => [...(await fake.shown())]))).flat());
    const { rows } = await client.query<{ open: number }>(
      `select count(*)::int as open from outbox where state in ('pending', 'sending') or not is_final`,
    );
    if ((shown.size >= count && rows[0]?.open === 0) || performance.now() > deadline) return shown;
    await delay(1000);
  }
}

async function measureIngest(db: pg.Client, all: readonly ChatFake[]) {
  for (const fake of all) await fake.reset();
  const before = await inboxCount(db);
  const cpuBefore = cpuSeconds();
  const startedAt = performance.now();
  const made = await Promise.all(all.map((fake) => fake.chatter(eventsPerSecond / all.length, eventSeconds)));
  const events = made.reduce((sum, count) => sum + count, 0);
  const deadline = performance.now() + 20_000;
  while ((await inboxCount(db)) - before < events && performance.now() < deadline) await delay(50);
  const tookMs = performance.now() - startedAt;
  const stored = (await inboxCount(db)) - before;
  // The last events of a batch are confirmed with the next poll; a command is answered within a second.
  await delay(2000);
  const acks = (await Promise.all(all.map(async (fake) => await fake.acks()))).flat();
  const answers = (await Promise.all(all.map(async (fake) => await fake.firstAnswers()))).flat();
  return {
    events_per_s: round(stored / (tookMs / 1000)),
    ack_ms_p50: round(quantile(acks, 0.5)),
    ack_ms_p99: round(quantile(acks, 0.99)),
    ack_ms_max: round(quantile(acks, 1)),
    first_answer_ms_p50: round(quantile(answers, 0.5)),
    first_answer_ms_max: round(quantile(answers, 1)),
    events_lost: events - stored,
    cpu_us_per_event: Math.round(((cpuSeconds() - cpuBefore) * 1_000_000) / Math.max(1, stored)),
  };
}

async function inboxCount(db: pg.Client): Promise<number> {
  const { rows } = await db.query<{ count: number }>('select count(*)::int as count from inbox');
  return rows[0]?.count ?? 0;
}

/** Processor time the product has used; clock ticks of Linux are hundredths of a second. */
function cpuSeconds(): number {
  const fields =
    readFileSync(`/proc/${product.child.pid ?? 0}/stat`, 'utf8')
      .split(') ')[1]
      ?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
