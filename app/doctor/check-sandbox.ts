import { checkEngine } from '#workers/sandbox/check-engine.ts';
import { openEngine } from '#workers/sandbox/docker-engine.ts';
import type { Config } from '../config.ts';
import { sandboxImage } from '../sandbox-image.ts';

/** Whether an engine answers and has the sandbox image. */
export async function checkSandbox(
  config: Pick<Config, 'dockerHost'>,
): Promise<{ readonly ok: boolean; readonly detail: string; readonly mend?: string }> {
  return await checkEngine(openEngine(config.dockerHost), sandboxImage);
}
