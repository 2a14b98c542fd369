import { setTimeout as delay } from 'node:timers/promises';
import { AppError } from '#core/kit/errors.ts';
import type { SandboxPlaces } from '#core/sandboxes/sandbox-place.ts';
import { type ContainerPlan, labels } from './container-spec.ts';
import type { DockerHost } from './docker-host.ts';
import type { SandboxLimitValues } from './sandbox-limits.ts';

/** How often a container that waits for room looks again. */
const lookMs = 300;
/** Share of the machine that is promised at all; the rest is for the engine, the workers and the page cache. */
const share = 0.8;

interface Load {
  readonly memoryMb: number;
  readonly pids: number;
}

export interface HostLoad {
  readonly used: Load;
  readonly bound: Load;
}

interface AdmissionDeps {
  readonly places: SandboxPlaces;
  readonly instance: string;
  readonly limits: SandboxLimitValues;
}

/**
 * Lets containers onto an engine as long as the sum of their limits stays below a bound: memory that is promised too
 * often ends in kills of whoever asks last. What counts is what the engine has, under a lock that all workers of the
 * installation share, so a crash leaves nothing counted and a race admits nobody twice.
 */
export class Admission {
  readonly #deps: AdmissionDeps;

  constructor(deps: AdmissionDeps) {
    this.#deps = deps;
  }

  /** What the containers of this installation may use on a host, and the bound. @throws AppError `sandbox.unavailable`. */
  async loadOf(host: DockerHost): Promise<HostLoad> {
    const { limits, instance } = this.#deps;
    const [{ memoryMb: machineMb }, containers] = await Promise.all([
      host.facts(),
      host.engine
        .listContainers({ all: true, filters: { label: [`${labels.instance}=${instance}`] } })
        .catch((err: unknown) => {
          throw host.toError(err);
        }),
    ]);
    const promisedMb = limits.memoryMb === 0 ? machineMb * share : limits.memoryMb;
    let [memoryMb, pids] = [0, 0];
    for (const { Labels: found, State: state } of containers) {
      if (state === 'exited' || state === 'dead') continue;
      memoryMb += numberIn(found[labels.memoryMb], 512);
      pids += numberIn(found[labels.pids], 256);
    }
    return {
      used: { memoryMb, pids },
      bound: { memoryMb: Math.floor((promisedMb * limits.overcommitPercent) / 100), pids: limits.pidsMax },
    };
  }

  /**
   * Runs `create` once the container fits; until then `makeRoom` is asked to free some, which says whether it did.
   * @throws AppError `sandbox.full` after `waitMs`, or at once when it can never fit.
   */
  async admit<T>(
    plan: ContainerPlan,
    options: { readonly waitMs: number; readonly makeRoom: () => Promise<boolean> },
    create: () => Promise<T>,
  ): Promise<T> {
    const deadline = performance.now() + options.waitMs;
    for (;;) {
      const answer = await this.#deps.places.exclusive(`admit:${plan.host.name}`, async () => {
        const load = await this.loadOf(plan.host);
        return fits(load, plan) ? { made: await create() } : load;
      });
      if ('made' in answer) return answer.made;
      const canEverFit = plan.memoryMb <= answer.bound.memoryMb && plan.pids <= answer.bound.pids;
      if (!canEverFit) throw tooFull(plan, answer);
      if (await options.makeRoom()) continue;
      if (performance.now() >= deadline) throw tooFull(plan, answer);
      await delay(Math.min(lookMs, Math.max(1, deadline - performance.now())));
    }
  }
}

function fits({ used, bound }: HostLoad, { memoryMb, pids }: ContainerPlan): boolean {
  return used.memoryMb + memoryMb <= bound.memoryMb && used.pids + pids <= bound.pids;
}

function tooFull(plan: ContainerPlan, { used, bound }: HostLoad): AppError {
  const isMemory = used.memoryMb + plan.memoryMb > bound.memoryMb;
  const said = isMemory
    ? `${used.memoryMb} of ${bound.memoryMb} MiB are promised and this one needs ${plan.memoryMb}`
    : `${used.pids} of ${bound.pids} processes are promised and this one needs ${plan.pids}`;
  return new AppError('sandbox.full', `There is no room for another sandbox on ${plan.host.name}: ${said}.`, {
    mend: 'Try again when others have ended their work, or raise SWITCHYARD_LIMIT_SANDBOX_MEMORY_MB or the over-commit.',
  });
}

function numberIn(label: string | undefined, standard: number): number {
  return label !== undefined && /^\d{1,9}$/.test(label) ? Number(label) : standard;
}
