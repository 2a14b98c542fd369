import { rm } from 'node:fs/promises';
import type Docker from 'dockerode';
import { AppError } from '#core/kit/errors.ts';
import type { Log } from '#core/kit/log.ts';
import type { ContainerPlan } from './container-spec.ts';
import { removeContainer, toEngineError } from './docker-engine.ts';
import { type LiveContainer, startContainer, unpauseContainer } from './live-container.ts';
import type { SandboxLimitValues } from './sandbox-limits.ts';

/** How long a command's end waits for the engine to say that memory was the reason. */
const oomEventMs = 200;

interface SessionContainerDeps {
  readonly engine: Docker;
  readonly log: Log;
  readonly limits: SandboxLimitValues;
  readonly hostDirectory: string;
  /** Called when the container is gone for good and nobody uses this object. */
  readonly onIdle: () => void;
}

/**
 * One session's container through its states: absent → starting → ready ⇄ busy → paused → removed; any → lost. Every
 * change of state runs alone; work runs in between, any number at a time.
 */
export class SessionContainer {
  readonly #deps: SessionContainerDeps;
  #live: LiveContainer | undefined;
  #isPaused = false;
  #isClosed = false;
  #users = 0;
  #changes: Promise<unknown> = Promise.resolve();
  #pauseTimer: NodeJS.Timeout | undefined;
  #removeTimer: NodeJS.Timeout | undefined;
  #oomCount = 0;
  #onOom: (() => void) | undefined;

  constructor(deps: SessionContainerDeps) {
    this.#deps = deps;
  }

  get containerId(): string | undefined {
    return this.#live?.id;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  /**
   * Runs `work` on the ready container, made, woken or replaced first as needed. While anything runs, it is neither
   * paused nor removed.
   * @throws AppError of `startContainer`, and whatever `work` throws.
   */
  async use<T>(
    plan: () => Promise<ContainerPlan>,
    signal: AbortSignal,
    work: (live: LiveContainer) => Promise<T>,
  ): Promise<T> {
    this.#users++;
    this.#stopTimers();
    try {
      signal.throwIfAborted();
      const live = await orAborted(this.#ready(plan), signal);
      return await work(live);
    } finally {
      this.#users--;
      if (this.#users === 0 && !this.#isClosed) this.#startTimers();
    }
  }

  /** Counts kills for memory, so that a call can tell whether one fell into its time. */
  get oomCount(): number {
    return this.#oomCount;
  }

  /** Whether memory ran out since `before`; waits a moment, because the engine's event may come after the result. */
  async hasRunOutOfMemory(before: number): Promise<boolean> {
    if (this.#oomCount > before) return true;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, oomEventMs);
      this.#onOom = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    return this.#oomCount > before;
  }

  /** Takes an engine event about this container. */
  onEvent(action: string): void {
    if (action === 'oom') {
      this.#oomCount++;
      this.#onOom?.();
    }
    // Not by us: another worker's idle timer met our takeover. Work in progress must not stay frozen.
    if (action === 'pause' && this.#users > 0 && !this.#isPaused) {
      void this.#change(async () => {
        if (this.#live !== undefined) await unpauseContainer(this.#deps.engine, this.#live.id);
      }).catch((err: unknown) => this.#deps.log.warn({ err }, 'sandbox could not be woken'));
    }
  }

  /**
   * Ends the container now, whatever it does; the workspace stays. Its calls fail with `reason`. What belonged to it
   * here is cleared right after, before the next use.
   * @throws AppError `sandbox.unavailable` when the engine fails.
   */
  async discard(live: LiveContainer, reason: AppError): Promise<void> {
    live.connection.close(reason);
    const { engine, log } = this.#deps;
    // Not as a change of state: that would wait for the one that is going on.
    if (await live.listener.isOwner()) await removeContainer(engine, live.id);
    void this.#change(async () => {
      if (this.#live === live) await this.#remove();
    }).catch((err: unknown) => log.warn({ err, container: live.id }, 'sandbox could not be removed'));
  }

  /**
   * Removes the container, or with `keepContainer` only lets go of it, for the next worker to adopt. This object makes
   * no other afterwards.
   */
  async close(options: { readonly keepContainer: boolean }): Promise<void> {
    this.#isClosed = true;
    this.#stopTimers();
    await this.#change(async () => {
      const live = this.#live;
      if (live === undefined) return;
      live.connection.close(new AppError('sandbox.lost', 'The worker is stopping.'));
      if (!options.keepContainer) return await this.#remove();
      this.#live = undefined;
      await live.listener.close();
    });
  }

  async #ready(plan: () => Promise<ContainerPlan>): Promise<LiveContainer> {
    return await this.#change(async () => {
      if (this.#isClosed) throw new AppError('sandbox.lost', 'The sandbox was closed.');
      const wanted = await plan();
      if (this.#live !== undefined) {
        const isLost = !this.#live.connection.isOpen;
        // Another image or other limits: only this caller uses it, so it can be replaced.
        const isStale = this.#live.digest !== wanted.digest && this.#users === 1;
        if (isLost || isStale) await this.#remove();
      }
      if (this.#live !== undefined && this.#isPaused) await this.#wake(this.#live);
      if (this.#live !== undefined) return this.#live;
      const startedAt = performance.now();
      const live = await startContainer(this.#deps, wanted, this.#deps.hostDirectory, this.#deps.limits.dialMs);
      this.#live = live;
      this.#isPaused = false;
      const tookMs = Math.round(performance.now() - startedAt);
      this.#deps.log.info({ container: live.id, isAdopted: live.isAdopted, tookMs }, 'sandbox ready');
      return live;
    });
  }

  async #wake(live: LiveContainer): Promise<void> {
    try {
      await unpauseContainer(this.#deps.engine, live.id);
      this.#isPaused = false;
    } catch (err) {
      this.#deps.log.warn({ err, container: live.id }, 'sandbox could not be woken and is replaced');
      await this.#remove();
    }
  }

  async #pause(): Promise<void> {
    await this.#change(async () => {
      const live = this.#live;
      if (live === undefined || this.#users > 0 || this.#isPaused) return;
      if (!(await live.listener.isOwner())) return await this.#remove();
      await this.#deps.engine.getContainer(live.id).pause();
      this.#isPaused = true;
    });
  }

