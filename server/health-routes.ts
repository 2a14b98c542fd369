import type { FastifyInstance } from 'fastify';
import type { Log } from '#core/kit/log.ts';

/** One thing the process needs; resolves when it is there, rejects with the reason when it is not. */
export interface ReadinessCheck {
  /** Shown to whoever asks: database, queue, telegram. */
  readonly name: string;
  check(): Promise<void>;
}

/** A chat connection, without the account: whoever asks has not logged in. */
export interface ChannelState {
  readonly name: string;
  readonly state: 'starting' | 'connected' | 'standby' | 'disconnected' | 'halted';
}

/** How the process does: `high` is near its limit of memory, `over` above it. */
export interface ProcessHealth {
  readonly state: 'ok' | 'high' | 'over';
  readonly memoryMb: number;
  /** 0 without a limit. */
  readonly memoryLimitMb: number;
  /** How late timers came lately, in milliseconds. */
  readonly loopDelayMs: number;
  /** Starts for memory within the last hour. */
  readonly restarts: number;
}

const checkMs = 2_000;

/**
 * `/healthz`: the process runs. `/readyz`: everything it needs is there, else 503 with a line for each. Neither asks
 * for a login, so a reason is one line and the rest is in the log.
 */
export function healthRoutes(
  app: FastifyInstance,
  deps: {
    readonly checks: readonly ReadinessCheck[];
    /** How the chat connections of this process do. One that is down is told and does not make the process unready. */
    readonly channels?: () => readonly ChannelState[];
    /** Told like the channels: a process above its memory starts itself again, and must not be sent away before. */
    readonly process?: () => ProcessHealth;
    readonly log: Log;
  },
): void {
  app.get('/healthz', async () => ({ status: 'alive' }));

  app.get('/readyz', async (_request, reply) => {
    const checks = await Promise.all(deps.checks.map(async (check) => ({ name: check.name, ...(await run(check)) })));
    const failed = checks.filter((check) => !check.isOk);
    if (failed.length > 0) deps.log.warn({ failed: failed.map(({ name }) => name) }, 'not ready');
    return await reply
      .code(failed.length === 0 ? 200 : 503)
      .header('cache-control', 'no-store')
      .send({
        status: failed.length === 0 ? 'ready' : 'not ready',
        checks,
        channels: deps.channels?.() ?? [],
        process: deps.process?.(),
      });
  });
}

async function run({ check }: ReadinessCheck): Promise<{ isOk: boolean; reason?: string }> {
  const timeout = Promise.withResolvers<never>();
  const timer = setTimeout(() => timeout.reject(new Error(`no answer within ${checkMs / 1000} s`)), checkMs);
  try {
    await Promise.race([check(), timeout.promise]);
    return { isOk: true };
  } catch (err) {
    const reason = err instanceof Error ? err.message : String(err);
    return { isOk: false, reason: reason.split('\n')[0]?.slice(0, 200) ?? '' };
  } finally {
    clearTimeout(timer);
  }
}
