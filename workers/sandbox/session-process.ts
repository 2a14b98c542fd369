import { AppError } from '#core/kit/errors.ts';
import type { ContainerPlan } from './container-spec.ts';
import type { LiveContainer } from './live-container.ts';
import { refusedCommand, withRoom } from './refusals.ts';
import type { ProcessRequest, SandboxProcess } from './sandbox.ts';
import type { SessionContainer } from './session-container.ts';
import { ToolboxProcess } from './toolbox-process.ts';

export interface SessionProcessDeps {
  readonly hands: () => SessionContainer;
  readonly plan: () => Promise<ContainerPlan>;
  /** How long the toolbox may take to end it before the container is killed. */
  readonly endMs: number;
}

/** Work on the container that must not be stopped half-way. */
const never = new AbortController().signal;

/** Starts a program in the session's container; see `Sandbox.start`. */
export async function startProcess(deps: SessionProcessDeps, request: ProcessRequest): Promise<SandboxProcess> {
  const started = Promise.withResolvers<SandboxProcess>();
  const use = deps.hands().use(deps.plan, request.signal, async (live) => {
    const process = await withRoom(live, async () => {
      const made = new ToolboxProcess(live.connection, request);
      await made.started;
      return made;
    }).catch((err: unknown) => {
      throw refusedCommand(err, request.workingDirectory);
    });
    const handle = createHandle(deps, live, process, request);
    started.resolve(handle);
    if (request.mayRest !== true) await process.exited;
  });
  use.catch(started.reject);
  return await started.promise;
}

function createHandle(
  deps: SessionProcessDeps,
  live: LiveContainer,
  process: ToolboxProcess,
  request: ProcessRequest,
): SandboxProcess {
  /** Wakes the container for `work`; a process that is gone must not make a new one. */
  const awake = async (work: () => Promise<unknown>) => {
    if (process.isOver) return;
    await deps.hands().use(deps.plan, never, async (now) => {
      if (now === live) await work();
    });
  };
  const end = async () => {
    process.cancel();
    const isLate = Promise.withResolvers<true>();
    const timer = setTimeout(() => isLate.resolve(true), deps.endMs);
    const late = await Promise.race([process.exited.then(() => false), isLate.promise]);
    clearTimeout(timer);
    if (!late) return;
    await deps
      .hands()
      .discard(live, new AppError('sandbox.lost', 'The sandbox did not end a program and was replaced.'));
  };
  // Whatever fails here ends the process as well: its container is gone then.
  const kill = () => void awake(end).catch(() => undefined);
  request.signal.addEventListener('abort', kill, { once: true });
  void process.exited.then(() => request.signal.removeEventListener('abort', kill));
  if (request.signal.aborted) kill();
  return {
    write: async (chunk) => {
      if (request.mayRest !== true) return await process.write(chunk);
      let isWritten = false;
      await awake(async () => {
        await process.write(chunk);
        isWritten = true;
      });
      if (!isWritten) throw new AppError('sandbox.lost', 'The program has ended with its sandbox.');
    },
    end: () => process.end(),
    kill,
    hold: () => {
      const released = Promise.withResolvers<void>();
      void awake(async () => await Promise.race([released.promise, process.exited])).catch(() => undefined);
      return { [Symbol.dispose]: () => released.resolve() };
    },
    exited: process.exited,
  };
}
