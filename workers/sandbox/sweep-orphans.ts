import { readdir, rm, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type Docker from 'dockerode';
import type { Log } from '#core/kit/log.ts';
import type { KnownPlace, SandboxPlaces } from '#core/sandboxes/sandbox-place.ts';
import { labels, workspaceVolume } from './container-spec.ts';
import { engineStatus, removeContainer, removeVolume, toEngineError } from './docker-engine.ts';
import type { DockerHost } from './docker-host.ts';
import type { SandboxLimitValues } from './sandbox-limits.ts';
import { socketName } from './toolbox-listener.ts';
import type { WorkspaceDisks } from './workspace-disks.ts';

/** How long after the first sandbox the first sweep comes. */
const firstMs = 3_000;
/** What takes a look at every file and volume is done this often. */
const deepEveryMs = 600_000;
/** Where no socket tells whether a worker lives, this long a silence says that it does not. */
const silentMs = 150_000;
/** What has no owner is left alone for this long: its owner may be just about to say so. */
const youngMs = 3_600_000;
/** Longer than it takes to replace a container. */
const replacedMs = 30_000;

interface SweepDeps {
  readonly log: Log;
  readonly places: SandboxPlaces;
  readonly disks: WorkspaceDisks;
}

export interface Orphan {
  readonly host: DockerHost;
  readonly container: Docker.ContainerInfo;
  readonly place: KnownPlace | undefined;
  /** Name of its folder. */
  readonly key: string;
}

interface SweepOptions {
  readonly hosts: readonly DockerHost[];
  readonly instance: string;
  readonly limits: SandboxLimitValues;
  /** Whether every session of the installation is on record in the places; otherwise no workspace is removed. */
  readonly knowsAll: boolean;
  readonly socketDirectory: string;
  /** Folders of the containers this worker holds itself. */
  readonly ownKeys: () => ReadonlySet<string>;
  /** Workspaces this worker keeps ready. */
  readonly ownWorkspaces: () => readonly string[];
  /** Takes a running container over; it is put to rest unless jobs run in it. @throws when its toolbox keeps silent. */
  readonly adopt: (orphan: Orphan) => Promise<{ readonly isPaused: boolean }>;
  /** Removes everything of a session. */
  readonly forget: (sessionId: string) => Promise<void>;
}

export interface SweepResult {
  paused: number;
  removed: number;
  /** Mounts, images, volumes and folders that belonged to nothing. */
  cleared: number;
}

/**
 * Ends what workers that died left. A container is an orphan when no worker listens on its socket; a running one is
 * taken over and put to rest, unless jobs run in it, and removed after `removeAfterMs`. Workspaces stay until some time
 * after the end of their session. Every step may be cut off anywhere: the next sweep finds what is left.
 */
export class OrphanSweep {
  readonly #deps: SweepDeps;
  readonly #options: SweepOptions;
  readonly #firstSeen = new Map<string, number>();
  #deepAt = Number.NEGATIVE_INFINITY;

  constructor(deps: SweepDeps, options: SweepOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  /** Sweeps soon and then every `sweepEveryMs` until the signal aborts. */
  async loop(signal: AbortSignal): Promise<void> {
    // Not at once: it would compete with the container that is being started.
    await delay(Math.min(firstMs, this.#options.limits.sweepEveryMs), undefined, { signal, ref: false }).catch(
      () => undefined,
    );
    let isFailing = false;
    while (!signal.aborted) {
      try {
        await this.run();
        isFailing = false;
      } catch (err) {
        // Said once for each outage: an engine that is away is told at the start and by every tool call.
        this.#deps.log[isFailing ? 'debug' : 'warn']({ err: toEngineError(err) }, 'sandbox sweep failed');
        isFailing = true;
      }
      await delay(this.#options.limits.sweepEveryMs, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  /**
   * One pass over everything of this installation that this worker does not hold itself. With `isThorough`, orphans
   * go at once and nothing is put off to a later pass. A host that is away does not keep the others from being swept.
   * @throws what the first host that failed said, after the others.
   */
  async run({ isThorough = false }: { readonly isThorough?: boolean } = {}): Promise<SweepResult> {
    const result: SweepResult = { paused: 0, removed: 0, cleared: 0 };
    const places = await this.#deps.places.list();
    const isDeep = this.#options.knowsAll && (isThorough || performance.now() - this.#deepAt >= deepEveryMs);
    const failures: unknown[] = [];
    const names = new Set<string>();
    for (const host of this.#options.hosts) {
      try {
        const known = new Map(
          places.filter((place) => place.host === host.name).map((place) => [place.workspace, place]),
        );
        for (const name of await this.#sweepContainers(host, known, isThorough, result)) names.add(name);
        if (isDeep) await this.#sweepVolumes(host, known, result);
      } catch (err) {
        failures.push(err);
      }
    }
    if (isDeep) {
      await this.#forgetEnded(places);
      const workspaces = [...places.map((place) => place.workspace), ...this.#options.ownWorkspaces()];
      result.cleared += (await this.#deps.disks.loop?.sweep(new Set(workspaces))) ?? 0;
      if (failures.length === 0) result.cleared += await this.#sweepFolders(names);
      this.#deepAt = performance.now();
    }
    if (result.removed + result.cleared > 0) this.#deps.log.info(result, 'orphaned sandboxes removed');
    if (failures.length > 0) throw failures[0];
    return result;
  }

  /** @returns the folder names of all containers there are. */
  async #sweepContainers(
    host: DockerHost,
    known: ReadonlyMap<string, KnownPlace>,
    isThorough: boolean,
    result: SweepResult,
  ): Promise<string[]> {
    const found = await host.engine.listContainers({
      all: true,
      filters: { label: [`${labels.instance}=${this.#options.instance}`] },
    });
    const ownKeys = this.#options.ownKeys();
    const keys: string[] = [];
    for (const container of found) {
      const key = keyOf(container);
      keys.push(key);
      const of = container.Labels[labels.host];
      if (of !== undefined && of !== host.name) continue;
      if (ownKeys.has(key)) continue;
      const workspace = container.Labels[labels.workspace] ?? container.Labels[labels.session] ?? '';
      const orphan: Orphan = { host, container, place: known.get(workspace), key };
      if (await this.#hasWorker(orphan)) {
        this.#firstSeen.delete(container.Id);
        continue;
      }
      await this.#sweepOrphan(orphan, isThorough, result);
    }
    const ids = new Set(found.map((container) => container.Id));
    // Ids of other hosts are kept: a container that is not listed here may be theirs.
    if (this.#options.hosts.length === 1) {
      for (const id of this.#firstSeen.keys()) if (!ids.has(id)) this.#firstSeen.delete(id);
    }
    return keys;
  }

  async #hasWorker({ host, place, key }: Orphan): Promise<boolean> {
    if (host.sharesFiles) return await isListening(path.join(this.#options.socketDirectory, key, socketName));
    return place?.seenAt !== undefined && Date.now() - place.seenAt.getTime() < silentMs;
  }

  async #sweepOrphan(orphan: Orphan, isThorough: boolean, result: SweepResult): Promise<void> {
    const { container, place } = orphan;
    const { limits } = this.#options;
    const since = this.#firstSeen.get(container.Id) ?? performance.now();
    this.#firstSeen.set(container.Id, since);
    const isOver = performance.now() - since >= limits.removeAfterMs;
    const isOld = Date.now() - container.Created * 1000 > limits.ageMs;
    // Kept ready by a worker that died: nobody will ever ask for it.
    const isNobodys = place === undefined && container.Labels[labels.session] === undefined;
    if (isNobodys && !this.#options.knowsAll) return;
    const isDown = container.State !== 'running' && container.State !== 'paused';
    if (isThorough || isOver || isOld || isNobodys || isDown) {
      await this.#remove(orphan, { withWorkspace: isNobodys, isThorough });
      result.removed++;
      return;
    }
    if (container.State === 'paused') return;
    if (container.Labels[labels.kind] === 'browser') {
      if (await this.#pause(orphan)) result.paused++;
      return;
    }
    try {
      if ((await this.#options.adopt(orphan)).isPaused) result.paused++;
    } catch (err) {
      // A session that was opened meanwhile took it from us: what stands in the folder is that session's.
      if (this.#options.ownKeys().has(orphan.key) || (await this.#hasWorker(orphan))) return;
      this.#deps.log.debug({ err, container: container.Id }, 'orphaned sandbox does not answer');
      await this.#remove(orphan, { withWorkspace: false, isThorough });
      result.removed++;
    }
  }

  async #remove(
    { host, container, key }: Orphan,
    { withWorkspace, isThorough }: { readonly withWorkspace: boolean; readonly isThorough: boolean },
  ): Promise<void> {
    await removeContainer(host.engine, container.Id);
    if (host.sharesFiles) await this.#removeFolder(key, isThorough ? 0 : replacedMs);
    const workspace = container.Labels[labels.workspace];
    if (withWorkspace && workspace !== undefined) {
      await this.#deps.disks.remove(host, { workspace, disk: 'loop' });
      await this.#deps.disks.remove(host, { workspace, disk: 'watched' });
    }
    this.#firstSeen.delete(container.Id);
  }

  /**
   * Removes the folder of a container that is gone, unless it changed in the last `quietMs` or a worker lives behind it. A
   * worker that replaces its container closes the old socket some time before it binds the new one in the same place: what
   * changed just now may be the next container's, and is left to a later pass.
   */
  async #removeFolder(key: string, quietMs: number): Promise<boolean> {
    const folder = path.join(this.#options.socketDirectory, key);
    const { mtimeMs } = await stat(folder).catch(() => ({ mtimeMs: Date.now() }));
    if (quietMs > 0 && Date.now() - mtimeMs < quietMs) return false;
    if (this.#options.ownKeys().has(key) || (await isListening(path.join(folder, socketName)))) return false;
    await rm(folder, { recursive: true, force: true });
    return true;
  }

  async #pause({ host, container }: Orphan): Promise<boolean> {
    try {
      await host.engine.getContainer(container.Id).pause();
      return true;
    } catch (err) {
      // Gone, ended or paused by somebody else meanwhile.
      if (engineStatus(err) === undefined) throw err;
      return false;
    }
  }

  /** Volumes made before their session was known, and never taken. */
  async #sweepVolumes(host: DockerHost, known: ReadonlyMap<string, KnownPlace>, result: SweepResult): Promise<void> {
    const { instance, ownWorkspaces } = this.#options;
    const { Volumes: volumes } = await host.engine
      .listVolumes({ filters: JSON.stringify({ label: [`${labels.instance}=${instance}`] }) })
      .catch((err: unknown) => {
        // A proxy in front of the engine may not let us look.
        if (engineStatus(err) === 403) return { Volumes: [] };
        throw err;
      });
    const wanted = new Set([...known.keys(), ...ownWorkspaces()].map(workspaceVolume));
    for (const volume of volumes ?? []) {
      const createdAt = 'CreatedAt' in volume ? Date.parse(String(volume.CreatedAt)) : Number.NaN;
      const isYoung = !(Date.now() - createdAt > youngMs);
      const hasSession = volume.Labels?.[labels.session] !== undefined;
      if (wanted.has(volume.Name) || hasSession || isYoung) continue;
      if (await removeVolume(host.engine, volume.Name)) result.cleared++;
    }
  }

  async #forgetEnded(places: readonly KnownPlace[]): Promise<void> {
    for (const { sessionId, endedAt } of places) {
      if (endedAt === undefined || Date.now() - endedAt.getTime() < this.#options.limits.keepMs) continue;
      await this.#options.forget(sessionId);
    }
  }

  /** Folders whose container is gone. */
  async #sweepFolders(keys: ReadonlySet<string>): Promise<number> {
    let cleared = 0;
    for (const key of await readdir(this.#options.socketDirectory).catch(() => [])) {
      if (!/^[0-9a-f]{20}(-b)?$/.test(key) || keys.has(key)) continue;
      if (await this.#removeFolder(key, youngMs)) cleared++;
    }
    return cleared;
  }
}

/** The folder of a container, from its name. */
export function keyOf(container: Docker.ContainerInfo): string {
  return (container.Names[0] ?? '').replace(/^\/?switchyard-/, '');
}

/** Whether a worker lives behind this socket. The directory is the host's, so dialling it is safe. */
async function isListening(socketPath: string): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect(socketPath);
    const end = (is: boolean) => {
      socket.destroy();
      resolve(is);
    };
    socket.once('connect', () => end(true));
    socket.once('error', () => end(false));
  });
}
