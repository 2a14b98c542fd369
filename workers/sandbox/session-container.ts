import { rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { AppError, isAppError } from '#core/kit/errors.ts';
import type { Log } from '#core/kit/log.ts';
import type { ContainerPlan } from './container-spec.ts';
import { DiskWatch } from './disk-watch.ts';
import { engineStatus, removeContainer, toEngineError } from './docker-engine.ts';
import { countRunningJobs } from './job-list.ts';
import { closeGateway, isMarkedForEviction, type LiveContainer, unpauseContainer } from './live-container.ts';
import { measureWorkspace } from './measure-workspace.ts';
import { openUseReader } from './read-use.ts';
import type { SandboxSpec } from './sandbox.ts';
import type { SandboxLimitValues } from './sandbox-limits.ts';
import { UseWatch } from './use-watch.ts';

/** How long a command's end waits for the engine to say that memory was the reason. */
const oomEventMs = 200;
/** How long whoever ends a container waits for the engine: a slow one must not slow a stop. */
const discardMs = 300;

/** An engine under load may fail to freeze what is busy; it can soon after. */
const freezeTriesMax = 3;

/** A person at a terminal keeps the container awake by touching this file in its folder. */
export const holdMark = '.held';
/** How long one touch holds. */
export const holdMs = 20_000;

interface SessionContainerDeps {
  readonly log: Log;
  readonly limits: SandboxLimitValues;
  /** Makes, adopts or takes from the pool what runs as planned. */
  readonly start: (plan: ContainerPlan) => Promise<LiveContainer>;
  /** Called when the container is gone for good and nobody uses this object. */
  readonly onIdle: () => void;
  /** Records what happens, for `sandbox logs`. */
  readonly note: (plan: ContainerPlan, what: string, detail?: string) => void;
  readonly noteUse: (plan: ContainerPlan, usedMb: number) => void;
  /** What a workspace that nobody measures takes on its disk, in MiB; undefined where that is not known. */
  readonly diskUsedMb: (plan: ContainerPlan) => Promise<number | undefined>;
}

/**
 * One session's container through its states: absent → starting → ready ⇄ busy → paused → removed; any → lost. Every
 * change of state runs alone; work runs in between, any number at a time.
 */
export class SessionContainer {
  readonly #deps: SessionContainerDeps;
  #live: LiveContainer | undefined;
  #watch: DiskWatch | undefined;
  #use: UseWatch | undefined;
  #isPaused = false;
  /** How often the engine has failed to freeze it since it was used. */
  #freezeTries = 0;
  #isClosed = false;
  #users = 0;
  #lastUsedAt = performance.now();
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

  /** What runs, or ran last, as it was planned. */
  get plan(): ContainerPlan | undefined {
    return this.#live?.plan;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** Whether nothing is called in it at present. */
  get isIdle(): boolean {
    return this.#users === 0;
  }

  /** When it was used last, on the clock of `performance.now()`. */
  get lastUsedAt(): number {
    return this.#lastUsedAt;
  }

  /**
   * Runs `work` on the ready container, made, woken or replaced first as needed. While anything runs, it is neither
   * paused nor removed.
   * @throws AppError of `startContainer`, `sandbox.disk_full`, and whatever `work` throws.
   */
  async use<T>(
    plan: () => Promise<ContainerPlan>,
    signal: AbortSignal,
    work: (live: LiveContainer) => Promise<T>,
  ): Promise<T> {
    this.#users++;
    this.#freezeTries = 0;
    this.#stopTimers();
    try {
      signal.throwIfAborted();
      const live = await orAborted(this.#ready(plan), signal);
      this.#watch?.begin();
      this.#use?.begin();
      return await work(live);
    } catch (err) {
      if (isAppError(err, 'sandbox.disk_full')) this.#note('disk_full', err.message);
      throw err;
    } finally {
      this.#users--;
      this.#lastUsedAt = performance.now();
      if (this.#users === 0) {
        this.#watch?.end();
        this.#use?.end();
        if (!this.#isClosed) this.#startTimers();
      }
    }
  }

  /** Which limits the last work came near to, such as `memory 480 of 512 MB`; undefined when there is room. */
  async nearLimits(): Promise<string | undefined> {
    return await this.#use?.nearLimits();
  }

  /** The agent's rules for the way out as they are now. */
  refresh(spec: SandboxSpec): void {
    this.#live?.gateway?.update(spec);
  }

  /** Takes over a container that nobody uses: its worker died. It is put to rest unless jobs run in it. */
  async adopt(live: LiveContainer): Promise<void> {
    await this.#change(async () => {
      if (this.#live !== undefined || this.#isClosed) {
        live.connection.close(new AppError('sandbox.lost', 'The sandbox is in use already.'));
        await live.link.close();
        return;
      }
      this.#take(live);
    });
    this.#startTimers();
    await this.#pause();
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
      this.#note('oom', `A process was ended for memory; the limit is ${this.#live?.plan.memoryMb ?? 0} MiB.`);
    }
    // Not by us: another worker's idle timer met our takeover. Work in progress must not stay frozen.
    if (action === 'pause' && this.#users > 0 && !this.#isPaused) {
      void this.#change(async () => {
        if (this.#live !== undefined) await unpauseContainer(this.#live.plan.host.engine, this.#live.id);
      }).catch((err: unknown) => this.#deps.log.warn({ err }, 'sandbox could not be woken'));
    }
  }

  /**
   * Ends the container now, whatever it does; the workspace stays. Its calls fail with `reason`. What belonged to it
   * here is cleared right after, before the next use.
   * @throws AppError `sandbox.unavailable` when the engine fails at once.
   */
  async discard(live: LiveContainer, reason: AppError): Promise<void> {
    live.connection.close(reason);
    const { log } = this.#deps;
    this.#note('ended', reason.message);
    const removal = (async () => {
      // Not as a change of state: that would wait for the one that is going on.
      if (await live.link.isOwner()) await removeContainer(live.plan.host.engine, live.id);
    })();
    void this.#change(async () => {
      await removal.catch(() => undefined);
      if (this.#live === live) await this.#remove();
    }).catch((err: unknown) => log.warn({ err, container: live.id }, 'sandbox could not be removed'));
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, discardMs);
    try {
      await Promise.race([removal, late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Removes the container to make room when nothing is called in it and no job runs. @returns whether it went. */
  async evict(): Promise<boolean> {
    return await this.#change(async () => {
      const live = this.#live;
      if (live === undefined || this.#users > 0) return false;
      if (!this.#isPaused && (await this.#isHeld(live))) return false;
      if (this.#users > 0) return false;
      this.#note('evicted', 'Removed to make room for another sandbox; the files are kept.');
      await this.#remove();
      return true;
    });
  }

  /**
   * Removes the container, or with `keepContainer` only lets go of it, for the next worker to adopt. This object makes
   * no other afterwards.
   */
  async close(options: { readonly keepContainer: boolean }): Promise<void> {
    this.#isClosed = true;
    this.#stopTimers();
    this.#watch?.stop();
    this.#use?.stop();
    await this.#change(async () => {
      const live = this.#live;
      if (live === undefined) return;
      if (options.keepContainer) await this.#release(live);
      else await this.#remove();
    });
  }

  async #ready(plan: () => Promise<ContainerPlan>): Promise<LiveContainer> {
    return await this.#change(async () => {
      if (this.#isClosed) throw new AppError('sandbox.lost', 'The sandbox was closed.');
      const wanted = await plan();
      if (this.#live !== undefined) {
        const isLost = !this.#live.connection.isOpen;
        // Another image, other limits, or too old: only this caller uses it, so it can be replaced.
        const isStale = this.#live.plan.digest !== wanted.digest || this.#isOld(this.#live);
        const mayReplace = isStale && this.#users === 1 && !(await this.#isHeld(this.#live));
        if (isLost || mayReplace) await this.#remove();
      }
      if (this.#live?.isBare === true) await this.#release(this.#live);
      if (this.#live !== undefined && this.#isPaused) await this.#wake(this.#live);
      if (this.#live !== undefined) return this.#live;
      const startedAt = performance.now();
      const live = await this.#start(wanted);
      const tookMs = Math.round(performance.now() - startedAt);
      this.#deps.log.info({ container: live.id, isAdopted: live.isAdopted, tookMs }, 'sandbox ready');
      this.#deps.note(wanted, live.isAdopted ? 'adopted' : 'started', `Ready after ${tookMs} ms.`);
      return live;
    });
  }

  async #start(wanted: ContainerPlan): Promise<LiveContainer> {
    try {
      const live = await this.#deps.start(wanted);
      this.#take(live);
      return live;
    } catch (err) {
      const { code, message } = toEngineError(err);
      this.#deps.note(wanted, 'failed', `${code}: ${message}`);
      throw err;
    }
  }

  #take(live: LiveContainer): void {
    const { limits, log, noteUse, diskUsedMb } = this.#deps;
    this.#live = live;
    this.#isPaused = false;
    this.#stopWatches();
    const { memoryMb, pids, diskMb } = live.plan;
    this.#use = new UseWatch({
      log,
      limits: { memoryMb, processes: pids, diskMb },
      open: async (cacheMattersFromMb) => await openUseReader(live.plan.host, live.id, cacheMattersFromMb),
      diskUsedMb: async () => this.#watch?.usedMb ?? (await diskUsedMb(live.plan)),
      // Where nothing but us holds it to its size, the watch tells.
      onDiskFull: live.plan.disk === 'watched' ? undefined : (detail) => this.#note('disk_full', detail),
    });
    this.#watch =
      live.plan.disk !== 'watched'
        ? undefined
        : new DiskWatch({
            log,
            limitMb: live.plan.diskMb,
            everyMs: limits.measureEveryMs,
            measure: async () => await measureWorkspace(live.plan.host.engine, live.id),
            onFull: (err) => {
              void this.discard(live, err).catch((cause: unknown) => log.warn({ err: cause }, 'sandbox not ended'));
            },
            onMeasured: (usedMb) => noteUse(live.plan, usedMb),
          });
  }

  async #wake(live: LiveContainer): Promise<void> {
    try {
      await unpauseContainer(live.plan.host.engine, live.id);
      this.#isPaused = false;
      // Looked for after the wake: whoever marks it looks at its state after that, so that one of us yields.
      if (!isMarkedForEviction(live.plan)) return;
      this.#note('evicted', 'Another worker took its place; the files are kept.');
    } catch (err) {
      this.#deps.log.warn({ err, container: live.id }, 'sandbox could not be woken and is replaced');
    }
    await this.#remove();
  }

  async #pause(): Promise<void> {
    await this.#change(async () => {
      const live = this.#live;
      if (live === undefined || this.#users > 0 || this.#isPaused) return;
      if (!(await live.link.isOwner()) || this.#isOld(live)) return await this.#remove();
      if (await this.#isHeld(live)) {
        this.#startTimers();
        return;
      }
      if (this.#users > 0) return;
      if (!live.connection.isOpen) {
        this.#deps.log.warn({ container: live.id }, 'sandbox did not answer any more and is removed');
        this.#note('lost', 'It did not answer any more and was removed; the files are kept.');
        return await this.#remove();
      }
      try {
        await live.plan.host.engine.getContainer(live.id).pause();
      } catch (err) {
        if (engineStatus(err) === undefined) throw err;
        this.#freezeTries++;
        if (this.#freezeTries < freezeTriesMax) {
          this.#deps.log.debug({ err, container: live.id }, 'sandbox is frozen later');
          this.#startTimers();
          return;
        }
        // Nobody calls anything in it, so nothing may go on in it either.
        this.#deps.log.warn({ err, container: live.id }, 'sandbox could not be frozen and is removed');
        this.#note('ended', 'It could not be frozen and was removed; the files are kept.');
        return await this.#remove();
      }
      this.#isPaused = true;
    });
  }

  #isOld(live: LiveContainer): boolean {
    return Date.now() - live.createdAt.getTime() > this.#deps.limits.ageMs;
  }

  /** Whether somebody still needs the container to run: a job of the agent's, or a person at a terminal. */
  async #isHeld(live: LiveContainer): Promise<boolean> {
    if (this.#isOld(live)) return false;
    if (live.plan.host.sharesFiles) {
      const held = await stat(path.join(live.plan.hostDirectory, holdMark)).catch(() => undefined);
      if (held !== undefined && Date.now() - held.mtimeMs < holdMs) return true;
    }
    const late = Promise.withResolvers<number>();
    const timer = setTimeout(() => late.resolve(-1), this.#deps.limits.jobsMs);
    const running = await Promise.race([countRunningJobs(live.connection).catch(() => -1), late.promise]);
    clearTimeout(timer);
    // A toolbox that does not answer is of no more use; frozen it would only be found out later.
    if (running < 0) live.connection.close(new AppError('sandbox.lost', 'The sandbox stopped answering.'));
    return running > 0;
  }

  /** Lets go of the container, which goes on. Runs inside a change. */
  async #release(live: LiveContainer): Promise<void> {
    this.#live = undefined;
    this.#stopWatches();
    live.connection.close(new AppError('sandbox.lost', 'The worker let go of the sandbox.'));
    await closeGateway(live.gateway, this.#deps.log);
    await live.link.close();
  }

  /** Takes the container down unless another worker owns the session by now. Runs inside a change. */
  async #remove(): Promise<void> {
    const live = this.#live;
    if (live === undefined) return;
    this.#live = undefined;
    this.#isPaused = false;
    this.#stopWatches();
    live.connection.close(new AppError('sandbox.lost', 'The sandbox was removed.'));
    const isOwner = await live.link.isOwner();
    await closeGateway(live.gateway, this.#deps.log);
    await live.link.close();
    if (!isOwner) {
      this.#deps.log.info({ container: live.id }, 'sandbox was taken over by another worker');
      return;
    }
    await removeContainer(live.plan.host.engine, live.id);
    if (live.plan.host.sharesFiles) await rm(live.plan.hostDirectory, { recursive: true, force: true });
  }

  #stopWatches(): void {
    this.#watch?.stop();
    this.#watch = undefined;
    this.#use?.stop();
    this.#use = undefined;
  }

  #note(what: string, detail?: string): void {
    if (this.#live !== undefined) this.#deps.note(this.#live.plan, what, detail);
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
        if (this.#users > 0) return;
        if (this.#live !== undefined && !this.#isPaused && (await this.#isHeld(this.#live))) {
          this.#startTimers();
          return;
        }
        if (this.#users > 0) return;
        this.#note('rested', 'Removed after its idle time; the files are kept.');
        await this.#remove();
      });
      if (this.#users === 0 && this.#live === undefined) this.#deps.onIdle();
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
