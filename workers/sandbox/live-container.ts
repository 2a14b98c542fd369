import type Docker from 'dockerode';
import { AppError } from '#core/kit/errors.ts';
import type { Log } from '#core/kit/log.ts';
import { agentUser, type ContainerPlan, labels } from './container-spec.ts';
import { engineStatus, imageMissing, removeContainer, toEngineError } from './docker-engine.ts';
import type { ToolboxConnection } from './toolbox-connection.ts';
import { ToolboxListener } from './toolbox-listener.ts';

/** A running container with its toolbox connected. */
export interface LiveContainer {
  readonly id: string;
  readonly digest: string;
  readonly listener: ToolboxListener;
  readonly connection: ToolboxConnection;
  /** Whether it ran before: made by an earlier worker, or by this one before a restart. */
  readonly isAdopted: boolean;
}

/** Rounds of "adopt it or make it": another worker may make, remove or take over the same container meanwhile. */
const roundsMax = 3;

/**
 * Makes the plan's container run, adopting one that already does, and waits for its toolbox. Whatever fails half-way is
 * taken down again; the workspace volume stays in any case.
 * @throws AppError `sandbox.unavailable`, `image.missing`, `sandbox.lost`.
 */
export async function startContainer(
  deps: { readonly engine: Docker; readonly log: Log },
  plan: ContainerPlan,
  hostDirectory: string,
  dialMs: number,
): Promise<LiveContainer> {
  const { engine } = deps;
  const listener = await ToolboxListener.open(hostDirectory);
  try {
    for (let round = 1; ; round++) {
      let id: string | undefined;
      let isAdopted = false;
      try {
        id = await findReusable(engine, plan);
        isAdopted = id !== undefined;
        id ??= await create(engine, plan);
        await startToolbox(engine, id);
        const connection = await listener.connection(dialMs);
        return { id, digest: plan.digest, listener, connection, isAdopted };
      } catch (err) {
        if (!(await listener.isOwner())) {
          throw new AppError('sandbox.lost', 'Another worker took the sandbox over while it started.', { cause: err });
        }
        if (id !== undefined) await removeContainer(engine, id);
        // Made, removed or frozen by another worker between two of our calls; or adopted and its toolbox keeps silent.
        const isWorthAnotherRound = isAdopted || engineStatus(err) === 404 || engineStatus(err) === 409;
        if (round >= roundsMax || !isWorthAnotherRound) throw toEngineError(err);
        deps.log.debug({ err, container: id }, 'sandbox start tried again');
      }
    }
  } catch (err) {
    await listener.close();
    throw err;
  }
}

/** The id of a container that is this plan's and runs; one that is not is removed. */
async function findReusable(engine: Docker, plan: ContainerPlan): Promise<string | undefined> {
  const container = engine.getContainer(plan.name);
  try {
    const { Id: id, State: state, Config: config } = await container.inspect();
    if (config.Labels[labels.spec] === plan.digest && state.Running) {
      if (state.Paused) await unpauseContainer(engine, id);
      return id;
    }
    await removeContainer(engine, id);
  } catch (err) {
    if (engineStatus(err) !== 404) throw err;
  }
  return undefined;
}

/** The new container's id once it runs; the engine answers 409 when another worker was faster. */
async function create(engine: Docker, plan: ContainerPlan): Promise<string> {
  let container: Docker.Container;
  try {
    container = await engine.createContainer({ name: plan.name, ...plan.options });
  } catch (err) {
    if (engineStatus(err) === 404) throw imageMissing(plan.options.Image ?? '', err);
    throw err;
  }
  try {
    await container.start();
  } catch (err) {
    await removeContainer(engine, container.id);
    throw err;
  }
  return container.id;
}

/** Starts the toolbox; where one runs already, this tells it to dial the newest socket. */
async function startToolbox(engine: Docker, id: string): Promise<void> {
  const exec = await engine.getContainer(id).exec({ Cmd: ['/usr/local/bin/toolbox'], User: agentUser });
  // The answer is an empty body that has to be let go of: an open one keeps the process alive.
  (await exec.start({ Detach: true })).destroy();
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
