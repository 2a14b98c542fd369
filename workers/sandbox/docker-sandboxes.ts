import { lstatSync, mkdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { sandboxLimitsSchema } from '#core/agents/agent-profile.ts';
import { aborted } from '#core/kit/aborted.ts';
import { AppError } from '#core/kit/errors.ts';
import { newId, newToken, sha256 } from '#core/kit/ids.ts';
import type { Log } from '#core/kit/log.ts';
import type { SandboxPlace, SandboxPlaces } from '#core/sandboxes/sandbox-place.ts';
import { Admission } from './admission.ts';
import { checkEngine } from './check-engine.ts';
import { browserLimits, type ContainerPlan, labels, planContainer, sessionKey } from './container-spec.ts';
import { imageMissing, removeContainer } from './docker-engine.ts';
import { DockerHost, type DockerHostSetting, onlyHostName } from './docker-host.ts';
import { watchEngineEvents } from './engine-events.ts';
import { evictPaused } from './evict-paused.ts';
import { adoptContainer, furnish, type LiveContainer, type StartDeps, startContainer } from './live-container.ts';
import { createMemoryPlaces } from './memory-places.ts';
import type { OpenGateway, PrepareSandboxFolder, Sandbox, SandboxKind, SandboxPort, SandboxSpec } from './sandbox.ts';
import { SandboxDesk } from './sandbox-desk.ts';
import { resolveSandboxLimits, type SandboxLimitValues } from './sandbox-limits.ts';
import { SessionContainer } from './session-container.ts';
import { createSessionSandbox } from './session-sandbox.ts';
import { type Orphan, OrphanSweep, type SweepResult } from './sweep-orphans.ts';
import { socketName } from './toolbox-listener.ts';
import { WarmPool } from './warm-pool.ts';
import { type DiskChoice, WorkspaceDisks } from './workspace-disks.ts';

/** Longest path a unix socket can have on Linux, its closing NUL not counted. */
const socketPathMax = 107;
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
  /** By folder name. */
  readonly #sessions = new Map<string, SessionContainer>();
  /** By session, as settled. */
  readonly #settled = new Map<string, Promise<SandboxPlace>>();
  /** Ready containers on their way to their session, by workspace. */
  readonly #claimed = new Map<string, LiveContainer>();
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
    this.#pool = new WarmPool({
      log: this.#log,
      size: limits.poolSize,
      standard: { limits: sandboxLimitsSchema.parse({}) },
      make: async ({ limits: wanted }) => await this.#makeSpare(wanted),
      isFresh: async (live, shape) => {
        const spec = { ...live.plan.spec, limits: shape.limits };
        const { digest } = await this.#plan(spec, live.plan.host, { ...live.plan, disk: diskOf(live.plan) });
        const isYoung = Date.now() - live.createdAt.getTime() < limits.ageMs / 2;
        return isYoung && digest === live.plan.digest;
      },
      drop: async (live) => await this.#dropSpare(live),
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
        ownWorkspaces: () => [...this.#pool.workspaces, ...this.#claimed.keys()],
        adopt: async (orphan) => await this.#adopt(orphan),
        forget: async (sessionId) => await this.forget(sessionId),
      },
    );
  }

  async open(spec: SandboxSpec, signal: AbortSignal): Promise<Sandbox> {
    this.#watch();
    const plan = this.#planner(spec);
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
    return await checkEngine(this.#hosts, this.#disks, kind === 'browser' ? (browserImage ?? 'of browsers') : image);
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
    this.#settled.delete(sessionId);
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
    await Promise.all([...this.#sessions.values()].map((hands) => hands.close({ keepContainer: true })));
    this.#sessions.clear();
    await Promise.all(this.#running);
    await Promise.all(this.#notes);
  }

  #ownKeys(): ReadonlySet<string> {
    const plans = [...this.#sessions.values()].flatMap((hands) => (hands.plan === undefined ? [] : [hands.plan]));
    const spare = [...this.#pool.workspaces, ...this.#claimed.keys()];
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
          this.#settled.delete(sessionId);
        }
      },
      note: (plan, what, detail) => this.#note(plan, what, detail),
      noteUse: (plan, usedMb) => this.#later(this.#places.noteUse(plan.spec.sessionId, usedMb)),
    });
    this.#sessions.set(key, hands);
    return hands;
  }

  #planner(spec: SandboxSpec): () => Promise<ContainerPlan> {
    let last: { readonly imageId: string; readonly place: SandboxPlace; readonly plan: ContainerPlan } | undefined;
    return async () => {
      const place = await this.#placeOf(spec);
      const host = this.#hostNamed(place.host);
      const imageId = await host.imageId(this.#imageOf(spec));
      if (last?.imageId === imageId && last.place === place) return last.plan;
      const plan = await this.#plan(spec, host, place);
      last = { imageId, place, plan };
      return plan;
    };
  }

  async #plan(
    spec: SandboxSpec,
    host: DockerHost,
    place: Pick<SandboxPlace, 'workspace' | 'disk'>,
  ): Promise<ContainerPlan> {
    const isBrowser = spec.kind === 'browser';
    const image = this.#imageOf(spec);
    const hostDirectory = path.join(
      this.#options.socketDirectory,
      sessionKey(this.#options.instance, place.workspace, spec.kind),
    );
    const diskMb = isBrowser ? browserLimits.workspaceMb : spec.limits.disk_mb;
    const planned = planContainer(spec, {
      image,
      imageId: await host.imageId(image),
      instance: this.#options.instance,
      host: host.name,
      workspace: place.workspace,
      mount: isBrowser ? { kind: 'memory', sizeMb: diskMb } : this.#disks.mountOf(place, diskMb),
      hostDirectory: host.sharesFiles ? hostDirectory : undefined,
      createdAt: new Date(),
    });
    const disk = isBrowser ? 'memory' : place.disk;
    return { ...planned, spec, host, hostDirectory, workspace: place.workspace, disk, diskMb };
  }

  #imageOf(spec: SandboxSpec): string {
    if (spec.kind !== 'browser') return spec.limits.image ?? this.#options.image;
    if (this.#options.browserImage === undefined) throw imageMissing('of browsers');
    return this.#options.browserImage;
  }

  #hostNamed(name: string): DockerHost {
    const host = this.#hosts.find((each) => each.name === name);
    if (host !== undefined) return host;
    throw new AppError(
      'sandbox.unavailable',
      `This session’s files are on the Docker host ${name}, which is not set up.`,
      {
        mend: `Add ${name} to DOCKER_HOSTS again, or begin a new session with /new.`,
      },
    );
  }

  /** Where the session's files are, settled at its first sandbox and the same for every worker ever after. */
  async #placeOf(spec: SandboxSpec): Promise<SandboxPlace> {
    const known = this.#settled.get(spec.sessionId);
    if (known !== undefined) return await known;
    const settling = this.#settle(spec);
    this.#settled.set(spec.sessionId, settling);
    settling.catch(() => {
      if (this.#settled.get(spec.sessionId) === settling) this.#settled.delete(spec.sessionId);
    });
    return await settling;
  }

  async #settle(spec: SandboxSpec): Promise<SandboxPlace> {
    const { sessionId } = spec;
    const known = await this.#places.find(sessionId);
    if (known !== undefined) return known;
    const host = await this.#chooseHost(spec);
    const place = { sessionId, host: host.name, workspace: sessionId };
    if (await this.#disks.hasVolume(host, sessionId)) {
      return await this.#places.settle({ ...place, disk: 'watched' });
    }
    const spare = spec.kind === 'browser' ? undefined : await this.#claim(spec, host);
    if (spare === undefined) return await this.#places.settle({ ...place, disk: await this.#disks.kindOn(host) });
    const { workspace } = spare.plan;
    this.#claimed.set(workspace, spare);
    try {
      const settled = await this.#places.settle({ ...place, workspace, disk: diskOf(spare.plan) });
      if (settled.workspace === workspace) return settled;
      this.#claimed.delete(workspace);
      this.#pool.giveBack(spare);
      return settled;
    } catch (err) {
      // Whether it is settled is not known: the sweep will see, once nobody listens for it any more.
      this.#claimed.delete(workspace);
      spare.connection.close(new AppError('sandbox.lost', 'The sandbox could not be given to its session.'));
      await spare.link.close();
      throw err;
    }
  }

  async #claim(spec: SandboxSpec, host: DockerHost): Promise<LiveContainer | undefined> {
    const imageId = await host.imageId(this.#imageOf(spec));
    return await this.#pool.claim(spec, (live) => {
      if (live.plan.host !== host) return false;
      const wanted = planContainer(spec, {
        image: this.#imageOf(spec),
        imageId,
        instance: this.#options.instance,
        host: host.name,
        workspace: live.plan.workspace,
        mount: this.#disks.mountOf({ workspace: live.plan.workspace, disk: diskOf(live.plan) }, spec.limits.disk_mb),
        hostDirectory: live.plan.hostDirectory,
        createdAt: new Date(),
      });
      return wanted.digest === live.plan.digest;
    });
  }

  /** The host with the most room; one that is away gets no new sessions. */
  async #chooseHost(spec: SandboxSpec): Promise<DockerHost> {
    const [first, ...others] = this.#hosts.filter((host) => host.sharesFiles || spec.limits.network === 'none');
    if (first === undefined) {
      throw new AppError('sandbox.unavailable', 'No Docker host here can give a sandbox the egress gateway.', {
        mend: 'That takes a host that shares its file system with the worker: add one to DOCKER_HOSTS.',
      });
    }
    if (others.length === 0) return first;
    const rooms = await Promise.allSettled(
      [first, ...others].map(async (host) => {
        const { used, bound } = await this.#admission.loadOf(host);
        return { host, freeMb: bound.memoryMb - used.memoryMb };
      }),
    );
    const [best] = rooms
      .flatMap((room) => (room.status === 'fulfilled' ? [room.value] : []))
      .sort((a, b) => b.freeMb - a.freeMb);
    if (best !== undefined) return best.host;
    throw rooms.find((room) => room.status === 'rejected')?.reason;
  }

  async #startPlanned(wanted: ContainerPlan): Promise<LiveContainer> {
    const plan = await this.#asSettled(wanted);
    const spare = this.#claimed.get(plan.workspace);
    this.#claimed.delete(plan.workspace);
    if (spare !== undefined) {
      if (spare.connection.isOpen && spare.plan.digest === plan.digest) {
        return { ...spare, plan, gateway: await furnish(this.#start, plan) };
      }
      await spare.link.close();
    }
    try {
      return await startContainer(this.#start, plan);
    } catch (err) {
      const isLoopUnseen = err instanceof AppError && err.details['isLoopUnseen'] === true;
      if (!isLoopUnseen || this.#options.disk === 'loop') throw err;
      this.#log.warn({ err }, 'workspaces will be watched volumes');
      return await startContainer(this.#start, await this.#fallBack(plan));
    }
  }

  /** The plan with the place as it is on record: an operator may have removed the workspace since it was settled. */
  async #asSettled(plan: ContainerPlan): Promise<ContainerPlan> {
    const { sessionId } = plan.spec;
    const known = await this.#places.find(sessionId);
    if (known?.workspace === plan.workspace && known.host === plan.host.name) return plan;
    this.#settled.delete(sessionId);
    const place = await this.#placeOf(plan.spec);
    return await this.#plan(plan.spec, this.#hostNamed(place.host), place);
  }

  /** Gives a session whose workspace was never seen by an agent another kind. */
  async #fallBack({ spec, host, workspace }: ContainerPlan): Promise<ContainerPlan> {
    this.#disks.rejectLoop(host);
    await this.#places.remove(spec.sessionId);
    await this.#disks.remove(host, { workspace, disk: 'loop' });
    this.#settled.delete(spec.sessionId);
    return await this.#plan(spec, host, await this.#placeOf(spec));
  }

  async #makeSpare(limits: SandboxSpec['limits']): Promise<LiveContainer> {
    const spec: SandboxSpec = { sessionId: '', agent: '', limits };
    const host = await this.#chooseHost(spec);
    if (!host.sharesFiles)
      throw new AppError('sandbox.unavailable', 'Only hosts with shared files keep sandboxes ready.');
    const workspace = `spare-${newToken(12)}`;
    const plan = await this.#plan(spec, host, { workspace, disk: await this.#disks.kindOn(host) });
    this.#watch();
    // What stands in the folder is the session's own; there is none yet.
    const bare = { ...plan, spec: { ...spec, limits: { ...limits, network: 'none' as const } } };
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
  async #adopt({ host, container, place, key }: Orphan): Promise<{ readonly isPaused: boolean }> {
    const labelled = container.Labels;
    const sessionId = place?.sessionId ?? labelled[labels.session] ?? '';
    const kind = labelled[labels.kind] === 'browser' ? 'browser' : 'core';
    const limits = sandboxLimitsSchema.parse({});
    const plan: ContainerPlan = {
      name: `switchyard-${key}`,
      kind,
      digest: labelled[labels.spec] ?? '',
      options: {},
      memoryMb: Number(labelled[labels.memoryMb] ?? limits.memory_mb),
      pids: Number(labelled[labels.pids] ?? limits.pids),
      spec: { sessionId, agent: labelled[labels.agent] ?? '', limits, kind },
      host,
      hostDirectory: path.join(this.#options.socketDirectory, key),
      workspace: place?.workspace ?? sessionId,
      // It is not watched: what runs in it is only what was running, and its limit is not known here.
      disk: 'memory',
      diskMb: 0,
    };
    const made = { id: container.Id, createdAt: new Date(container.Created * 1000) };
    const live = await adoptContainer(this.#start, plan, made);
    const hands = this.#handsOf(sessionId, kind);
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

/** The kind of a workspace that is no browser's. */
function diskOf(plan: ContainerPlan): SandboxPlace['disk'] {
  return plan.disk === 'memory' ? 'watched' : plan.disk;
}

function shortDirectory(wanted: string): string {
  const longest = path.join(wanted, sessionKey('', '', 'browser'), socketName).length;
  return longest <= socketPathMax ? wanted : path.join(tmpdir(), `switchyard-${sha256(wanted).slice(0, 16)}`);
}

/** Makes the directory for this user alone. In a temporary directory anybody could have been there first. */
function makePrivate(directory: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const found = lstatSync(directory);
  if (!found.isDirectory() || (process.getuid !== undefined && found.uid !== process.getuid())) {
    throw new AppError('sandbox.unavailable', `The socket directory ${directory} belongs to somebody else.`, {
      mend: 'Remove it, or set another data directory.',
    });
  }
}
