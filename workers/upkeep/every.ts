import type { Clock } from '#core/kit/clock.ts';
import type { Log } from '#core/kit/log.ts';

/** Does a piece of upkeep at once and then again and again until the signal aborts; a failure is logged, not fatal. */
export async function every(
  deps: { readonly clock: Clock; readonly log: Log },
  options: { readonly ms: number; readonly what: string },
  work: () => Promise<unknown>,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await work();
    } catch (err) {
      deps.log.warn({ err, what: options.what }, 'upkeep failed');
    }
    await deps.clock.sleep(options.ms, signal).catch(() => undefined);
  }
}
