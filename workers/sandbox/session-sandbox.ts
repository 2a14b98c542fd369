import { type AskToolbox, askToolbox } from './ask-toolbox.ts';
import { checkCommand } from './check-command.ts';
import type { ContainerPlan } from './container-spec.ts';
import { refusedCommand, withRoom } from './refusals.ts';
import { type CommandRequest, runCommand } from './run-command.ts';
import type { ExecRequest, Sandbox } from './sandbox.ts';
import type { SessionContainer } from './session-container.ts';
import { createSessionFiles } from './session-files.ts';
import { createSessionJobs } from './session-jobs.ts';
import { startProcess } from './session-process.ts';

/** Most bytes of output one command may keep, the toolbox's cap. */
const outputBytesMax = 4 << 20;

export interface SessionSandboxDeps {
  readonly hands: () => SessionContainer;
  readonly plan: () => Promise<ContainerPlan>;
  readonly endMs: number;
}

/** The `Sandbox` of one session. It outlives containers: a call after a loss gets a new one with the same workspace. */
export function createSessionSandbox(deps: SessionSandboxDeps): Sandbox {
  const ask: AskToolbox = async (request, options) => {
    const hands = deps.hands();
    return await hands.use(deps.plan, options.signal, async (live) => {
      const once = async () => await askToolbox(hands, live, request, options);
      return options.around === undefined ? await once() : await options.around(live, once);
    });
  };
  const run = async (request: CommandRequest) => {
    const hands = deps.hands();
    try {
      return await hands.use(deps.plan, request.signal, async (live) => {
        return await withRoom(live, async () => await runCommand(hands, live, request, deps.endMs));
      });
    } catch (err) {
      throw refusedCommand(err, request.operand ?? request.workingDirectory);
    }
  };

  // A worker that stops in between must not fail what is done already.
  const near = async () => await (async () => await deps.hands().nearLimits())().catch(() => undefined);

  return {
    exec: async (request: ExecRequest) => {
      const { command, ...rest } = request;
      checkCommand(command);
      const { head: _, ...result } = await run({
        ...rest,
        outputBytesMax: Math.max(2, Math.min(request.outputBytesMax, outputBytesMax)),
        argv: ['bash', '-c', command],
      });
      const nearLimits = await near();
      return nearLimits === undefined ? result : { ...result, nearLimits };
    },
    start: async (request) => await startProcess(deps, request),
    ...createSessionFiles(ask, run),
    ...createSessionJobs(ask, near),
  };
}
