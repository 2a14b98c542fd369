/**
 * Turns end to end: a message at the fake Telegram, through inbox, lane, model call over HTTP, ledger, outbox, to the
 * reply at the fake Telegram. Everything is real and in processes of its own; only the model has no latency.
 *
 *   ./switchyard bench turns --json [--backend postgres|redis]
 *
 * Without `--backend` both run one after the other; the last line then has the figures of `postgres` and, under
 * `redis`, those of Redis.
 */
import { parseArgs } from 'node:util';
import pg from 'pg';
import { z } from 'zod';
import { quantile, round, Stage } from './support/stage.ts';

const sessions = 100;
const messagesPerSession = 20;
const quietChats = 20;
const quietRounds = 15;
const firstLoadChat = 10_001;
const firstQuietChat = 50_001;
const giveUpMs = 120_000;

interface Figures {
  readonly backend: string;
  /** Replies delivered per second while 100 sessions have messages waiting. */
  readonly turns_per_s: number;
  /** One message at a time: from the message to its reply, the model's zero latency included. */
  readonly overhead_ms_p50: number;
  readonly overhead_ms_p99: number;
  /** From the message to the first piece of the answer on the screen, median. */
  readonly first_token_ms: number;
  readonly lost: number;
  readonly duplicated: number;
  readonly reordered: number;
}

const deliveriesSchema = z.object({
  deliveries: z.array(z.object({ chat: z.number(), text: z.string(), sentAt: z.number() })),
  drafts: z.array(z.object({ chat: z.number(), at: z.number(), length: z.number() })),
});
const injectedSchema = z.object({ injected: z.array(z.object({ chat: z.number(), at: z.number() })) });

const { values } = parseArgs({ options: { json: { type: 'boolean' }, backend: { type: 'string' } } });
const backends = values.backend === undefined ? ['postgres', 'redis'] : [values.backend];
const results: Figures[] = [];
for (const backend of backends) {
  const figures = await measure(backend);
  results.push(figures);
  console.log(JSON.stringify(figures));
}
const [first, second] = results;
if (second !== undefined) console.log(JSON.stringify({ ...first, redis: second }));

