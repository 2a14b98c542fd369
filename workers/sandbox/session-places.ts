import { AppError } from '#core/kit/errors.ts';
import type { SandboxPlace, SandboxPlaces } from '#core/sandboxes/sandbox-place.ts';
import type { Admission } from './admission.ts';
import type { ContainerPlan } from './container-spec.ts';
import type { DockerHost } from './docker-host.ts';
import type { LiveContainer } from './live-container.ts';
import type { SandboxSpec } from './sandbox.ts';
import { diskOf, type SessionPlanner } from './session-planner.ts';
import type { WarmPool } from './warm-pool.ts';
import type { WorkspaceDisks } from './workspace-disks.ts';

interface SessionPlacesDeps {
  readonly places: SandboxPlaces;
  readonly hosts: readonly DockerHost[];
  readonly disks: WorkspaceDisks;
  readonly admission: Admission;
  readonly planner: SessionPlanner;
  readonly pool: WarmPool;
}

/** Decides once where a session's files are, and remembers it as long as the session is in use here. */
export class SessionPlaces implements AsyncDisposable {
  readonly #deps: SessionPlacesDeps;
  readonly #settled = new Map<string, Promise<SandboxPlace>>();
  /** Ready containers on their way to their session, by workspace. */
  readonly #claimed = new Map<string, LiveContainer>();

  constructor(deps: SessionPlacesDeps) {
    this.#deps = deps;
  }

  /** Workspaces of ready containers that have a session and are not in use yet. */
  get claimedWorkspaces(): readonly string[] {
    return [...this.#claimed.keys()];
  }

  /** The plan of a session's container, for as long as nothing about it changes the same object. */
  planner(spec: SandboxSpec): () => Promise<ContainerPlan> {
    const { planner } = this.#deps;
    let last: { readonly imageId: string; readonly place: SandboxPlace; readonly plan: ContainerPlan } | undefined;
    return async () => {
      const place = await this.#placeOf(spec);
      const host = this.#hostNamed(place.host);
      const imageId = await host.imageId(planner.imageOf(spec));
      if (last?.imageId === imageId && last.place === place) return last.plan;
      const plan = await planner.plan(spec, host, place);
      last = { imageId, place, plan };
      return plan;
    };
  }

  /** The plan with the place as it is on record: an operator may have removed the workspace since it was settled. */
  async asSettled(plan: ContainerPlan): Promise<ContainerPlan> {
    const { places } = this.#deps;
    const { sessionId } = plan.spec;
    const known = await places.find(sessionId);
    if (known?.workspace === plan.workspace && known.host === plan.host.name) return plan;
    return await this.#planAnew(plan.spec);
  }

  /** Gives a session whose workspace was never seen by an agent another kind. */
  async fallBack({ spec, host, workspace }: ContainerPlan): Promise<ContainerPlan> {
    const { places, disks } = this.#deps;
    disks.rejectLoop(host);
    await places.remove(spec.sessionId);
    await disks.remove(host, { workspace, disk: 'loop' });
    return await this.#planAnew(spec);
  }

  /** The ready container that was given to the session of this workspace; it is the caller's from now on. */
  takeClaimed(workspace: string): LiveContainer | undefined {
    const live = this.#claimed.get(workspace);
    this.#claimed.delete(workspace);
    return live;
  }

  forget(sessionId: string): void {
    this.#settled.delete(sessionId);
  }

  /** The host with the most room; one that is away gets no new sessions. @throws AppError `sandbox.unavailable`. */
  async chooseHost(hosts: readonly DockerHost[]): Promise<DockerHost> {
    const [first, ...others] = hosts;
    if (first === undefined) {
      throw new AppError('sandbox.unavailable', 'No Docker host here can give a sandbox the egress gateway.', {
        mend: 'That takes a host that shares its file system with the worker: add one to DOCKER_HOSTS.',
      });
    }
    if (others.length === 0) return first;
    const rooms = await Promise.allSettled(
      hosts.map(async (host) => {
        const { used, bound } = await this.#deps.admission.loadOf(host);
        return { host, freeMb: bound.memoryMb - used.memoryMb };
      }),
    );
    const [best] = rooms
      .flatMap((room) => (room.status === 'fulfilled' ? [room.value] : []))
      .sort((a, b) => b.freeMb - a.freeMb);
    if (best !== undefined) return best.host;
    throw rooms.find((room) => room.status === 'rejected')?.reason;
  }

  /** Lets go of containers that were on their way; the next worker adopts them. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const workspace of this.claimedWorkspaces) await letGo(this.takeClaimed(workspace));
  }

  async #planAnew(spec: SandboxSpec): Promise<ContainerPlan> {
    this.#settled.delete(spec.sessionId);
    const place = await this.#placeOf(spec);
    return await this.#deps.planner.plan(spec, this.#hostNamed(place.host), place);
  }

  #hostNamed(name: string): DockerHost {
    const host = this.#deps.hosts.find((each) => each.name === name);
    if (host !== undefined) return host;
    const said = `This session’s files are on the Docker host ${name}, which is not set up.`;
    throw new AppError('sandbox.unavailable', said, {
      mend: `Add ${name} to DOCKER_HOSTS again, or begin a new session with /new.`,
    });
  }

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
    const { places, hosts, disks, pool } = this.#deps;
    const { sessionId, limits } = spec;
    const known = await places.find(sessionId);
    if (known !== undefined) return known;
    const spare = spec.kind === 'browser' ? undefined : await this.#claim(spec);
    // The gateway's socket is in a folder in common.
    const fit = hosts.filter((each) => each.sharesFiles || limits.network === 'none');
    const host = spare?.plan.host ?? (await this.chooseHost(fit));
    const place = { sessionId, host: host.name, workspace: sessionId };
    if (await disks.hasVolume(host, sessionId)) {
      if (spare !== undefined) pool.giveBack(spare);
      return await places.settle({ ...place, disk: 'watched' });
    }
    if (spare === undefined) return await places.settle({ ...place, disk: await disks.kindOn(host) });
    return await this.#settleOn(spare, place);
  }

  /** Gives a ready container to a session, unless the session is settled elsewhere by now. */
  async #settleOn(spare: LiveContainer, place: Pick<SandboxPlace, 'sessionId' | 'host'>): Promise<SandboxPlace> {
    const { places, pool } = this.#deps;
    const { workspace } = spare.plan;
    this.#claimed.set(workspace, spare);
    try {
      const settled = await places.settle({ ...place, workspace, disk: diskOf(spare.plan) });
      if (settled.workspace === workspace) return settled;
      this.#claimed.delete(workspace);
      pool.giveBack(spare);
      return settled;
    } catch (err) {
      // Whether it is settled is not known: the sweep will see, once nobody listens for it any more.
      await letGo(this.takeClaimed(workspace));
      throw err;
    }
  }

  /** A ready container that is just what the session would get. */
  async #claim(spec: SandboxSpec): Promise<LiveContainer | undefined> {
    const { pool, planner } = this.#deps;
    const plans = new Map<LiveContainer, string>();
    for (const live of pool.ready) {
      const { digest } = await planner.plan(spec, live.plan.host, { ...live.plan, disk: diskOf(live.plan) });
      plans.set(live, digest);
    }
    return pool.claim(spec, (live) => plans.get(live) === live.plan.digest);
  }
}

async function letGo(live: LiveContainer | undefined): Promise<void> {
  live?.connection.close(new AppError('sandbox.lost', 'The sandbox could not be given to its session.'));
  await live?.link.close();
}
