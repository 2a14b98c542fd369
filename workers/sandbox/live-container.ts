import { existsSync } from 'node:fs';
import { chmod, mkdir, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import type Docker from 'dockerode';
import { AppError } from '#core/kit/errors.ts';
import type { Log } from '#core/kit/log.ts';
import type { SandboxPlaces } from '#core/sandboxes/sandbox-place.ts';
import { type ContainerPlan, labels } from './container-spec.ts';
import { engineStatus, imageMissing, removeContainer } from './docker-engine.ts';
import type { OpenGateway, PrepareSandboxFolder, SandboxGateway } from './sandbox.ts';
import { openSandboxLink, type SandboxLink } from './sandbox-link.ts';
import type { ToolboxConnection } from './toolbox-connection.ts';
import type { WorkspaceDisks } from './workspace-disks.ts';

/** Name of the gateway's socket in the folder that containers see as `/run/host`. */
const gatewaySocketName = 'egress.sock';

/** Stands in a container's folder while another worker is taking it away, to make room. */
export const evictionMark = '.evicted';

/** A running container with its toolbox connected. */
export interface LiveContainer {
  readonly id: string;
  readonly plan: ContainerPlan;
  readonly link: SandboxLink;
  readonly connection: ToolboxConnection;
  readonly gateway: SandboxGateway | undefined;
  /** Whether it ran before: made by an earlier worker, or by this one before a restart. */
  readonly isAdopted: boolean;
  /** Taken over without its files and its way out: for as long as no session asks for it. */
  readonly isBare: boolean;
  readonly createdAt: Date;
}

export interface StartDeps {
  readonly log: Log;
  readonly places: SandboxPlaces;
  /** Names this worker among those of the installation. */
  readonly workerId: string;
  readonly dialMs: number;
  readonly disks: WorkspaceDisks;
  readonly openGateway: OpenGateway | undefined;
  readonly prepareFolders: readonly PrepareSandboxFolder[];
  /** Runs `create` when the engine has room for the container. @throws AppError `sandbox.full`. */
  readonly admit: <T>(plan: ContainerPlan, create: () => Promise<T>) => Promise<T>;
}

/** Rounds of "adopt it or make it": another worker may make, remove or take over the same container meanwhile. */
const roundsMax = 3;

/**
 * Makes the plan's container run, adopting one that already does, and waits for its toolbox. What stands in its folder
 * is there before it starts. Whatever fails half-way is taken down again; the workspace stays in any case.
 * @throws AppError `sandbox.unavailable`, `sandbox.full`, `sandbox.disk_full`, `image.missing`, `sandbox.lost`.
 */
export async function startContainer(deps: StartDeps, plan: ContainerPlan): Promise<LiveContainer> {
  const { engine } = plan.host;
  const link = await openSandboxLink(deps, plan);
  let gateway: SandboxGateway | undefined;
  try {
    gateway = await furnish(deps, plan);
    for (let round = 1; ; round++) {
      let made: { readonly id: string; readonly createdAt: Date } | undefined;
      let isAdopted = false;
      try {
        made = await findReusable(plan);
        isAdopted = made !== undefined;
        made ??= await create(deps, plan);
        const connection = await link.reach(made.id, deps.dialMs);
        return { ...made, plan, link, connection, gateway, isAdopted, isBare: false };
      } catch (err) {
        if (!(await link.isOwner())) {
          throw new AppError('sandbox.lost', 'Another worker took the sandbox over while it started.', { cause: err });
        }
        if (made !== undefined) await removeContainer(engine, made.id);
        // Made, removed or frozen by another worker between two of our calls; or adopted and its toolbox keeps silent.
        const isWorthAnotherRound = isAdopted || engineStatus(err) === 404 || engineStatus(err) === 409;
        if (round >= roundsMax || !isWorthAnotherRound) throw plan.host.toError(err);
        deps.log.debug({ err, container: made?.id }, 'sandbox start tried again');
      }
    }
  } catch (err) {
    await closeGateway(gateway, deps.log);
    const isOwner = await link.isOwner();
    await link.close();
    if (isOwner && plan.host.sharesFiles) await rm(plan.hostDirectory, { recursive: true, force: true });
    throw err;
  }
}

/**
 * Takes over a container whose worker died, to ask it whether jobs run and to put it to rest when none does.
 * @throws AppError `sandbox.lost` when its toolbox keeps silent.
 */
export async function adoptContainer(
  deps: StartDeps,
  plan: ContainerPlan,
  made: { readonly id: string; readonly createdAt: Date },
): Promise<LiveContainer> {
  const link = await openSandboxLink(deps, plan);
  try {
    const connection = await link.reach(made.id, deps.dialMs);
    return { ...made, plan, link, connection, gateway: undefined, isAdopted: true, isBare: true };
  } catch (err) {
    await link.close();
    throw plan.host.toError(err);
  }
}

/** Closes the way out of a container that goes or is handed on; what fails then concerns nobody any more. */
export async function closeGateway(gateway: SandboxGateway | undefined, log: Log): Promise<void> {
  try {
    await gateway?.[Symbol.asyncDispose]();
  } catch (err) {
    log.warn({ err }, 'gateway of a sandbox could not be closed');
  }
}

/**
 * Puts files and the gateway's socket into the container's folder.
 * @throws AppError `sandbox.unavailable`: an agent never gets less isolation, or fewer files, than its profile says.
 */
export async function furnish(
  deps: Pick<StartDeps, 'openGateway' | 'prepareFolders' | 'log'>,
  { spec, host, hostDirectory }: ContainerPlan,
): Promise<SandboxGateway | undefined> {
  await mkdir(hostDirectory, { recursive: true, mode: 0o755 });
  // The umask may have narrowed it; the container's user needs to pass.
  await chmod(hostDirectory, 0o755);
  for (const prepare of deps.prepareFolders) await prepare(spec, hostDirectory, { sharesFiles: host.sharesFiles });
  if (!host.sharesFiles) return await refuseFurniture(spec.limits.network, hostDirectory, host.name);
  if (spec.limits.network === 'none') return undefined;
  if (deps.openGateway === undefined) {
    throw new AppError(
      'sandbox.unavailable',
      'This agent’s sandbox needs the egress gateway, and there is none here.',
      {
        mend: 'Start the worker with ./switchyard worker or up, or set sandbox.network of the agent to none.',
      },
    );
  }
  try {
    return await deps.openGateway(spec, path.join(hostDirectory, gatewaySocketName));
  } catch (err) {
    throw new AppError('sandbox.unavailable', 'The egress gateway of the sandbox could not be opened.', {
      mend: 'See the worker’s log; the sandbox is not started without the gateway its agent asks for.',
      cause: err,
    });
  }
}

async function refuseFurniture(network: string, directory: string, host: string): Promise<undefined> {
  const files = await readdir(directory);
  await rm(directory, { recursive: true, force: true });
  if (network === 'none' && files.length === 0) return undefined;
  const what = network === 'none' ? `files of the worker (${files.slice(0, 3).join(', ')})` : 'the egress gateway';
  throw new AppError('sandbox.unavailable', `The Docker host ${host} cannot give a sandbox ${what}.`, {
    mend: 'That takes a host that shares its file system with the worker: put one first in DOCKER_HOSTS.',
  });
}

/** The container that is this plan's and runs; one that is not is removed. */
async function findReusable(
  plan: ContainerPlan,
): Promise<{ readonly id: string; readonly createdAt: Date } | undefined> {
  const { engine } = plan.host;
  try {
    const { Id: id, State: state, Config: config, Created: created } = await engine.getContainer(plan.name).inspect();
    if (config.Labels[labels.spec] === plan.digest && state.Running) {
      if (state.Paused) await unpauseContainer(engine, id);
      // Looked for after the wake: whoever marks it looks at its state after that, so that one of us yields.
      if (!isMarkedForEviction(plan)) return { id, createdAt: new Date(created) };
    }
    await removeContainer(engine, id);
    await rm(path.join(plan.hostDirectory, evictionMark), { force: true });
  } catch (err) {
    if (engineStatus(err) !== 404) throw err;
  }
  return undefined;
}

/** Whether another worker is about to remove this container for room. */
export function isMarkedForEviction(plan: ContainerPlan): boolean {
  return plan.host.sharesFiles && existsSync(path.join(plan.hostDirectory, evictionMark));
}

/** The new container once it runs; the engine answers 409 when another worker was faster. */
async function create(
  deps: StartDeps,
  plan: ContainerPlan,
): Promise<{ readonly id: string; readonly createdAt: Date }> {
  const { engine } = plan.host;
  const loop = plan.disk === 'loop' ? deps.disks.loop : undefined;
  await loop?.reserve(plan.workspace);
  let container: Docker.Container | undefined;
  try {
    // Side by side: the engine looks at the mount point only when the container starts.
    const [created, attached] = await Promise.allSettled([
      deps.admit(plan, async () => await engine.createContainer({ name: plan.name, ...plan.options })),
      loop?.attach(plan.workspace, plan.diskMb),
    ]);
    if (created.status === 'fulfilled') container = created.value;
    if (created.status === 'rejected') throw created.reason;
    if (attached.status === 'rejected') throw attached.reason;
    await created.value.start();
    if (loop !== undefined) await checkMount(deps, plan, created.value);
    return { id: created.value.id, createdAt: new Date() };
  } catch (err) {
    if (container !== undefined) await removeContainer(engine, container.id);
    if (engineStatus(err) === 404) throw imageMissing(plan.options.Image ?? '', err);
    throw await plan.host.explainRefusal(err, plan.spec.limits.runtime);
  } finally {
    // The container has a mount of its own by now, or there is none.
    void loop?.detach(plan.workspace);
  }
}

/** Hosts whose engine was seen to see our mounts. */
const seeing = new WeakSet<object>();

/**
 * An engine in another mount namespace would give the container an empty folder of the host's disk, without any limit.
 * @throws AppError `sandbox.unavailable` with `details.isLoopUnseen`.
 */
async function checkMount(deps: StartDeps, { host }: ContainerPlan, container: Docker.Container): Promise<void> {
  if (seeing.has(host)) return;
  const { State: state } = await container.inspect();
  if ((await deps.disks.loop?.isSeenBy(state.Pid)) === true) {
    seeing.add(host);
    return;
  }
  throw new AppError('sandbox.unavailable', 'The Docker engine does not see file systems that this worker mounts.', {
    mend: 'Run both in the host’s mount namespace, or set SWITCHYARD_SANDBOX_DISK=watched.',
    details: { isLoopUnseen: true },
  });
}

/** Wakes a container; one that is not paused is fine. */
export async function unpauseContainer(engine: Docker, id: string): Promise<void> {
  try {
    await engine.getContainer(id).unpause();
  } catch (err) {
    // "Container is not paused" is a 500 on older engines and a 409 on newer ones.
    const { State: state } = await engine.getContainer(id).inspect();
    if (state.Paused || !state.Running) throw err;
  }
}
