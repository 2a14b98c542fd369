import { AppError } from '#core/kit/errors.ts';
import type { Log } from '#core/kit/log.ts';
import { didYouMean } from '#core/kit/nearest-word.ts';
import { readEvents } from '#core/sessions/session-store.ts';
import { builtInNames, listBuiltIn } from '#workers/hooks/built-in.ts';
import { dangerousCommandsHook } from '#workers/hooks/dangerous-commands.ts';
import { directivesHook } from '#workers/hooks/directives.ts';
import { byPriority, type Hook } from '#workers/hooks/hook.ts';
import { logToolsHook } from '#workers/hooks/log-tools.ts';
import { notifyOperatorsHook } from '#workers/hooks/notify-operators.ts';
import { recoverSessionHook } from '#workers/hooks/recover-session.ts';
import { repoContextHook } from '#workers/hooks/repo-context.ts';
import { trajectoryLogHook } from '#workers/hooks/trajectory-log.ts';
import { truncateOutputHook } from '#workers/hooks/truncate-output.ts';
import { findHookFiles, openUserHooks, type UserHooks } from '#workers/hooks/user-hooks.ts';
import type { SandboxPort } from '#workers/sandbox/sandbox.ts';
import type { Config } from '../config.ts';
import type { Services } from './services.ts';

/** A hook as people are told of it. */
export interface HookLine {
  readonly name: string;
  readonly priority: number;
  readonly source: string;
}

/**
 * Loads the project's own hooks and checks the names of those that are switched off.
 * @throws AppError `hook.invalid`, `config.invalid`.
 */
export async function loadUserHooks(config: Pick<Config, 'hooks'>, log: Log): Promise<UserHooks> {
  const { folder, timeoutMs, disable } = config.hooks;
  const loaded = await openUserHooks({ log }, { files: await findHookFiles(folder), timeoutMs });
  try {
    for (const { name, source } of loaded.hooks) {
      if (builtInNames.includes(name)) {
        throw new AppError('hook.invalid', `${source}: "${name}" is the name of a built-in hook.`, {
          mend: 'Give it another name.',
        });
      }
    }
    const known = [...builtInNames, ...loaded.hooks.map((hook) => hook.name)];
    for (const name of disable) {
      if (known.includes(name)) continue;
      throw new AppError(
        'config.invalid',
        `switchyard.yaml: hooks.disable: there is no hook "${name}"${didYouMean(name, known) || '.'}`,
        {
          mend: `There are: ${known.join(', ')}.`,
        },
      );
    }
    return loaded;
  } catch (err) {
    await loaded[Symbol.asyncDispose]();
    throw err;
  }
}

/** The hooks of a worker that the settings leave switched on. @param more hooks that other parts bring. */
export function openHooks(
  services: Pick<Services, 'config' | 'log' | 'db' | 'clock' | 'queue' | 'redactor'>,
  sandboxes: SandboxPort,
  more: readonly Hook[],
): { readonly hooks: readonly Hook[] } & AsyncDisposable {
  const { config, log, db, clock, queue, redactor } = services;
  const { hooks: settings, limits } = config;
  const recovery = recoverSessionHook(
    { db, log, clock, ring: async (wakes) => await queue.wakes.ring(wakes) },
    settings.recovery,
  );
  const all: readonly Hook[] = [
    ...more,
    dangerousCommandsHook({ also: settings.blockCommands }),
    truncateOutputHook({ log }, { charsMax: limits.toolResultCharsMax, byTool: settings.outputChars }),
    logToolsHook({ log }),
    ...(settings.directives.length === 0 ? [] : [directivesHook(settings.directives, settings.directivesFrom)]),
    ...(settings.notify.to.length === 0 ? [] : [notifyOperatorsHook({ db, clock, log }, settings.notify)]),
    ...(settings.recovery.retriesMax === 0 ? [] : [recovery.hook]),
    ...(settings.trajectoryLog === undefined ? [] : [trajectoryLogHook({ redactor }, settings.trajectoryLog)]),
    ...(settings.context.workspace.length + settings.context.project.length === 0
      ? []
      : [
          repoContextHook(
            {
              hasWorkspace: async ({ work }) =>
                (await readEvents(db, work.sessionId, limits.contextEventsMax)).some(
                  (event) => event.kind === 'tool_finished' || event.kind === 'files_received',
                ),
              openWorkspace: async ({ agent, work }, signal) =>
                await sandboxes.open(
                  { sessionId: work.sessionId, agent: agent.name, limits: agent.sandbox, egress: agent.egress },
                  signal,
                ),
            },
            settings.context,
          ),
        ]),
  ];
  return {
    hooks: all.filter((hook) => !settings.disable.includes(hook.name)),
    [Symbol.asyncDispose]: async () => await recovery[Symbol.asyncDispose](),
  };
}

/** What runs, in its order, for people; loads the project's own for a moment. */
export async function listHooks(config: Config, log: Log): Promise<readonly HookLine[]> {
  await using own = await loadUserHooks(config, log);
  const { disable, directives, notify, recovery, context, trajectoryLog } = config.hooks;
  const isOff: Readonly<Record<string, boolean>> = {
    directives: directives.length === 0,
    notification: notify.to.length === 0,
    'session-recovery': recovery.retriesMax === 0,
    'trajectory-log': trajectoryLog === undefined,
    'repo-context': context.workspace.length + context.project.length === 0,
  };
  return [...listBuiltIn(), ...own.hooks]
    .filter((hook) => isOff[hook.name] !== true && !disable.includes(hook.name))
    .sort(byPriority)
    .map(({ name, priority, source }) => ({ name, priority, source }));
}
