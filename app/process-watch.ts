import { monitorEventLoopDelay } from 'node:perf_hooks';
import { aborted } from '#core/kit/aborted.ts';
import type { Clock } from '#core/kit/clock.ts';
import type { Log } from '#core/kit/log.ts';

/** How this process does. `high`: near its limit of memory; `over`: above it. */
export interface ProcessReading {
  readonly state: 'ok' | 'high' | 'over';
  /** Resident memory, in MiB. */
  readonly memoryMb: number;
  /** 0 without a limit. */
  readonly memoryLimitMb: number;
  /** How late timers came in the last period, in milliseconds: 99 of 100 came sooner. */
  readonly loopDelayMs: number;
  /** Starts for memory within the last hour. */
  readonly restarts: number;
}

/** What is measured at one look. */
export interface ProcessSample {
  readonly memoryBytes: number;
  readonly loopDelayMs: number;
}

export interface ProcessWatchOptions {
  /** 0 watches without a limit. */
  readonly memoryLimitMb: number;
  /** How long memory may stay above the limit. */
  readonly overMs: number;
  /** Starts within an hour; 0 only tells. */
  readonly restartsMax: number;
  /** When this process was started again before. */
  readonly restartedAt: readonly Date[];
}

const mebibyte = 1 << 20;
const hourMs = 3_600_000;
const lookMs = 5_000;
/** Share of the limit at which it is told, and the one below which it counts as over; between them nothing changes. */
const highShare = 0.8;
const calmShare = 0.75;
/** The second start within an hour waits so long, each further one twice as long as the one before. */
const backOffMs = 60_000;
/** Timers this late make streams stutter and heartbeats come late. */
const loopDelayMsMax = 500;
/** The same thing is told again after this. */
const tellAgainMs = 300_000;
/** A clock that ticks so often shows how late ticks come. */
const tickMs = 50;
/** Of the memory of a container, at most so much is used before the kernel would end the process. */
const containerShare = 0.9;

/**
 * Watches the memory of this process and how late its timers come. Near the limit it tells, once; when memory stays above
 * the limit it asks for the process to be started again: at once the first time within an hour, then later and later,
 * and not more often than it may. Late timers are told only: they say that the machine or a computation is in the way.
 */
export class ProcessWatch {
  readonly #deps: { readonly log: Log; readonly clock: Clock; readonly sample: () => ProcessSample };
  readonly #options: ProcessWatchOptions;
  #reading: ProcessReading;
  #overSince: number | undefined;
  #toldDelayAt = Number.NEGATIVE_INFINITY;
  #toldKeptAt = Number.NEGATIVE_INFINITY;

  constructor(
    deps: { readonly log: Log; readonly clock: Clock; readonly sample: () => ProcessSample },
    options: ProcessWatchOptions,
  ) {
    this.#deps = deps;
    this.#options = options;
    const { memoryLimitMb } = options;
    this.#reading = { state: 'ok', memoryMb: 0, memoryLimitMb, loopDelayMs: 0, restarts: this.#restarts().length };
  }

  get reading(): ProcessReading {
    return this.#reading;
  }

