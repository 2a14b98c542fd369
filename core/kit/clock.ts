import { setTimeout as delay } from 'node:timers/promises';

/** Time as a port, so that tests can own it. Deadlines that the database decides use `clock_timestamp()` instead. */
export interface Clock {
  now(): Date;
  /** Resolves after `ms`, rejects with the signal's reason when aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** The machine's clock. */
export const systemClock: Clock = {
  now: () => new Date(),
  sleep: async (ms, signal) => {
    await delay(ms, undefined, signal === undefined ? {} : { signal });
  },
};
