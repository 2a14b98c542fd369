import { lstatSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type Docker from 'dockerode';
import { AppError } from '#core/kit/errors.ts';
import { sha256 } from '#core/kit/ids.ts';
import type { Log } from '#core/kit/log.ts';
import { checkEngine } from './check-engine.ts';
import { type ContainerPlan, planContainer, sessionKey, workspaceVolume } from './container-spec.ts';
import { engineStatus, imageMissing, openEngine, toEngineError } from './docker-engine.ts';
import { watchEngineEvents } from './engine-events.ts';
import type { Sandbox, SandboxPort, SandboxSpec } from './sandbox.ts';
import { resolveSandboxLimits, type SandboxLimitValues } from './sandbox-limits.ts';
import { SessionContainer } from './session-container.ts';
import { createSessionSandbox } from './session-sandbox.ts';
import { OrphanSweep } from './sweep-orphans.ts';
import { socketName } from './toolbox-listener.ts';

/** Longest path a unix socket can have on Linux, its closing NUL not counted. */
const socketPathMax = 107;
/** How long an image's id is believed: a rebuilt image then gives new containers. */
const imageIdMs = 5_000;

export interface DockerSandboxesOptions {
  /** A `DOCKER_HOST` value; the local engine when absent. Engine and worker must share a file system. */
  readonly dockerHost?: string;
  /** Image of agents that name none. */
  readonly image: string;
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
  readonly limits?: Partial<SandboxLimitValues>;
}

/**
 * The sandboxes of one worker process, on a Docker engine. Containers outlive it: the next worker adopts them, and what
 * nobody adopts is swept.
 */
export class DockerSandboxes implements SandboxPort, AsyncDisposable {
  readonly #log: Log;
  readonly #engine: Docker;
  readonly #options: DockerSandboxesOptions;
  readonly #limits: SandboxLimitValues;
  readonly #sessions = new Map<string, SessionContainer>();
  readonly #imageIds = new Map<string, { readonly id: string; readonly at: number }>();
  readonly #stop = new AbortController();
  readonly #sweep: OrphanSweep;
  readonly #running: Promise<unknown>[] = [];
  #isWatching = false;

  /** Dials nothing yet. @throws AppError `config.invalid`. */
  constructor(deps: { readonly log: Log }, options: DockerSandboxesOptions) {
    this.#log = deps.log;
    this.#options = { ...options, socketDirectory: shortDirectory(path.resolve(options.socketDirectory)) };
    this.#limits = resolveSandboxLimits(options.limits);
    this.#engine = openEngine(options.dockerHost);
    this.#sweep = new OrphanSweep(
      { engine: this.#engine, log: this.#log },
      { instance: options.instance, limits: this.#limits, directoryOf: (sessionId) => this.#directoryOf(sessionId) },
    );
  }

  async open(spec: SandboxSpec, signal: AbortSignal): Promise<Sandbox> {
    this.#watch();
    const hands = this.#handsOf(spec.sessionId);
    const plan = this.#planner(spec);
    await hands.use(plan, signal, async () => undefined);
    // Looked up at every call: an idle session's entry goes away while its handle is still held.
    return createSessionSandbox({
      hands: () => this.#handsOf(spec.sessionId),
      plan,
      endMs: this.#limits.endMs,
    });
  }

  async check(): Promise<{ readonly ok: boolean; readonly detail: string; readonly mend?: string }> {
    return await checkEngine(this.#engine, this.#options.image);
  }

  /** Removes containers of this installation that no living worker has used for `removeAfterMs`; pauses the others. */
  async sweep(): Promise<{ readonly paused: number; readonly removed: number }> {
    return await this.#sweep.run(new Set(this.#sessions.keys()));
  }

  /** Removes a session's container and its workspace with every file in it. */
  async forget(sessionId: string): Promise<void> {
    await this.#sessions.get(sessionId)?.close({ keepContainer: false });
    this.#sessions.delete(sessionId);
    try {
      await this.#engine.getVolume(workspaceVolume(sessionId)).remove();
    } catch (err) {
      if (engineStatus(err) !== 404) throw toEngineError(err);
    }
  }

  /** Stops this worker's sandboxes; the containers go, the workspaces stay. */
  async removeAll(): Promise<void> {
    await Promise.all([...this.#sessions.values()].map((hands) => hands.close({ keepContainer: false })));
    this.#sessions.clear();
  }

  /** Lets go of everything: listeners close, commands that run are ended by their toolboxes, containers stay. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all([...this.#sessions.values()].map((hands) => hands.close({ keepContainer: true })));
    this.#sessions.clear();
    await Promise.all(this.#running);
  }

  #directoryOf(sessionId: string): string {
    return path.join(this.#options.socketDirectory, sessionKey(this.#options.instance, sessionId));
  }

  #handsOf(sessionId: string): SessionContainer {
    if (this.#stop.signal.aborted) throw new AppError('sandbox.unavailable', 'The worker is stopping.');
    const known = this.#sessions.get(sessionId);
    if (known !== undefined) return known;
    const hands: SessionContainer = new SessionContainer({
      engine: this.#engine,
      log: this.#log.child({ sessionId }),
      limits: this.#limits,
      hostDirectory: this.#directoryOf(sessionId),
      onIdle: () => {
        if (this.#sessions.get(sessionId) === hands) this.#sessions.delete(sessionId);
      },
    });
    this.#sessions.set(sessionId, hands);
    return hands;
  }

  #planner(spec: SandboxSpec): () => Promise<ContainerPlan> {
    const image = spec.limits.image ?? this.#options.image;
    let last: { readonly imageId: string; readonly plan: ContainerPlan } | undefined;
    return async () => {
      const imageId = await this.#imageId(image);
      if (last?.imageId === imageId) return last.plan;
      const plan = planContainer(spec, {
        image,
        imageId,
        instance: this.#options.instance,
        hostDirectory: this.#directoryOf(spec.sessionId),
        createdAt: new Date(),
      });
      last = { imageId, plan };
      return plan;
    };
  }

  async #imageId(image: string): Promise<string> {
    const known = this.#imageIds.get(image);
    if (known !== undefined && performance.now() - known.at < imageIdMs) return known.id;
    try {
      const { Id: id } = await this.#engine.getImage(image).inspect();
      this.#imageIds.set(image, { id, at: performance.now() });
      return id;
    } catch (err) {
      throw engineStatus(err) === 404 ? imageMissing(image, err) : toEngineError(err);
    }
  }

  /** Starts the event stream and the sweep with the first sandbox: a worker that needs none dials no engine. */
  #watch(): void {
    if (this.#isWatching) return;
    makePrivate(this.#options.socketDirectory);
    this.#isWatching = true;
    const { signal } = this.#stop;
    const onEvent = (containerId: string, action: string) => {
      for (const hands of this.#sessions.values()) if (hands.containerId === containerId) hands.onEvent(action);
    };
    this.#running.push(
      watchEngineEvents({ engine: this.#engine, log: this.#log }, this.#options.instance, onEvent, signal),
      this.#sweep.loop(() => new Set(this.#sessions.keys()), signal),
    );
  }
}

function shortDirectory(wanted: string): string {
  const longest = path.join(wanted, sessionKey('', ''), socketName).length;
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