  /** Looks every few seconds until the signal aborts. @param onRestart called once, when the process must start again. */
  async run(signal: AbortSignal, onRestart: () => void): Promise<void> {
    const everyMs = Math.max(200, Math.min(lookMs, this.#options.overMs / 2));
    while (!signal.aborted) {
      if (this.look() === 'restart') {
        onRestart();
        return await aborted(signal);
      }
      await this.#deps.clock.sleep(everyMs, signal).catch(() => undefined);
    }
  }

  /** Takes one sample. @returns `restart` when memory was above the limit for its time and another start is due. */
  look(): 'restart' | undefined {
    const { memoryLimitMb } = this.#options;
    const { memoryBytes, loopDelayMs } = this.#deps.sample();
    const memoryMb = Math.round(memoryBytes / mebibyte);
    const state = this.#stateOf(memoryMb);
    const before = this.#reading.state;
    this.#reading = { state, memoryMb, memoryLimitMb, loopDelayMs, restarts: this.#restarts().length };
    this.#tellDelay(loopDelayMs);
    if (state !== before) this.#tellState(state);
    if (state !== 'over') {
      this.#overSince = undefined;
      return undefined;
    }
    this.#overSince ??= this.#now();
    return this.#now() - this.#overSince >= this.#options.overMs && this.#mayRestart() ? 'restart' : undefined;
  }

  #stateOf(memoryMb: number): ProcessReading['state'] {
    const { memoryLimitMb } = this.#options;
    if (memoryLimitMb === 0) return 'ok';
    if (memoryMb >= memoryLimitMb) return 'over';
    const share = this.#reading.state === 'ok' ? highShare : calmShare;
    return memoryMb >= memoryLimitMb * share ? 'high' : 'ok';
  }

  #tellState(state: ProcessReading['state']): void {
    const { log } = this.#deps;
    const { memoryMb, memoryLimitMb } = this.#reading;
    const facts = { memoryMb, memoryLimitMb };
    switch (state) {
      case 'ok':
        log.info(facts, 'memory of this process is well below its limit again');
        return;
      case 'high':
        log.warn(facts, 'memory of this process is near its limit');
        return;
      case 'over':
        log.warn({ ...facts, forMs: this.#options.overMs }, 'memory of this process is above its limit');
    }
  }

  #tellDelay(loopDelayMs: number): void {
    if (loopDelayMs < loopDelayMsMax || this.#now() - this.#toldDelayAt < tellAgainMs) return;
    this.#toldDelayAt = this.#now();
    this.#deps.log.warn({ loopDelayMs }, 'this process is slow to react: its timers come late');
  }

  #mayRestart(): boolean {
    const { log } = this.#deps;
    const { restartsMax } = this.#options;
    const past = this.#restarts();
    const last = past.at(-1) ?? Number.NEGATIVE_INFINITY;
    const waitMs = past.length === 0 ? 0 : backOffMs * 2 ** (past.length - 1);
    const facts = { memoryMb: this.#reading.memoryMb, restarts: past.length, restartsMax };
    if (past.length < restartsMax) {
      if (this.#now() - last < waitMs) return false;
      log.warn(facts, 'this process hands its work over and starts again: its memory stays above the limit');
      return true;
    }
    if (this.#now() - this.#toldKeptAt >= tellAgainMs) {
      this.#toldKeptAt = this.#now();
      log.error(facts, 'memory of this process stays above its limit; it is not started again so soon');
    }
    return false;
  }

  /** The starts within the last hour, oldest first. */
  #restarts(): readonly number[] {
    return this.#options.restartedAt
      .map((at) => at.getTime())
      .filter((at) => this.#now() - at < hourMs)
      .sort((a, b) => a - b);
  }

  #now(): number {
    return this.#deps.clock.now().getTime();
  }
}

/** Measures this process; the delay is that since the sample before. Dispose to stop the clockwork behind it. */
export function openSampler(): { readonly sample: () => ProcessSample } & Disposable {
  const delays = monitorEventLoopDelay({ resolution: tickMs });
  delays.enable();
  return {
    sample: () => {
      const loopDelayMs = delays.count === 0 ? 0 : Math.max(0, Math.round(delays.percentile(99) / 1e6) - tickMs);
      delays.reset();
      return { memoryBytes: process.memoryUsage.rss(), loopDelayMs };
    },
    [Symbol.dispose]: () => {
      delays.disable();
    },
  };
}

/** The limit that holds for this process: the one asked for, or the part of its container's that leaves some room. */
export function memoryLimitOf(askedMb: number, containerBytes: number): number {
  if (askedMb === 0) return 0;
  const containerMb = Math.floor((containerBytes / mebibyte) * containerShare);
  // A container without a limit tells a number beyond any machine's.
  return containerBytes > 0 ? Math.min(askedMb, containerMb) : askedMb;
}
