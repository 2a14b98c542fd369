import { createHash, timingSafeEqual } from 'node:crypto';
import type { Api } from 'grammy';
import type { ChannelRoute, HookReply, HookRequest } from '#core/inbox/channel-route.ts';
import { aborted } from '#core/kit/aborted.ts';
import type { Clock } from '#core/kit/clock.ts';
import { AppError } from '#core/kit/errors.ts';
import type { Log } from '#core/kit/log.ts';
import type { ChannelHealth, Ingest } from '../channel.ts';
import type { BotName } from './read-message.ts';
import { classifyTelegramError } from './telegram-errors.ts';
import { allowedUpdates, dedupKeyOf, updateEnvelopeSchema } from './update-schema.ts';
import { toVendorSignal } from './vendor-signal.ts';

/** Deliveries Telegram makes at once; each is one insert. */
const connectionsMax = 40;
/** How often Telegram is asked how its deliveries go, and whether somebody changed where they go. */
const checkMs = 30_000;
const backOffMinMs = 500;
const backOffMaxMs = 60_000;
const secretHeader = 'x-telegram-bot-api-secret-token';

export interface WebhookOptions {
  /** The public https address of the route below. */
  readonly url: string;
  /** 1-256 characters `A-Za-z0-9_-`; whoever does not send it is refused. */
  readonly secret: string;
}

export interface WebhookDeps {
  readonly api: Api;
  readonly log: Log;
  readonly clock: Clock;
  readonly reportHealth: (health: ChannelHealth) => void;
}

interface Open {
  readonly bot: BotName;
  readonly ingest: Ingest;
}

/** Receives updates by web hook instead of polling. */
export class Webhook {
  readonly #deps: WebhookDeps;
  readonly #options: WebhookOptions;
  readonly #secretDigest: Buffer;
  #open: Open | undefined;
  #isStoring = true;
  readonly #inFlight = new Set<Promise<void>>();

  constructor(deps: WebhookDeps, options: WebhookOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#secretDigest = digest(options.secret);
  }

