import { rm } from 'node:fs/promises';
import { connect } from 'node:net';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type Docker from 'dockerode';
import type { Log } from '#core/kit/log.ts';
import { labels } from './container-spec.ts';
import { engineStatus, removeContainer, toEngineError } from './docker-engine.ts';
import type { SandboxLimitValues } from './sandbox-limits.ts';
import { socketName } from './toolbox-listener.ts';

/** How long after the first sandbox the first sweep comes. */
const firstMs = 3_000;

interface SweepOptions {
  readonly instance: string;
  readonly limits: SandboxLimitValues;
  readonly directoryOf: (sessionId: string) => string;
}

/**
 * Ends what workers that died left running. A container is an orphan when nobody listens on its session's socket; it is
 * paused when first seen, and removed when it is still one after `removeAfterMs`, so that a worker that comes back can
 * adopt it. Workspaces stay.
 */
export class OrphanSweep {
  readonly #deps: { readonly engine: Docker; readonly log: Log };
  readonly #options: SweepOptions;
  readonly #firstSeen = new Map<string, number>();

  constructor(deps: { readonly engine: Docker; readonly log: Log }, options: SweepOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  /** Sweeps soon and then every `sweepEveryMs` until the signal aborts. */
  async loop(ownSessions: () => ReadonlySet<string>, signal: AbortSignal): Promise<void> {
    // Not at once: it would compete with the container that is being started.
    await delay(Math.min(firstMs, this.#options.limits.sweepEveryMs), undefined, { signal, ref: false }).catch(
      () => undefined,
    );
    let isFailing = false;
    while (!signal.aborted) {
      try {
        await this.run(ownSessions());
        isFailing = false;
      } catch (err) {
        // Said once for each outage: an engine that is away is told at the start and by every tool call.
        this.#deps.log[isFailing ? 'debug' : 'warn']({ err: toEngineError(err) }, 'sandbox sweep failed');
        isFailing = true;
      }
      await delay(this.#options.limits.sweepEveryMs, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  /** One pass over all containers of this installation but those of `ownSessions`. */
  async run(ownSessions: ReadonlySet<string>): Promise<{ readonly paused: number; readonly removed: number }> {
    const found = await this.#deps.engine.listContainers({
      all: true,
      filters: { label: [`${labels.instance}=${this.#options.instance}`] },
    });
    let paused = 0;
    let removed = 0;
    for (const container of found) {
      const sessionId = container.Labels[labels.session];
      if (sessionId === undefined || ownSessions.has(sessionId)) continue;
      const directory = this.#options.directoryOf(sessionId);
      if (await isListening(path.join(directory, socketName))) {
        this.#firstSeen.delete(container.Id);
        continue;
      }
      const since = this.#firstSeen.get(container.Id) ?? performance.now();
      this.#firstSeen.set(container.Id, since);
      if (performance.now() - since >= this.#options.limits.removeAfterMs || container.State === 'exited') {
        await removeContainer(this.#deps.engine, container.Id);
        await rm(directory, { recursive: true, force: true });
        this.#firstSeen.delete(container.Id);
        removed++;
      } else if (container.State === 'running' && (await this.#pause(container.Id))) paused++;
    }
    const ids = new Set(found.map((container) => container.Id));
    for (const id of this.#firstSeen.keys()) if (!ids.has(id)) this.#firstSeen.delete(id);
    if (removed > 0) this.#deps.log.info({ removed }, 'orphaned sandboxes removed');
    return { paused, removed };
  }

  async #pause(id: string): Promise<boolean> {
    try {
      await this.#deps.engine.getContainer(id).pause();
      return true;
    } catch (err) {
      // Gone, ended or paused by somebody else meanwhile.
      if (engineStatus(err) === undefined) throw err;
      return false;
    }
  }
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
