import type { SandboxOffice } from '#cli/cli-deps.ts';
import type { Db } from '#core/kit/database.ts';
import { AppError } from '#core/kit/errors.ts';
import type { Log } from '#core/kit/log.ts';
import { openPlaces } from '#core/sandboxes/open-places.ts';
import type { SandboxPlaces } from '#core/sandboxes/sandbox-place.ts';
import { DockerSandboxes } from '#workers/sandbox/docker-sandboxes.ts';
import type { ShellTerminal } from '#workers/sandbox/sandbox-desk.ts';
import { sandboxOptions } from './compose/sandbox-options.ts';
import type { Config } from './config.ts';

/**
 * Sandboxes for an operator's commands, beside the workers that hold them. Dials no engine yet. Without a database what is
 * known is what the engines say, and no files are removed.
 */
export function openSandboxes(deps: {
  readonly config: Config;
  readonly db: Db | undefined;
  readonly log: Log;
}): SandboxOffice {
  const { config, db, log } = deps;
  const options = sandboxOptions(config);
  const places = db === undefined ? undefined : openPlaces({ db });
  const parts = places === undefined ? { log } : { log, places };
  const sandboxes = new DockerSandboxes(parts, options);
  const desk = sandboxes.desk();
  return {
    list: async (filter) => await desk.list(filter),
    sessionOf: async (text) => await desk.sessionOf(text),
    describe: async (sessionId) => await desk.describe(sessionId),
    shell: async (sessionId, how) => {
      using terminal = openTerminal(how.command !== undefined && how.isInteractive !== true);
      return await desk.shell(sessionId, terminal, how);
    },
    remove: async (sessionId, { withWorkspace }) => {
      if (withWorkspace) requirePlaces(places);
      const removed = await desk.removeContainers(sessionId);
      if (withWorkspace) await sandboxes.forget(sessionId);
      const detail = withWorkspace ? 'By an operator, with all files.' : 'By an operator; the files are kept.';
      await places?.note({ sessionId, host: '', kind: 'core', what: 'removed', detail });
      return removed;
    },
    prune: async ({ workspaces }) => {
      const known = requirePlaces(places);
      const before = (await known.list()).length;
      const keepMs = workspaces ? { keepMs: 0 } : {};
      await using thorough = new DockerSandboxes(
        { log, places: known },
        { ...options, limits: { ...options.limits, ...keepMs } },
      );
      const { removed, cleared } = await thorough.sweep({ isThorough: true });
      return { removed, cleared, forgotten: before - (await known.list()).length };
    },
    [Symbol.asyncDispose]: async () => await sandboxes[Symbol.asyncDispose](),
  };
}

function requirePlaces(places: SandboxPlaces | undefined): SandboxPlaces {
  if (places !== undefined) return places;
  throw new AppError('database.unavailable', 'Whose files these are is known to the database alone.', {
    mend: 'Try again when it answers.',
  });
}

/** This process's terminal in raw mode, so that every key reaches the shell; given back when disposed. */
function openTerminal(hasCommand: boolean): ShellTerminal & Disposable {
  const { stdin, stdout } = process;
  if (hasCommand) {
    return { stdin, stdout, size: undefined, onResize: () => () => undefined, [Symbol.dispose]: () => undefined };
  }
  if (!stdin.isTTY || !stdout.isTTY) {
    throw new AppError('command.invalid', 'A shell needs a terminal, and there is none.', {
      mend: 'Run one command instead: ./switchyard sandbox shell <session> -c "ls -la".',
    });
  }
  stdin.setRawMode(true);
  return {
    stdin,
    stdout,
    size: () => ({ rows: stdout.rows, columns: stdout.columns }),
    onResize: (changed) => {
      stdout.on('resize', changed);
      return () => stdout.off('resize', changed);
    },
    [Symbol.dispose]: () => {
      stdin.setRawMode(false);
      stdin.pause();
    },
  };
}
