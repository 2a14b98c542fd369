import type { Clock } from '../kit/clock.ts';
import type { Log } from '../kit/log.ts';

/** A value kept in memory and read again in the background once it is older than `refreshMs`. */
export interface Refresher<Value> {
  /** Waits only for the very first read. */
  current(): Promise<Value>;
  refresh(): Promise<void>;
}

/**
 * Model calls ask for prices and cool-downs every time; a query each would cost more than the answer is worth. When a
 * read fails the last value stays in use and the failure is logged.
 */
export function createRefresher<Value>(deps: {
  readonly load: () => Promise<Value>;
  readonly fallback: Value;
  readonly refreshMs: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly what: string;
}): Refresher<Value> {
  let value = deps.fallback;
  let readAt = Number.NEGATIVE_INFINITY;
  let reading: Promise<void> | undefined;

  const refresh = (): Promise<void> => {
    reading ??= read().finally(() => {
      reading = undefined;
    });
    return reading;
  };

  async function read(): Promise<void> {
    try {
      value = await deps.load();
    } catch (err) {
      deps.log.warn({ err, what: deps.what }, 'model settings could not be read, the last ones stay in use');
    }
    readAt = deps.clock.now().getTime();
  }

  return {
    current: async () => {
      if (readAt === Number.NEGATIVE_INFINITY) await refresh();
      // Not awaited: a call uses what is known now, and `refresh` never rejects.
      else if (deps.clock.now().getTime() - readAt >= deps.refreshMs) void refresh();
      return value;
    },
    refresh,
  };
}
