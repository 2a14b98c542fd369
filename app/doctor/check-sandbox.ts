import { pino } from 'pino';
import { DockerSandboxes } from '#workers/sandbox/docker-sandboxes.ts';
import { sandboxOptions } from '../compose/sandbox-options.ts';
import type { Config } from '../config.ts';

/** Whether the Docker engines answer and have the sandbox image, and how firmly workspaces are held to their size. */
export async function checkSandbox(
  config: Config,
): Promise<{ readonly ok: boolean; readonly detail: string; readonly mend?: string }> {
  await using sandboxes = new DockerSandboxes({ log: pino({ level: 'silent' }) }, sandboxOptions(config));
  return await sandboxes.check();
}
