import { aborted } from '#core/kit/aborted.ts';
import type { Clock } from '#core/kit/clock.ts';
import type { Log } from '#core/kit/log.ts';
import type { ChannelHealth } from '../channel.ts';
import type { DurableReceiver } from './durable-receiver.ts';
import { toFailure } from './slack-api.ts';
import { classifySlackError, isHalting, slackCodeOf } from './slack-errors.ts';

const helloMs = 20_000;
const backOffMinMs = 250;
const backOffMaxMs = 15_000;
/** How long a connection that is being replaced may still deliver. Slack closes it by itself after about ten seconds. */
const retireMs = 12_000;
const drainMs = 5_000;
const closeMs = 2_000;

export interface SocketDeps {
  readonly appToken: string;
  readonly apiUrl: string;
  readonly log: Log;
  readonly clock: Clock;
  readonly store: (body: unknown) => Promise<void>;
  readonly reportHealth: (health: ChannelHealth) => void;
  /** Asked after a failure: whether the account has ended meanwhile. */
  readonly halted: AbortSignal;
}

/**
 * Receives by Socket Mode until the signal aborts. A connection that Slack wants replaced goes on receiving until its
 * successor is open, so that none is missed; what comes twice is told apart by its key. A refused token ends it for good
 * and leaves everything else running.
 */
export async function receiveBySocket(deps: SocketDeps, signal: AbortSignal): Promise<void> {
  const { log, clock, reportHealth, halted } = deps;
  const stopping = AbortSignal.any([signal, halted]);
  // Loaded only where Slack is received: the library brings a web server and a login flow along.
  const { DurableReceiver: Receiver } = await import('./durable-receiver.ts');
  const retiring = new Set<Promise<void>>();
  let failures = 0;

  while (!stopping.aborted) {
    const refresh = Promise.withResolvers<string>();
    const receiver = new Receiver({
      appToken: deps.appToken,
      apiUrl: deps.apiUrl,
      store: deps.store,
      onFailure: (err) => log.warn({ err }, 'slack event could not be stored; it will come again'),
      onDisconnectAsked: refresh.resolve,
    });
    try {
      await open(receiver);
    } catch (err) {
      await close(receiver);
      if (stopping.aborted) break;
      failures += 1;
      const failure = toFailure('apps.connections.open', err);
      if (isHalting(failure) || isRefusedToken(failure)) {
        const detail = `Slack does not accept the app token (${failure.message}); set SLACK_APP_TOKEN to one with the scope connections:write, turn Socket Mode on, and restart`;
        reportHealth({ state: 'halted', detail });
        log.error({ detail }, 'slack app token was refused');
        await aborted(signal);
        break;
      }
      const { reason, afterMs } = classifySlackError(failure);
      reportHealth({ state: 'disconnected', detail: reason });
      log.warn({ reason, failures }, 'slack connection failed');
      await clock.sleep(Math.max(afterMs ?? 0, backOff(failures)), stopping).catch(() => undefined);
      continue;
    }
    failures = 0;
    reportHealth({ state: 'connected', detail: 'Socket Mode' });
    const end = await Promise.race([refresh.promise, receiver.ended, aborted(stopping).then(() => 'stopped')]);
    if (end === 'link_disabled') {
      await close(receiver);
      const detail = 'Socket Mode was turned off for the Slack app; turn it on again and restart';
      reportHealth({ state: 'halted', detail });
      log.error({ detail }, 'slack closed the connection for good');
      await aborted(signal);
      break;
    }
    const isReplaced = end !== 'closed' && end !== 'stopped';
    const work = isReplaced ? retire(receiver, stopping) : drain(receiver);
    retiring.add(work);
    void work.finally(() => retiring.delete(work));
    if (end !== 'closed') continue;
    reportHealth({ state: 'disconnected', detail: 'the connection was lost' });
    log.warn('slack connection was lost');
    await clock.sleep(backOff(0), stopping).catch(() => undefined);
  }
  await Promise.all(retiring);
  if (!halted.aborted && signal.aborted) reportHealth({ state: 'disconnected', detail: 'stopped' });
}

async function open(receiver: DurableReceiver): Promise<void> {
  const timeout = Promise.withResolvers<never>();
  const timer = setTimeout(() => timeout.reject(new Error('no greeting came')), helloMs);
  try {
    await Promise.race([receiver.start(), timeout.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** Keeps a connection that is being replaced until Slack closes it or nobody needs it any more. */
async function retire(receiver: DurableReceiver, signal: AbortSignal): Promise<void> {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), retireMs);
  await Promise.race([receiver.ended, aborted(AbortSignal.any([signal, stop.signal]))]);
  clearTimeout(timer);
  await drain(receiver);
}

async function drain(receiver: DurableReceiver): Promise<void> {
  await receiver.settle(drainMs);
  await close(receiver);
}

async function close(receiver: DurableReceiver): Promise<void> {
  const patience = new Promise<void>((resolve) => {
    setTimeout(resolve, closeMs).unref();
  });
  // The library resolves before the socket is closed.
  await receiver.stop().catch(() => undefined);
  await Promise.race([receiver.ended, patience]);
}

/** Refusals that only an app token gets. */
function isRefusedToken(failure: unknown): boolean {
  const code = slackCodeOf(failure);
  return (
    code === 'missing_scope' ||
    code === 'no_permission' ||
    code === 'not_allowed_token_type' ||
    code === 'forbidden_team'
  );
}

function backOff(failures: number): number {
  const ceiling = Math.min(backOffMaxMs, backOffMinMs * 2 ** Math.min(failures, 10));
  return ceiling / 2 + (Math.random() * ceiling) / 2;
}
