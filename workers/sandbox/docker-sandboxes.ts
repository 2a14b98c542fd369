import { rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { sandboxLimitsSchema } from '#core/agents/agent-profile.ts';
import { aborted } from '#core/kit/aborted.ts';
import { AppError } from '#core/kit/errors.ts';
import { newId, newToken } from '#core/kit/ids.ts';
import type { Log } from '#core/kit/log.ts';
import type { SandboxPlaces } from '#core/sandboxes/sandbox-place.ts';
import { Admission } from './admission.ts';
import { checkEngine } from './check-engine.ts';
import { type ContainerPlan, sessionKey } from './container-spec.ts';
import { removeContainer, toEngineError } from './docker-engine.ts';
import { DockerHost, type DockerHostSetting, onlyHostName } from './docker-host.ts';
import { watchEngineEvents } from './engine-events.ts';
import { evictPaused } from './evict-paused.ts';
import { adoptContainer, furnish, type LiveContainer, type StartDeps, startContainer } from './live-container.ts';
import { createMemoryPlaces } from './memory-places.ts';
import { makePrivate, shortDirectory } from './private-directory.ts';
import type { OpenGateway, PrepareSandboxFolder, Sandbox, SandboxKind, SandboxPort, SandboxSpec } from './sandbox.ts';
import { SandboxDesk } from './sandbox-desk.ts';
import { resolveSandboxLimits, type SandboxLimitValues } from './sandbox-limits.ts';
import { SessionContainer } from './session-container.ts';
import { SessionPlaces } from './session-places.ts';
import { diskOf, SessionPlanner } from './session-planner.ts';
import { createSessionSandbox } from './session-sandbox.ts';
import { type Orphan, OrphanSweep, type SweepResult } from './sweep-orphans.ts';
import { WarmPool } from './warm-pool.ts';
import { type DiskChoice, WorkspaceDisks } from './workspace-disks.ts';

/** How often this worker says that it lives, for sessions on hosts without a shared file system. */
const beatMs = 30_000;

export interface DockerSandboxesOptions {
  /** A `DOCKER_HOST` value; the local engine when absent. Engine and worker must share a file system. */
  readonly dockerHost?: string;
  /** Several engines in place of `dockerHost`. */
  readonly hosts?: readonly DockerHostSetting[];
  /** Image of agents that name none. */
  readonly image: string;
  /** Image of the `browser` kind; without it there are no browsers. */
  readonly browserImage?: string;
  /**
   * Names this installation (not this process): containers carry it, workers of one installation adopt each other's
   * and leave those of others alone.
   */
  readonly instance: string;
  /**
   * Directory of the sockets, shared by the workers of this host. Where it is too long for socket paths, one below the
   * system's temporary directory stands in for it, the same for all workers with the same wish.
   */
  readonly socketDirectory: string;
  /** Directory of workspaces that are files of this host; without it they are volumes of the engine. */
  readonly workspaceDirectory?: string;
  readonly disk?: DiskChoice;
  /** The way out of sandboxes whose profile has one; without it they are not started. */
  readonly openGateway?: OpenGateway;
  readonly prepareFolders?: readonly PrepareSandboxFolder[];
  readonly limits?: Partial<SandboxLimitValues>;
}

/**
 * The sandboxes of one worker process, on one or several Docker engines. Containers outlive it: the next worker adopts
 * them, and what nobody adopts is swept.
 */
export class DockerSandboxes implements SandboxPort, AsyncDisposable {
  readonly #log: Log;
  readonly #places: SandboxPlaces;
  readonly #hosts: readonly DockerHost[];
  readonly #options: DockerSandboxesOptions;
  readonly #limits: SandboxLimitValues;
  readonly #disks: WorkspaceDisks;
  readonly #admission: Admission;
  readonly #pool: WarmPool;
  readonly #start: StartDeps;
  readonly #planner: SessionPlanner;
  readonly #bySession: SessionPlaces;
  /** By folder name. */
  readonly #sessions = new Map<string, SessionContainer>();
  readonly #stop = new AbortController();
  readonly #sweep: OrphanSweep;
  readonly #running: Promise<unknown>[] = [];
  readonly #notes = new Set<Promise<unknown>>();
  #isWatching = false;

  /**
   * Dials nothing yet. Without `places` it works for itself: what it keeps ready and where sessions are is forgotten with
   * it, and it removes nothing whose owner could be on record elsewhere.
   * @throws AppError `config.invalid`.
   */
  constructor(deps: { readonly log: Log; readonly places?: SandboxPlaces }, options: DockerSandboxesOptions) {
    this.#log = deps.log;
    this.#places = deps.places ?? createMemoryPlaces();
    this.#options = { ...options, socketDirectory: shortDirectory(path.resolve(options.socketDirectory)) };
    const limits = resolveSandboxLimits(options.limits);
    this.#limits = limits;
    this.#hosts = hostsOf(options).map((setting) => new DockerHost(setting));
    this.#disks = new WorkspaceDisks({
      directory: options.workspaceDirectory,
      choice: options.disk ?? 'auto',
      instance: options.instance,
    });
    this.#admission = new Admission({ places: this.#places, instance: options.instance, limits });
    this.#start = {
      log: this.#log,
      places: this.#places,
      workerId: newId(),
      dialMs: limits.dialMs,
      disks: this.#disks,
      openGateway: options.openGateway,
      prepareFolders: options.prepareFolders ?? [],
      admit: async (plan, create) =>
        await this.#admission.admit(
          plan,
          { waitMs: limits.admitMs, makeRoom: async () => await this.#makeRoom(plan) },
          create,
        ),
    };
    this.#planner = new SessionPlanner({
      image: options.image,
      browserImage: options.browserImage,
      instance: options.instance,
      socketDirectory: this.#options.socketDirectory,
      disks: this.#disks,
    });
    this.#pool = new WarmPool({
      log: this.#log,
      size: limits.poolSize,
      standard: { limits: sandboxLimitsSchema.parse({}) },
      make: async ({ limits: wanted }) => await this.#makeSpare(wanted),
      isFresh: async (live, shape) => {
        const spec = { ...live.plan.spec, limits: shape.limits };
        const { digest } = await this.#planner.plan(spec, live.plan.host, { ...live.plan, disk: diskOf(live.plan) });
        const isYoung = Date.now() - live.createdAt.getTime() < limits.ageMs / 2;
        return isYoung && digest === live.plan.digest;
      },
      drop: async (live) => await this.#dropSpare(live),
    });
    this.#bySession = new SessionPlaces({
      places: this.#places,
      hosts: this.#hosts,
      disks: this.#disks,
      admission: this.#admission,
      planner: this.#planner,
      pool: this.#pool,
    });
    this.#sweep = new OrphanSweep(
      { log: this.#log, places: this.#places, disks: this.#disks },
      {
        hosts: this.#hosts,
        instance: options.instance,
        limits,
        knowsAll: deps.places !== undefined,
        socketDirectory: this.#options.socketDirectory,
        ownKeys: () => this.#ownKeys(),
        ownWorkspaces: () => [...this.#pool.workspaces, ...this.#bySession.claimedWorkspaces],
        adopt: async (orphan) => await this.#adopt(orphan),
        forget: async (sessionId) => await this.forget(sessionId),
      },
    );
  }

  async open(spec: SandboxSpec, signal: AbortSignal): Promise<Sandbox> {
    this.#watch();
    const plan = this.#bySession.planner(spec);
    // Looked up at every call: an idle session's entry goes away while its handle is still held.
    const hands = () => this.#handsOf(spec.sessionId, spec.kind);
    await hands().use(plan, signal, async () => undefined);
    hands().refresh(spec);
    return createSessionSandbox({ hands, plan, endMs: this.#limits.endMs });
  }

  async check(kind: SandboxKind = 'core'): Promise<{
    readonly ok: boolean;
    readonly detail: string;
    readonly mend?: string;
    readonly missing?: 'engine' | 'image';
  }> {
    const { image, browserImage } = this.#options;
    return await checkEngine(this.#hosts, this.#disks, kind === 'browser' ? browserImage : image);
  }

  /** Keeps containers ready for sessions to come until the signal aborts, when the limits ask for any. */
  async keepReady(signal: AbortSignal): Promise<void> {
    if (!this.#stop.signal.aborted) this.#pool.start();
    await aborted(signal);
    await this.#pool[Symbol.asyncDispose]();
  }

  /** Containers that are ready for sessions to come. */
  get readyCount(): number {
    return this.#pool.workspaces.length;
  }

  /** Clears what no living worker holds; with `isThorough` at once, otherwise each thing after its time. */
  async sweep(options?: { readonly isThorough?: boolean }): Promise<SweepResult> {
    return await this.#sweep.run(options);
  }

  /** A look at the sandboxes of all workers, for an operator. */
  desk(): SandboxDesk {
    return new SandboxDesk({
      hosts: this.#hosts,
      places: this.#places,
      disks: this.#disks,
      instance: this.#options.instance,
      socketDirectory: this.#options.socketDirectory,
    });
  }

  /** Removes a session's containers and its workspace with every file in it. */
  async forget(sessionId: string): Promise<void> {
    for (const kind of ['core', 'browser'] as const) {
      const hands = this.#sessions.get(sessionKeyOf(sessionId, kind));
      await hands?.close({ keepContainer: false });
      this.#sessions.delete(sessionKeyOf(sessionId, kind));
    }
    this.#bySession.forget(sessionId);
    const place = await this.#places.find(sessionId);
    for (const host of this.#hosts) {
      if (place !== undefined && place.host !== host.name) continue;
      const workspace = place?.workspace ?? sessionId;
      for (const kind of ['core', 'browser'] as const) {
        const key = sessionKey(this.#options.instance, workspace, kind);
        await removeContainer(host.engine, `switchyard-${key}`);
      }
      if (place !== undefined) await this.#disks.remove(host, place);
      // From before sessions had places, or left by a start that was cut off.
      await this.#disks.remove(host, { workspace, disk: 'watched' });
    }
    await this.#places.remove(sessionId);
  }

  /** Stops this worker's sandboxes; the containers go, the workspaces stay. */
  async removeAll(): Promise<void> {
    await Promise.all([...this.#sessions.values()].map((hands) => hands.close({ keepContainer: false })));
    this.#sessions.clear();
    while (await this.#pool.shrink());
  }

  /** Lets go of everything: listeners close, commands that run are ended by their toolboxes, containers stay. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#pool[Symbol.asyncDispose]();
    await this.#bySession[Symbol.asyncDispose]();
    await Promise.all([...this.#sessions.values()].map((hands) => hands.close({ keepContainer: true })));
    this.#sessions.clear();
    await Promise.all(this.#running);
    await Promise.all(this.#notes);
  }

  #ownKeys(): ReadonlySet<string> {
    const plans = [...this.#sessions.values()].flatMap((hands) => (hands.plan === undefined ? [] : [hands.plan]));
    const spare = [...this.#pool.workspaces, ...this.#bySession.claimedWorkspaces];
    return new Set([
      ...plans.map((plan) => path.basename(plan.hostDirectory)),
      ...spare.map((workspace) => sessionKey(this.#options.instance, workspace)),
    ]);
  }

  #handsOf(sessionId: string, kind: SandboxKind = 'core'): SessionContainer {
    if (this.#stop.signal.aborted) throw new AppError('sandbox.unavailable', 'The worker is stopping.');
    const key = sessionKeyOf(sessionId, kind);
    const known = this.#sessions.get(key);
    if (known !== undefined) return known;
    const hands: SessionContainer = new SessionContainer({
      log: this.#log.child({ sessionId }),
      limits: this.#limits,
      start: async (plan) => await this.#startPlanned(plan),
      onIdle: () => {
        if (this.#sessions.get(key) === hands) this.#sessions.delete(key);
        if (!this.#sessions.has(sessionKeyOf(sessionId, kind === 'core' ? 'browser' : 'core'))) {
          this.#bySession.forget(sessionId);
        }
      },
      note: (plan, what, detail) => this.#note(plan, what, detail),
      noteUse: (plan, usedMb) => this.#later(this.#places.noteUse(plan.spec.sessionId, usedMb)),
      diskUsedMb: async ({ disk, workspace }) =>
        disk === 'loop' ? await this.#disks.loop?.usedMb(workspace) : undefined,
    });
    this.#sessions.set(key, hands);
    return hands;
  }

  async #startPlanned(wanted: ContainerPlan): Promise<LiveContainer> {
    const plan = await this.#bySession.asSettled(wanted);
    const spare = this.#bySession.takeClaimed(plan.workspace);
    if (spare !== undefined) {
      try {
        if (spare.connection.isOpen && spare.plan.digest === plan.digest) {
          return { ...spare, plan, gateway: await furnish(this.#start, plan) };
        }
      } catch (err) {
        spare.connection.close(toEngineError(err));
        await spare.link.close();
        throw err;
      }
      await spare.link.close();
    }
    try {
      return await startContainer(this.#start, plan);
    } catch (err) {
      if (!this.#mayFallBack(err)) throw err;
      return await startContainer(this.#start, await this.#bySession.fallBack(plan));
    }
  }

  /** Whether a start failed because the engine does not see file systems we mount, and another kind may do. */
  #mayFallBack(err: unknown): boolean {
    const isLoopUnseen = err instanceof AppError && err.details['isLoopUnseen'] === true;
    if (!isLoopUnseen || this.#options.disk === 'loop') return false;
    this.#log.warn({ err }, 'workspaces will be volumes of the engine');
    return true;
  }

  async #makeSpare(limits: SandboxSpec['limits']): Promise<LiveContainer> {
    const spec: SandboxSpec = { sessionId: '', agent: '', limits };
    // A session takes it by a folder in common.
    const host = await this.#bySession.chooseHost(this.#hosts.filter((each) => each.sharesFiles));
    const workspace = `spare-${newToken(12)}`;
    const plan = await this.#planner.plan(spec, host, { workspace, disk: await this.#disks.kindOn(host) });
    this.#watch();
    // What stands in the folder is the session's own; there is none yet.
    const bare = { ...plan, spec: { ...spec, limits: { ...limits, network: 'none' as const } } };
    try {
      const live = await startContainer(
        {
          ...this.#start,
          prepareFolders: [],
          // Nobody is sent away for a container that nobody asked for.
          admit: async (wanted, create) =>
            await this.#admission.admit(wanted, { waitMs: 0, makeRoom: async () => false }, create),
        },
        bare,
      );
      return { ...live, plan };
    } catch (err) {
      await this.#disks.remove(host, { workspace, disk: diskOf(plan) });
      if (!this.#mayFallBack(err)) throw err;
      this.#disks.rejectLoop(host);
      return await this.#makeSpare(limits);
    }
  }

  async #dropSpare(live: LiveContainer): Promise<void> {
    live.connection.close(new AppError('sandbox.lost', 'The sandbox is not needed.'));
    await live.link.close();
    const { host, workspace } = live.plan;
    await removeContainer(host.engine, live.id);
    await this.#disks.remove(host, { workspace, disk: diskOf(live.plan) });
    await rm(live.plan.hostDirectory, { recursive: true, force: true });
  }

  /** Frees some of what the host's containers may use, whoever needs it least first. @returns whether it could. */
  async #makeRoom(plan: ContainerPlan): Promise<boolean> {
    if (await this.#pool.shrink()) return true;
    const idle = [...this.#sessions.values()]
      .filter((hands) => hands.isIdle && hands.plan?.host === plan.host && hands.plan.name !== plan.name)
      .sort((a, b) => Number(b.isPaused) - Number(a.isPaused) || a.lastUsedAt - b.lastUsedAt);
    for (const hands of idle) if (await hands.evict()) return true;
    return await evictPaused({
      host: plan.host,
      instance: this.#options.instance,
      socketDirectory: this.#options.socketDirectory,
      spared: this.#ownKeys(),
    });
  }

  /** Takes over a container whose worker died, so that it is put to rest like any other, or its jobs go on. */
  async #adopt(orphan: Orphan): Promise<{ readonly isPaused: boolean }> {
    const { container } = orphan;
    const plan = this.#planner.planOf(orphan);
    const made = { id: container.Id, createdAt: new Date(container.Created * 1000) };
    const live = await adoptContainer(this.#start, plan, made);
    const hands = this.#handsOf(plan.spec.sessionId, plan.kind);
    await hands.adopt(live);
    return { isPaused: hands.isPaused };
  }

  #note(plan: ContainerPlan, what: string, detail: string | undefined): void {
    const { sessionId } = plan.spec;
    if (sessionId === '') return;
    this.#later(this.#places.note({ sessionId, host: plan.host.name, kind: plan.kind, what, detail }));
  }

  /** What is worth writing down must not hold up or fail what it is about. */
  #later(writing: Promise<unknown>): void {
    const settled = writing.catch((err: unknown) => this.#log.debug({ err }, 'sandbox event not recorded'));
    this.#notes.add(settled);
    void settled.then(() => this.#notes.delete(settled));
  }

  /** Starts the event streams and the sweep with the first sandbox: a worker that needs none dials no engine. */
  #watch(): void {
    if (this.#isWatching) return;
    makePrivate(this.#options.socketDirectory);
    if (this.#options.workspaceDirectory !== undefined && this.#disks.loop !== undefined) {
      makePrivate(this.#options.workspaceDirectory);
    }
    this.#isWatching = true;
    const { signal } = this.#stop;
    const onEvent = (containerId: string, action: string) => {
      for (const hands of this.#sessions.values()) if (hands.containerId === containerId) hands.onEvent(action);
    };
    for (const { engine } of this.#hosts) {
      this.#running.push(watchEngineEvents({ engine, log: this.#log }, this.#options.instance, onEvent, signal));
    }
    this.#running.push(this.#sweep.loop(signal));
    if (this.#hosts.some((host) => !host.sharesFiles)) this.#running.push(this.#beat(signal));
  }

  async #beat(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#places.beat(this.#start.workerId).catch((err: unknown) => this.#log.debug({ err }, 'no beat'));
      await delay(beatMs, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }
}

function hostsOf({ hosts, dockerHost }: DockerSandboxesOptions): readonly DockerHostSetting[] {
  if (hosts !== undefined && hosts.length > 0) return hosts;
  return [{ name: onlyHostName, sharesFiles: true, ...(dockerHost === undefined ? {} : { url: dockerHost }) }];
}

function sessionKeyOf(sessionId: string, kind: SandboxKind): string {
  return `${kind}:${sessionId}`;
}
