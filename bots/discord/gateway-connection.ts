import { Client, GatewayIntentBits, Options, Partials } from 'discord.js';
import { z } from 'zod';
import { aborted } from '#core/kit/aborted.ts';
import type { Clock } from '#core/kit/clock.ts';
import { AppError } from '#core/kit/errors.ts';
import type { Log } from '#core/kit/log.ts';
import type { ChannelHealth } from '../channel.ts';
import type { DiscordApi } from './discord-api.ts';
import type { Dispatch } from './dispatch-reader.ts';
import { missingPrivileged } from './privileged-intents.ts';

/** What we ask the gateway for. Message Content is the one that has to be switched on for the application. */
const intents = [
  GatewayIntentBits.Guilds,
  GatewayIntentBits.GuildMessages,
  GatewayIntentBits.GuildMessageReactions,
  GatewayIntentBits.DirectMessages,
  GatewayIntentBits.DirectMessageReactions,
  GatewayIntentBits.MessageContent,
];

const backOffMinMs = 500;
const backOffMaxMs = 30_000;
/** A bot may identify a thousand times a day; more resets its token. */
const haltRetryMs = 300_000;

const portal = 'https://discord.com/developers/applications';

const dispatchSchema = z.object({ t: z.string(), s: z.number(), d: z.unknown() });
const readySchema = z.object({ session_id: z.string(), user: z.object({ id: z.string(), username: z.string() }) });

export interface ConnectionDeps {
  readonly token: string;
  readonly apiUrl: string;
  /** The bot's user id, as the token says. */
  readonly me: string;
  readonly api: DiscordApi;
  readonly log: Log;
  readonly clock: Clock;
  readonly onDispatch: (dispatch: Dispatch) => void;
  readonly reportHealth: (health: ChannelHealth) => void;
}

/**
 * Keeps one gateway connection until the signal aborts. The library resumes what breaks; what it gives up on is begun
 * anew. Refused tokens and intents halt this channel, say what is missing, and are tried again every few minutes.
 */
export async function keepConnected(deps: ConnectionDeps, signal: AbortSignal): Promise<void> {
  const { log, clock, reportHealth } = deps;
  reportHealth({ state: 'starting', detail: 'connecting to Discord' });
  let failures = 0;
  while (!signal.aborted) {
    const end = await connect(deps, signal);
    if (signal.aborted) break;
    if (end.kind === 'refused') {
      const detail = await explain(deps.api, end.code);
      reportHealth({ state: 'halted', detail });
      log.error({ err: new AppError('config.invalid', detail) }, 'discord refused the bot');
      await pause(clock, haltRetryMs, signal);
      continue;
    }
    failures = end.wasConnected ? 1 : failures + 1;
    reportHealth({ state: 'disconnected', detail: end.reason });
    log.warn({ reason: end.reason, failures }, 'discord connection failed');
    await pause(
      clock,
      Math.min(backOffMaxMs, backOffMinMs * 2 ** Math.min(failures, 10)) * (0.5 + Math.random() / 2),
      signal,
    );
  }
  reportHealth({ state: 'disconnected', detail: 'stopped' });
}

type End =
  | { readonly kind: 'refused'; readonly code: number }
  | { readonly kind: 'lost'; readonly reason: string; readonly wasConnected: boolean };

const tokenRefused = 4_004;
const refusals: ReadonlySet<number> = new Set([4_004, 4_010, 4_011, 4_012, 4_013, 4_014]);

