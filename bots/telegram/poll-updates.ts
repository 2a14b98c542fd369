import type { Api } from 'grammy';
import { aborted } from '#core/kit/aborted.ts';
import type { Clock } from '#core/kit/clock.ts';
import { AppError } from '#core/kit/errors.ts';
import type { Log } from '#core/kit/log.ts';
import type { ChannelHealth, Ingest } from '../channel.ts';
import type { BotName } from './read-message.ts';
import { classifyTelegramError } from './telegram-errors.ts';
import { allowedUpdates, dedupKeyOf } from './update-schema.ts';
import { toVendorSignal, type VendorSignal } from './vendor-signal.ts';

/** How long the server may hold a poll; routers on the way forget a silent connection after about a minute. */
export const pollSeconds = 25;
const batchMax = 100;
const backOffMinMs = 250;
const backOffMaxMs = 15_000;
/** A second poller ends the first's call, so two that both try at once would only disturb each other. */
const standbyMs = 3_000;
const farewellMs = 3_000;

export interface PollDeps {
  readonly api: Api;
  readonly log: Log;
  readonly clock: Clock;
  readonly reportHealth: (health: ChannelHealth) => void;
}

/**
 * Feeds `ingest` with updates until the signal aborts. The next offset, which confirms what came before it, is sent only
 * after `ingest` has committed; after any failure the same updates are asked for again. A refused token stops polling
 * for good and leaves everything else running.
 */
export async function pollUpdates(deps: PollDeps, ingest: Ingest, signal: AbortSignal): Promise<void> {
  const { api, log, clock, reportHealth } = deps;
  let bot: BotName | undefined;
  let offset = 0;
  let confirmed = 0;
  let failures = 0;
  // The first poll and the first after trouble return at once, so that health does not wait for a whole hold.
  let isProbe = true;
  reportHealth({ state: 'starting', detail: 'asking Telegram who we are' });

  while (!signal.aborted) {
    try {
      bot ??= await identify(api, toVendorSignal(signal));
      const updates = await api.raw.getUpdates(
        { offset, limit: batchMax, timeout: isProbe ? 0 : pollSeconds, allowed_updates: [...allowedUpdates] },
        toVendorSignal(signal),
      );
      confirmed = offset;
      if (isProbe) reportHealth({ state: 'connected', detail: `polling as @${bot.username}` });
      isProbe = false;
      const next = updates.at(-1)?.update_id;
      if (next !== undefined) {
        await store(ingest, bot, updates, clock.now().getTime());
        offset = next + 1;
      }
      failures = 0;
    } catch (err) {
      if (signal.aborted) break;
      isProbe = true;
      if (err instanceof StoreError) {
        failures += 1;
        const detail = 'updates arrive but cannot be stored; they stay with Telegram until they can';
        reportHealth({ state: 'disconnected', detail });
        log.warn({ err: err.cause, failures }, 'telegram updates could not be stored');
        await pause(clock, backOff(failures), signal);
        continue;
      }
      const failure = classifyTelegramError(err);
      if (failure.kind === 'auth') {
        const detail = `Telegram does not accept the bot token (${failure.reason}); set TELEGRAM_BOT_TOKEN to a valid one and restart`;
        reportHealth({ state: 'halted', detail });
        log.error({ err: new AppError('config.invalid', detail) }, 'telegram token was refused');
        await aborted(signal);
        break;
      }
      if (failure.kind === 'conflict') {
        reportHealth({ state: 'standby', detail: 'another process polls with this token' });
        log.warn({ reason: failure.reason }, 'telegram is polled elsewhere');
        // The same code says that a webhook was set meanwhile; identifying again removes it.
        bot = undefined;
        await pause(clock, standbyMs * (1 + Math.random()), signal);
        continue;
      }
      failures += 1;
      reportHealth({ state: 'disconnected', detail: failure.reason });
      log.warn({ reason: failure.reason, failures }, 'telegram poll failed');
      await pause(clock, Math.max(failure.afterMs ?? 0, backOff(failures)), signal);
    }
  }
  if (offset > confirmed) await confirm(deps, offset);
  reportHealth({ state: 'disconnected', detail: 'stopped' });
}

class StoreError extends Error {}

async function identify(api: Api, signal: VendorSignal): Promise<BotName> {
  const me = await api.raw.getMe(signal);
  // A webhook left behind makes every poll fail; pending updates are kept.
  await api.raw.deleteWebhook({ drop_pending_updates: false }, signal);
  return { id: me.id, username: me.username };
}

async function store(
  ingest: Ingest,
  bot: BotName,
  updates: readonly { readonly update_id: number }[],
  receivedAt: number,
): Promise<void> {
  try {
    await ingest(updates.map((update) => ({ dedupKey: dedupKeyOf(update), raw: { bot, receivedAt, update } })));
  } catch (cause) {
    throw new StoreError('ingest failed', { cause });
  }
}

/** Tells Telegram about the last stored batch on the way out, so that the next start does not see it again. */
async function confirm({ api, log }: PollDeps, offset: number): Promise<void> {
  try {
    await api.raw.getUpdates({ offset, limit: 1, timeout: 0 }, toVendorSignal(AbortSignal.timeout(farewellMs)));
  } catch (err) {
    // Harmless: the dedup key recognises them when they come again.
    log.debug({ reason: classifyTelegramError(err).reason }, 'last updates were not confirmed');
  }
}

function backOff(failures: number): number {
  const ceiling = Math.min(backOffMaxMs, backOffMinMs * 2 ** Math.min(failures, 10));
  return ceiling / 2 + (Math.random() * ceiling) / 2;
}

async function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  try {
    await clock.sleep(ms, signal);
  } catch {
    // Aborted: the loop sees it.
  }
}
