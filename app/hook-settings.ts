import path from 'node:path';
import { parseDuration } from '#core/kit/duration.ts';
import type { Directive, DirectivePriority } from '#workers/hooks/directives.ts';
import type { NotifyOperatorsOptions } from '#workers/hooks/notify-operators.ts';
import type { RecoverSessionOptions } from '#workers/hooks/recover-session.ts';
import type { RepoContextOptions } from '#workers/hooks/repo-context.ts';
import type { TrajectoryLogOptions } from '#workers/hooks/trajectory-log.ts';
import type { ConfigFile } from './config-file.ts';

/** How hooks run, and what the built-in ones do. */
export interface HookSettings {
  /** Of the project's own; `<folder>.ts` counts too. */
  readonly folder: string;
  readonly disable: readonly string[];
  readonly timeoutMs: number;
  readonly blockCommands: readonly string[];
  readonly outputChars: Readonly<Record<string, number>>;
  readonly context: RepoContextOptions;
  readonly directives: readonly Directive[];
  readonly directivesFrom: DirectivePriority;
  readonly notify: NotifyOperatorsOptions;
  readonly recovery: RecoverSessionOptions;
  /** Undefined while it is switched off. */
  readonly trajectoryLog: TrajectoryLogOptions | undefined;
}

/** The part of `switchyard.yaml` about hooks, with its folders made absolute. */
export function readHooks(
  file: ConfigFile,
  places: { readonly projectDir: string; readonly hooksDir: string; readonly dataDir: string },
): HookSettings {
  const { projectDir, hooksDir, dataDir } = places;
  const { disable, timeout_seconds, block_commands, output_chars, context, directives_from, notify, recovery } =
    file.hooks;
  const { trajectory_log: trajectory } = file.hooks;
  return {
    folder: path.resolve(projectDir, hooksDir),
    trajectoryLog: trajectory.enabled
      ? {
          file: path.resolve(projectDir, dataDir, 'trajectories', 'turns.jsonl'),
          bytesMax: trajectory.max_mb * 1_000_000,
          filesMax: trajectory.files,
        }
      : undefined,
    disable,
    timeoutMs: timeout_seconds * 1000,
    blockCommands: block_commands,
    outputChars: output_chars,
    context: { workspace: context.workspace, project: context.project.map((name) => path.resolve(projectDir, name)) },
    directives: file.directives.map(({ title, text, priority, status, agents }) => ({
      title,
      text,
      priority,
      isActive: status === 'active',
      agents,
    })),
    directivesFrom: directives_from,
    notify: {
      to: notify.to,
      onFailure: notify.failures,
      longMs: notify.longer_than === undefined ? undefined : parseDuration(notify.longer_than),
    },
    recovery: { retriesMax: recovery.retries, afterMs: parseDuration(recovery.after) ?? 0 },
  };
}
