import { toAppError } from '#core/kit/errors.ts';
import { imageMissing, openEngine, toEngineError } from '#workers/sandbox/docker-engine.ts';
import type { Config } from '../config.ts';

const image = 'switchyard-sandbox:latest';

/** Whether an engine answers and has the sandbox image. */
export async function checkSandbox(
  config: Pick<Config, 'dockerHost'>,
): Promise<{ readonly ok: boolean; readonly detail: string; readonly mend?: string }> {
  try {
    const engine = openEngine(config.dockerHost);
    const { Version: version } = await engine.version();
    const images = await engine.listImages({ filters: { reference: [image] } });
    if (images.length === 0) throw imageMissing(image);
    return { ok: true, detail: `Docker ${version}, image ${image}` };
  } catch (err) {
    const { message, mend } = toAppError(toEngineError(err));
    return { ok: false, detail: message, ...(mend === undefined ? {} : { mend }) };
  }
}