/** Connects once; resolves when the connection is over for good, or the signal aborts. */
async function connect(deps: ConnectionDeps, signal: AbortSignal): Promise<End> {
  const { log, reportHealth } = deps;
  const client = createClient(deps.apiUrl);
  const over = Promise.withResolvers<End>();
  let session = '';
  let wasConnected = false;
  client.on('raw', (packet: unknown) => {
    const dispatch = dispatchSchema.safeParse(packet);
    if (!dispatch.success || signal.aborted) return;
    const { t, s, d } = dispatch.data;
    if (t === 'READY') {
      const ready = readySchema.safeParse(d).data;
      if (ready === undefined || ready.user.id !== deps.me) {
        over.resolve({ kind: 'refused', code: tokenRefused });
        return;
      }
      session = ready.session_id;
      wasConnected = true;
      reportHealth({ state: 'connected', detail: `connected as ${ready.user.username}` });
    }
    if (t === 'RESUMED') reportHealth({ state: 'connected', detail: 'connected again, nothing was missed' });
    deps.onDispatch({ t, s, d, session, at: deps.clock.now().getTime() });
  });
  // Without a listener any trouble inside the library would end the process.
  client.on('error', (err) => log.warn({ reason: err.message }, 'discord client reported a failure'));
  client.on('shardError', (err) => log.debug({ reason: err.message }, 'discord connection reported a failure'));
  client.on('shardReconnecting', () => {
    reportHealth({ state: 'disconnected', detail: 'the connection broke and is being resumed' });
  });
  client.on('shardDisconnect', ({ code }) => over.resolve({ kind: 'refused', code }));
  client.on('invalidated', () => over.resolve({ kind: 'lost', reason: 'the session was ended', wasConnected }));
  const stop = (): void => over.resolve({ kind: 'lost', reason: 'stopped', wasConnected });
  signal.addEventListener('abort', stop);
  client.login(deps.token).catch((err: unknown) => {
    const code = err instanceof Error ? Reflect.get(err, 'code') : undefined;
    if (code === 'TokenInvalid') over.resolve({ kind: 'refused', code: tokenRefused });
    else over.resolve({ kind: 'lost', reason: loginTrouble(err), wasConnected });
  });
  try {
    const end = await over.promise;
    return end.kind === 'refused' && !refusals.has(end.code)
      ? { kind: 'lost', reason: `Discord closed the connection (${end.code})`, wasConnected }
      : end;
  } finally {
    signal.removeEventListener('abort', stop);
    client.removeAllListeners();
    client.on('error', () => undefined);
    await client.destroy().catch(() => undefined);
  }
}

function createClient(apiUrl: string): Client {
  const client = new Client({
    intents,
    partials: [Partials.Channel, Partials.Message],
    allowedMentions: { parse: [] },
    makeCache: Options.cacheWithLimits({
      ...Options.DefaultMakeCacheSettings,
      MessageManager: 0,
      GuildMemberManager: 0,
      UserManager: 0,
      PresenceManager: 0,
      ReactionManager: 0,
    }),
    rest: { api: apiUrl, retries: 1 },
  });
  // The library would build its own picture of every server from these events. We do not read it, it costs memory, and
  // an event of a shape it does not expect would end the process.
  Reflect.set(client.ws, 'handlePacket', () => true);
  return client;
}

function loginTrouble(err: unknown): string {
  if (!(err instanceof Error)) return 'Discord cannot be reached';
  const inner = err.cause instanceof Error ? err.cause : err;
  const code: unknown = Reflect.get(inner, 'code');
  const status: unknown = Reflect.get(err, 'status');
  if (typeof status === 'number') return `Discord answered ${status}`;
  return `Discord cannot be reached (${typeof code === 'string' ? code : inner.message})`;
}

/** What is wrong and where to mend it, for each way Discord refuses a bot for good. */
async function explain(api: DiscordApi, code: number): Promise<string> {
  switch (code) {
    case tokenRefused:
      return `Discord does not accept the bot token; press "Reset Token" on the Bot page at ${portal} and set DISCORD_BOT_TOKEN to the new one`;
    case 4_014:
      return `Discord refuses the intents ${await missingIntents(api)}; switch them on at ${portal}, page Bot, Privileged Gateway Intents`;
    case 4_013:
      return 'Discord does not know one of the intents Guilds, Guild Messages, Guild Message Reactions, Direct Messages, Direct Message Reactions or Message Content; DISCORD_API_URL may point at an old server';
    case 4_011:
      return 'Discord wants this bot to be sharded: it is in more than 2,500 servers, which one connection cannot serve';
    case 4_012:
      return 'Discord does not know this version of its gateway; update the product, or check DISCORD_API_URL';
    default:
      return `Discord refuses the connection for good (${code})`;
  }
}

async function missingIntents(api: DiscordApi): Promise<string> {
  const flags = await api.application().then(
    (application) => application.flags,
    () => 0,
  );
  return missingPrivileged(flags).join(', ') || 'Message Content';
}

async function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  await Promise.race([clock.sleep(ms, signal).catch(() => undefined), aborted(signal)]);
}
