import { setTimeout as delay } from 'node:timers/promises';
import { canonicalJson } from '#core/kit/json.ts';
import type { Log } from '#core/kit/log.ts';
import type { LiveContainer } from './live-container.ts';
import type { SandboxSpec } from './sandbox.ts';

/** Latest sessions that decide which containers are kept ready. */
const rememberedMax = 8;
/** A worker that starts has other things to do first. */
const firstMs = 1_000;
/** A session that has just taken a container has work for this machine; the next container comes a little later. */
const refillMs = 500;
/** How long to leave an engine alone that could not make a container. */
const failedMs = 30_000;
/** How often images that were rebuilt and containers that died are noticed. */
const checkMs = 60_000;

type Shape = Pick<SandboxSpec, 'limits'>;

interface WarmPoolDeps {
  readonly log: Log;
  readonly size: number;
  /** What is kept ready before there were sessions. */
  readonly standard: Shape;
  readonly make: (shape: Shape) => Promise<LiveContainer>;
  /** Whether it is still what a session of this shape would get. */
  readonly isFresh: (live: LiveContainer, shape: Shape) => Promise<boolean>;
  /** Removes a container nobody took, with its workspace. */
  readonly drop: (live: LiveContainer) => Promise<void>;
}

/**
 * Containers that run before there is a session for them, each with an empty workspace of its own. A session that has
 * none yet takes the container and the workspace together; a volume cannot be added to a container that lives. They are
 * of the kind that most of the latest sessions asked for.
 */
export class WarmPool implements AsyncDisposable {
  readonly #deps: WarmPoolDeps;
  readonly #ready: LiveContainer[] = [];
  readonly #recent: string[] = [];
  readonly #shapes = new Map<string, Shape>();
  readonly #stop = new AbortController();
  #filling: Promise<void> | undefined;
  #bell = Promise.withResolvers<void>();

  constructor(deps: WarmPoolDeps) {
    this.#deps = deps;
    this.#shapes.set(keyOf(deps.standard), deps.standard);
  }

  /** Names of the workspaces that are kept ready. */
  get workspaces(): readonly string[] {
    return this.#ready.map((live) => live.plan.workspace);
  }

  get ready(): readonly LiveContainer[] {
    return this.#ready;
  }

  /** Begins to keep containers ready; until then, and with a size of 0, there are none. */
  start(): void {
    if (this.#deps.size > 0) this.#filling ??= this.#fill();
  }

  /** A ready container that `suits`, if there is one. It is the caller's from now on. */
  claim(shape: Shape, suits: (live: LiveContainer) => boolean): LiveContainer | undefined {
    this.#remember(shape);
    const found = this.#ready.findIndex((live) => live.connection.isOpen && suits(live));
    const [live] = found < 0 ? [] : this.#ready.splice(found, 1);
    this.#ring();
    return live;
  }

  /** Gives back what was claimed and not used. */
  giveBack(live: LiveContainer): void {
    this.#ready.push(live);
  }

  /** Removes one container to make room. @returns whether there was one. */
  async shrink(): Promise<boolean> {
    const live = this.#ready.pop();
    if (live === undefined) return false;
    await this.#deps.drop(live);
    return true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#ring();
    await this.#filling;
    await Promise.all(this.#ready.splice(0).map(async (live) => await this.#drop(live)));
  }

  #ring(): void {
    this.#bell.resolve();
    this.#bell = Promise.withResolvers<void>();
  }

  #remember(shape: Shape): void {
    const key = keyOf(shape);
    this.#shapes.set(key, shape);
    this.#recent.push(key);
    if (this.#recent.length > rememberedMax) this.#recent.shift();
    for (const known of this.#shapes.keys()) {
      if (known !== keyOf(this.#deps.standard) && !this.#recent.includes(known)) this.#shapes.delete(known);
    }
  }

  #wanted(): Shape {
    const counts = new Map<string, number>();
    for (const key of this.#recent) counts.set(key, (counts.get(key) ?? 0) + 1);
    const [best] = [...counts].sort(([, a], [, b]) => b - a);
    return (best === undefined ? undefined : this.#shapes.get(best[0])) ?? this.#deps.standard;
  }

  async #fill(): Promise<void> {
    const { signal } = this.#stop;
    await sleep(firstMs, signal);
    while (!signal.aborted) {
      const bell = this.#bell.promise;
      const isFilled = await this.#round().then(
        () => true,
        (err: unknown) => {
          // Not louder: an engine that is away is told by every tool call, too.
          this.#deps.log.debug({ err }, 'no sandbox kept ready');
          return false;
        },
      );
      if (isFilled) await Promise.race([bell, sleep(checkMs, signal)]);
      await sleep(isFilled ? refillMs : failedMs, signal);
    }
  }

  /** Drops what no session would take any more and makes those that are missing. */
  async #round(): Promise<void> {
    const shape = this.#wanted();
    for (const live of [...this.#ready]) {
      if (live.connection.isOpen && (await this.#deps.isFresh(live, shape))) continue;
      const at = this.#ready.indexOf(live);
      if (at < 0) continue;
      this.#ready.splice(at, 1);
      await this.#drop(live);
    }
    while (this.#ready.length < this.#deps.size && !this.#stop.signal.aborted) {
      const live = await this.#deps.make(shape);
      this.#ready.push(live);
    }
  }

  async #drop(live: LiveContainer): Promise<void> {
    try {
      await this.#deps.drop(live);
    } catch (err) {
      this.#deps.log.warn({ err, container: live.id }, 'sandbox kept ready could not be removed');
    }
  }
}

function keyOf({ limits }: Shape): string {
  return canonicalJson(limits);
}

async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal, ref: false }).catch(() => undefined);
}