  /** Takes the container down unless another worker owns the session by now. Runs inside a change. */
  async #remove(): Promise<void> {
    const live = this.#live;
    if (live === undefined) return;
    this.#live = undefined;
    this.#isPaused = false;
    live.connection.close(new AppError('sandbox.lost', 'The sandbox was removed.'));
    const isOwner = await live.listener.isOwner();
    await live.listener.close();
    if (!isOwner) {
      this.#deps.log.info({ container: live.id }, 'sandbox was taken over by another worker');
      return;
    }
    await removeContainer(this.#deps.engine, live.id);
    await rm(this.#deps.hostDirectory, { recursive: true, force: true });
  }

  #startTimers(): void {
    const { limits, log } = this.#deps;
    const later = (what: () => Promise<void>, ms: number) => {
      const timer = setTimeout(() => {
        what().catch((err: unknown) => log.warn({ err: toEngineError(err) }, 'sandbox upkeep failed'));
      }, ms);
      timer.unref();
      return timer;
    };
    this.#stopTimers();
    this.#pauseTimer = later(() => this.#pause(), limits.pauseAfterMs);
    this.#removeTimer = later(async () => {
      await this.#change(async () => {
        if (this.#users === 0) await this.#remove();
      });
      if (this.#users === 0) this.#deps.onIdle();
    }, limits.removeAfterMs);
  }

  #stopTimers(): void {
    clearTimeout(this.#pauseTimer);
    clearTimeout(this.#removeTimer);
  }

  /** Runs changes of state one after the other; a failed one does not stop the next. */
  #change<T>(change: () => Promise<T>): Promise<T> {
    const result = this.#changes.then(change, change);
    this.#changes = result.catch(() => undefined);
    return result;
  }
}

/** The promise's result, or the signal's reason if that comes first; the work itself goes on for whoever shares it. */
async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => aborted.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