async function measure(backend: string): Promise<Figures> {
  await using stage = new Stage();
  const databaseUrl = await stage.startPostgres();
  const redisUrl = backend === 'redis' ? await stage.startRedis() : undefined;
  const model = await stage.startNode('bench/support/echo-model.ts', [], {}, /"port"/);
  const { port } = z.object({ port: z.number() }).parse(JSON.parse(model.line));
  const telegram = await stage.startNode('tests/fakes/telegram/server.main.ts', [], {}, /"apiRoot"/);
  const { apiRoot, token } = z.object({ apiRoot: z.string(), token: z.string() }).parse(JSON.parse(telegram.line));
  const product = await stage.startNode(
    'app/switchyard.main.ts',
    ['up'],
    {
      HOME: stage.folder,
      DATABASE_URL: databaseUrl,
      ...(redisUrl === undefined ? { QUEUE_BACKEND: 'postgres' } : { REDIS_URL: redisUrl }),
      SWITCHYARD_DATA_DIR: `${stage.folder}/data`,
      SWITCHYARD_PORT: '0',
      SWITCHYARD_MODEL: 'vllm:echo',
      VLLM_BASE_URL: `http://127.0.0.1:${port}/v1`,
      TELEGRAM_BOT_TOKEN: token,
      TELEGRAM_API_ROOT: apiRoot,
      LOG_LEVEL: 'warn',
    },
    /Switchyard is running/,
  );
  await admitEveryone(databaseUrl, token.split(':')[0] ?? '');
  const control = async (what: string, body: object = {}): Promise<unknown> => {
    const response = await fetch(`${apiRoot}/control/${what}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    return await response.json();
  };
  const deliveries = async () => deliveriesSchema.parse(await control('deliveries'));

  const quiet = await measureQuiet(control, deliveries);
  await control('reset');
  const load = await measureLoad(control, deliveries);
  await stage.stop(product.child);
  return { backend, ...load, ...quiet };
}

/** Pairs every chat of the bench with one person and makes their lanes take messages one by one. */
async function admitEveryone(databaseUrl: string, account: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  const chats = [
    ...Array.from({ length: sessions }, (_, index) => firstLoadChat + index),
    ...Array.from({ length: quietChats }, (_, index) => firstQuietChat + index),
  ];
  await client.query(`insert into person (id, display_name, role) values (gen_random_uuid(), 'Bench', 'owner')`);
  await client.query(
    `insert into identity (id, person_id, channel, account, external_id, display_name)
     select gen_random_uuid(), (select id from person limit 1), 'telegram', $1, chat, 'Bench' from unnest($2::text[]) chat`,
    [account, chats.map(String)],
  );
  await client.query(
    `insert into thread (thread_key, conversation, queue_mode)
     select 'telegram:' || $1 || ':' || chat || ':-',
       jsonb_build_object('channel', 'telegram', 'account', $1::text, 'room', chat, 'kind', 'dm'), 'followup'
     from unnest($2::text[]) chat`,
    [account, chats.map(String)],
  );
  await client.end();
}

type Control = (what: string, body?: object) => Promise<unknown>;
type ReadDeliveries = () => Promise<z.infer<typeof deliveriesSchema>>;

async function measureQuiet(control: Control, deliveries: ReadDeliveries) {
  const overhead: number[] = [];
  const firstToken: number[] = [];
  for (let turn = 0; turn < quietChats * quietRounds; turn += 1) {
    const chat = firstQuietChat + (turn % quietChats);
    const text = `quiet turn ${turn}`;
    const { injected } = injectedSchema.parse(await control('inject', { count: 1, chats: 1, firstChat: chat, text }));
    const at = injected[0]?.at ?? 0;
    const { reply, draft } = await until(async () => {
      const seen = await deliveries();
      const found = seen.deliveries.find((item) => item.chat === chat && item.text === text);
      return found === undefined
        ? undefined
        : { reply: found, draft: seen.drafts.find((item) => item.chat === chat && item.at >= at && item.length > 0) };
    });
    // The first turn of a chat makes its session; it is a turn like any other and counts.
    overhead.push(reply.sentAt - at);
    firstToken.push((draft?.at ?? reply.sentAt) - at);
    if (turn % quietChats === quietChats - 1) await control('reset');
  }
  return {
    overhead_ms_p50: round(quantile(overhead, 0.5)),
    overhead_ms_p99: round(quantile(overhead, 0.99)),
    first_token_ms: round(quantile(firstToken, 0.5)),
  };
}

async function measureLoad(control: Control, deliveries: ReadDeliveries) {
  const count = sessions * messagesPerSession;
  const { injected } = injectedSchema.parse(
    await control('inject', { count, chats: sessions, firstChat: firstLoadChat, text: 'message {n}' }),
  );
  const startedAt = injected[0]?.at ?? 0;
  const seen = await until(
    async () => {
      const found = (await deliveries()).deliveries;
      return found.length >= count ? found : undefined;
    },
    async () => (await deliveries()).deliveries,
    500,
  );
  const lastAt = Math.max(...seen.map((item) => item.sentAt));
  const texts = new Set(seen.map((item) => `${item.chat} ${item.text}`));
  let reordered = 0;
  const latest = new Map<number, number>();
  for (const { chat, text } of [...seen].sort((a, b) => a.sentAt - b.sentAt)) {
    const number = Number(text.replace('message ', ''));
    if (number < (latest.get(chat) ?? -1)) reordered += 1;
    latest.set(chat, Math.max(number, latest.get(chat) ?? -1));
  }
  return {
    turns_per_s: round(seen.length / ((lastAt - startedAt) / 1000)),
    lost: count - texts.size,
    duplicated: seen.length - texts.size,
    reordered,
  };
}

/** Asks again until there is an answer; after the limit the fallback's, or an error. */
async function until<T>(probe: () => Promise<T | undefined>, fallback?: () => Promise<T>, everyMs = 10): Promise<T> {
  const giveUpAt = performance.now() + giveUpMs;
  for (;;) {
    const value = await probe();
    if (value !== undefined) return value;
    if (performance.now() > giveUpAt) {
      if (fallback !== undefined) return await fallback();
      throw new Error(`nothing happened for ${giveUpMs / 1000} s`);
    }
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