  /** Where Telegram delivers. `path` is the last part of `WebhookOptions.url` below `/hooks/`. */
  route(path: string): ChannelRoute {
    return { path, handle: async (request) => await this.#handle(request) };
  }

  /**
   * Has updates delivered to the route until the signal aborts. The web hook stays set then: what is sent meanwhile
   * waits with Telegram for the next start.
   */
  async run(ingest: Ingest, signal: AbortSignal): Promise<void> {
    const { api, log, clock, reportHealth } = this.#deps;
    let failures = 0;
    reportHealth({ state: 'starting', detail: 'asking Telegram to deliver updates' });
    while (!signal.aborted) {
      try {
        const me = await api.raw.getMe(toVendorSignal(signal));
        // Open before it is set: the first delivery may come before the answer does.
        this.#open = { bot: { id: me.id, username: me.username }, ingest };
        await this.#set(signal);
        failures = 0;
        this.#reportConnected(me.username);
        await this.#watch(me.username, signal);
      } catch (err) {
        if (signal.aborted) break;
        const failure = classifyTelegramError(err);
        if (failure.kind === 'auth') {
          const detail = `Telegram does not accept the bot token (${failure.reason}); set TELEGRAM_BOT_TOKEN to a valid one and restart`;
          reportHealth({ state: 'halted', detail });
          log.error({ err: new AppError('config.invalid', detail) }, 'telegram token was refused');
          await aborted(signal);
          break;
        }
        failures += 1;
        const isOurs = failure.kind === 'bad_format';
        const detail = isOurs
          ? `Telegram does not take the web hook (${failure.reason}); correct SWITCHYARD_PUBLIC_URL or remove TELEGRAM_WEBHOOK_SECRET to poll`
          : failure.reason;
        reportHealth({ state: 'disconnected', detail });
        log[isOurs && failures === 1 ? 'error' : 'warn'](
          { reason: failure.reason, failures },
          'telegram web hook failed',
        );
        const backOff = Math.min(backOffMaxMs, backOffMinMs * 2 ** Math.min(failures, 8));
        await pause(clock, Math.max(failure.afterMs ?? 0, backOff), signal);
      }
    }
    this.#open = undefined;
    await Promise.allSettled(this.#inFlight);
    reportHealth({ state: 'disconnected', detail: 'stopped' });
  }

  #reportConnected(username: string): void {
    this.#deps.reportHealth({ state: 'connected', detail: `receiving by web hook as @${username}` });
  }

  async #set(signal: AbortSignal): Promise<void> {
    await this.#deps.api.raw.setWebhook(
      {
        url: this.#options.url,
        secret_token: this.#options.secret,
        allowed_updates: [...allowedUpdates],
        max_connections: connectionsMax,
        drop_pending_updates: false,
      },
      toVendorSignal(signal),
    );
  }

  /** Looks after the web hook until the signal aborts or Telegram cannot be asked. */
  async #watch(username: string, signal: AbortSignal): Promise<void> {
    const { api, log, clock, reportHealth } = this.#deps;
    let told = 0;
    while (!signal.aborted) {
      await pause(clock, checkMs, signal);
      if (signal.aborted) return;
      const info = await api.raw.getWebhookInfo(toVendorSignal(signal));
      if (info.url !== this.#options.url) {
        log.warn({}, 'telegram web hook was changed by somebody else');
        await this.#set(signal);
      }
      const failedAt = info.last_error_date ?? 0;
      const hasNews = failedAt > told && failedAt * 1_000 > clock.now().getTime() - checkMs * 2;
      if (hasNews && info.pending_update_count > 0) {
        told = failedAt;
        const detail = `Telegram cannot deliver: ${info.last_error_message ?? 'unknown reason'}; ${info.pending_update_count} updates wait`;
        reportHealth({ state: 'disconnected', detail });
        log.warn(
          { reason: info.last_error_message, pending: info.pending_update_count },
          'telegram cannot deliver updates',
        );
      } else if (info.pending_update_count === 0) {
        this.#reportConnected(username);
      }
    }
  }

  async #handle(request: HookRequest): Promise<HookReply> {
    const given = request.headers[secretHeader];
    if (given === undefined || !timingSafeEqual(digest(given), this.#secretDigest)) {
      this.#deps.log.warn({ hasSecret: given !== undefined }, 'a web hook call without our secret was refused');
      return { status: 401, body: 'unauthorised' };
    }
    const open = this.#open;
    if (open === undefined) return { status: 503, body: 'not receiving now' };
    const update = parseUpdate(request.body);
    if (update === undefined) return { status: 400, body: 'not an update' };
    const raw = { bot: open.bot, receivedAt: this.#deps.clock.now().getTime(), via: 'webhook', update };
    const stored = open.ingest([{ dedupKey: dedupKeyOf(update), raw }]);
    this.#inFlight.add(stored);
    try {
      await stored;
      if (!this.#isStoring) this.#reportConnected(open.bot.username);
      this.#isStoring = true;
      return { status: 200 };
    } catch (err) {
      this.#isStoring = false;
      this.#deps.log.warn({ err }, 'telegram update could not be stored');
      this.#deps.reportHealth({
        state: 'disconnected',
        detail: 'updates arrive but cannot be stored; they stay with Telegram until they can',
      });
      return { status: 503, body: 'not stored' };
    } finally {
      this.#inFlight.delete(stored);
    }
  }
}

function parseUpdate(body: Buffer) {
  try {
    return updateEnvelopeSchema.safeParse(JSON.parse(body.toString('utf8'))).data;
  } catch {
    return undefined;
  }
}

/** Digests have one length, whatever is sent: comparing them tells nothing by its time. */
function digest(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}

async function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  await clock.sleep(ms, signal).catch(() => undefined);
}
