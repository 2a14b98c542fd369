import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { accountOf } from '#bots/slack/slack-account.ts';
import type { Stage } from './stage.ts';

/** One conversation of the bench, and what became of it at its fake platform. */
interface Shown {
  /** First words of the answer on somebody's screen, in ms since the epoch. */
  readonly paintedAt: number;
  /** The platform's own sign that an answer is being written, where it is shown in place of the words. */
  readonly signedAt?: number | undefined;
  /** When the words took their last form. */
  readonly endedAt: number;
  readonly text: string;
}

/** A fake platform in its own process, as the bench drives it. */
export interface ChatFake {
  readonly name: string;
  readonly channel: string;
  readonly account: string;
  /** Settings that point the product at it. */
  readonly env: Readonly<Record<string, string>>;
  /** External ids of the people who will write. */
  readonly people: readonly string[];
  /** Person number `index` asks for an answer with this key. */
  ask(index: number, key: string): Promise<void>;
  /** Everything the bot shows that begins with a key, by key. */
  shown(): Promise<ReadonlyMap<string, readonly Shown[]>>;
  /** Calls that were refused for their rate, beyond the first of a conversation. */
  extraRefusals(): Promise<number>;
  /** Unaddressed talk in groups. @returns how many events. */
  chatter(perSecond: number, seconds: number): Promise<number>;
  /** From an event to our word that we have it, in ms; none where the platform wants no word. */
  acks(): Promise<readonly number[]>;
  /** From a command to its first answer, in ms, where the platform has a deadline for it. */
  firstAnswers(): Promise<readonly number[]>;
  reset(): Promise<void>;
  /** Resolves when the product receives from it. */
  connected(): Promise<void>;
}

type Control = (what: string, body?: object) => Promise<unknown>;

function controlOf(root: string): Control {
  return async (what, body = {}) => {
    const response = await fetch(`${root}/control/${what}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${what} was refused: ${await response.text()}`);
    return await response.json();
  };
}

async function untilConnected(control: Control): Promise<void> {
  const healthSchema = z.object({ connected: z.union([z.boolean(), z.number()]) });
  const giveUpAt = performance.now() + 20_000;
  while (Number(healthSchema.parse(await control('health')).connected) === 0) {
    if (performance.now() > giveUpAt) throw new Error('the product did not connect within 20 s');
    await delay(50);
  }
}

const keyOf = (text: string): string | undefined => /^\[(key-[\w-]+)\]/.exec(text)?.[1];

function byKey<T>(rows: readonly T[], text: (row: T) => string, shown: (row: T) => Shown): Map<string, Shown[]> {
  const found = new Map<string, Shown[]>();
  for (const row of rows) {
    const key = keyOf(text(row));
    if (key !== undefined) found.set(key, [...(found.get(key) ?? []), shown(row)]);
  }
  return found;
}

const telegramSchema = z.object({
  deliveries: z.array(
    z.object({ chat: z.number(), text: z.string(), sentAt: z.number(), editedAt: z.number().optional() }),
  ),
  drafts: z.array(z.object({ chat: z.number(), at: z.number(), length: z.number() })),
});

/** Private chats, which have drafts, and groups, which share twenty messages a minute. */
export async function startTelegram(
  stage: Stage,
  counts: { readonly dms: number; readonly groups: number },
): Promise<ChatFake> {
  const { line } = await stage.startNode('tests/fakes/telegram/server.main.ts', ['0', '', 'rates'], {}, /"apiRoot"/);
  const { apiRoot, token } = z.object({ apiRoot: z.string(), token: z.string() }).parse(JSON.parse(line));
  const control = controlOf(apiRoot);
  const firstChat = 10_001;
  const groupOf = (index: number) => -2_000_000 - index;
  for (let index = counts.dms; index < counts.dms + counts.groups; index += 1) {
    await control('group', { chat: groupOf(index) });
  }
  return {
    name: 'telegram',
    channel: 'telegram',
    account: token.split(':')[0] ?? '',
    env: { TELEGRAM_BOT_TOKEN: token, TELEGRAM_API_ROOT: apiRoot },
    people: Array.from({ length: counts.dms + counts.groups }, (_, index) => String(firstChat + index)),
    ask: async (index, key) => {
      const user = firstChat + index;
      await (index < counts.dms
        ? control('says', { chat: user, user, text: `say ${key}` })
        : control('says', { chat: groupOf(index), user, text: `@switchyard_bot say ${key}` }));
    },
    shown: async () => {
      const { deliveries, drafts } = telegramSchema.parse(await control('deliveries', { textMax: 4096 }));
      const firstDraft = new Map<number, number>();
      for (const { chat, at, length } of drafts) {
        if (length > 0) firstDraft.set(chat, Math.min(at, firstDraft.get(chat) ?? Number.POSITIVE_INFINITY));
      }
      return byKey(
        deliveries,
        (row) => row.text,
        ({ chat, text, sentAt, editedAt }) => ({
          text,
          paintedAt: firstDraft.get(chat) ?? sentAt,
          endedAt: editedAt ?? sentAt,
        }),
      );
    },
    extraRefusals: async () => {
      const { refused } = z.object({ refused: z.array(z.number()) }).parse(await control('throttled'));
      return refused.reduce((sum, count) => sum + count - 1, 0);
    },
    chatter: async (perSecond, seconds) =>
      z.object({ count: z.number() }).parse(await control('chatter', { perSecond, seconds })).count,
    firstAnswers: async () => [],
    acks: async () => z.object({ delays: z.array(z.number()) }).parse(await control('confirmed')).delays,
    reset: async () => void (await control('reset')),
    connected: async () => await untilConnected(control),
  };
}

const slackSchema = z.object({
  deliveries: z.array(
    z.object({
      channel: z.string(),
      text: z.string(),
      sentAt: z.number(),
      editedAt: z.number().optional(),
    }),
  ),
});
const statusesSchema = z.object({ statuses: z.array(z.object({ channel: z.string(), at: z.number() })) });
const pushesSchema = z.object({
  pushes: z.array(z.object({ createdAt: z.number(), ackedAt: z.number().optional() })),
});

/** Direct messages, each of which begins a thread; twenty of them a minute may be streamed. */
export async function startSlack(stage: Stage, people: number): Promise<ChatFake> {
  const { line } = await stage.startNode('tests/fakes/slack/server.main.ts', ['0', 'rates'], {}, /"apiUrl"/);
  const { apiUrl, botToken, appToken } = z
    .object({ apiUrl: z.string(), botToken: z.string(), appToken: z.string() })
    .parse(JSON.parse(line));
  const control = controlOf(new URL(apiUrl).origin);
  const ids = Array.from({ length: people }, (_, index) => `U${String(10_000_000 + index)}`);
  const dms = new Map<number, string>();
  return {
    name: 'slack',
    channel: 'slack',
    account: accountOf(botToken),
    env: { SLACK_BOT_TOKEN: botToken, SLACK_APP_TOKEN: appToken, SLACK_API_URL: apiUrl },
    people: ids,
    ask: async (index, key) => {
      const user = ids[index] ?? '';
      if (!dms.has(index)) {
        const { channel } = z.object({ channel: z.string() }).parse(await control('dm', { user }));
        dms.set(index, channel);
      }
      await control('says', { channel: dms.get(index), user, text: `say ${key}` });
    },
    shown: async () => {
      const { deliveries } = slackSchema.parse(await control('deliveries', { textMax: 12_000 }));
      const { statuses } = statusesSchema.parse(await control('statuses'));
      const firstStatus = new Map<string, number>();
      for (const { channel, at } of statuses) if (!firstStatus.has(channel)) firstStatus.set(channel, at);
      return byKey(
        deliveries,
        (row) => row.text,
        ({ channel, text, sentAt, editedAt }) => ({
          text,
          paintedAt: sentAt,
          signedAt: firstStatus.get(channel),
          endedAt: editedAt ?? sentAt,
        }),
      );
    },
    extraRefusals: async () => {
      const { throttled } = z.object({ throttled: z.record(z.string(), z.number()) }).parse(await control('counts'));
      return Object.values(throttled).reduce((sum, count) => sum + count, 0);
    },
    chatter: async (perSecond, seconds) =>
      z.object({ count: z.number() }).parse(await control('chatter', { perSecond, seconds })).count,
    firstAnswers: async () => [],
    acks: async () =>
      pushesSchema
        .parse(await control('pushes'))
        .pushes.map(({ createdAt, ackedAt }) => (ackedAt ?? Number.POSITIVE_INFINITY) - createdAt),
    reset: async () => void (await control('reset')),
    connected: async () => await untilConnected(control),
  };
}

const discordSchema = z.object({
  deliveries: z.array(z.object({ text: z.string(), sentAt: z.number(), editedAt: z.number().optional() })),
});

/** Direct messages, and groups with slash commands among their talk; fifty calls a second for all of them. */
export async function startDiscord(stage: Stage, people: number): Promise<ChatFake> {
  const { line } = await stage.startNode('tests/fakes/discord/server.main.ts', [], {}, /"apiUrl"/);
  const { apiUrl, token } = z.object({ apiUrl: z.string(), token: z.string() }).parse(JSON.parse(line));
  const control = controlOf(new URL(apiUrl).origin);
  const ids = Array.from({ length: people }, (_, index) => String(600_000_000_000_000_000n + BigInt(index)));
  const dms = new Map<number, string>();
  return {
    name: 'discord',
    channel: 'discord',
    account: Buffer.from(token.split('.')[0] ?? '', 'base64').toString(),
    env: { DISCORD_BOT_TOKEN: token, DISCORD_API_URL: apiUrl },
    people: ids,
    ask: async (index, key) => {
      const user = ids[index] ?? '';
      if (!dms.has(index)) {
        dms.set(index, z.object({ channel: z.string() }).parse(await control('dm', { user })).channel);
      }
      await control('says', { channel: dms.get(index), user, text: `say ${key}` });
    },
    shown: async () =>
      byKey(
        discordSchema.parse(await control('deliveries', { textMax: 4000 })).deliveries,
        (row) => row.text,
        ({ text, sentAt, editedAt }) => ({ text, paintedAt: sentAt, endedAt: editedAt ?? sentAt }),
      ),
    extraRefusals: async () => {
      const { routes } = z.object({ routes: z.record(z.string(), z.number()) }).parse(await control('throttled'));
      const byChannel = new Map<string, number>();
      for (const [route, count] of Object.entries(routes)) {
        const channel = route.split(':')[1] ?? '';
        byChannel.set(channel, (byChannel.get(channel) ?? 0) + count);
      }
      return [...byChannel.values()].reduce((sum, count) => sum + count - 1, 0);
    },
    chatter: async (perSecond, seconds) =>
      z.object({ count: z.number() }).parse(await control('chatter', { perSecond, seconds, user: ids[0] })).count,
    acks: async () => [],
    firstAnswers: async () =>
      z
        .object({ acks: z.array(z.object({ answeredAfterMs: z.number().optional() })) })
        .parse(await control('acks'))
        .acks.map(({ answeredAfterMs }) => answeredAfterMs ?? Number.POSITIVE_INFINITY),
    reset: async () => void (await control('reset')),
    connected: async () => await untilConnected(control),
  };
}
