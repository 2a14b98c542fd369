import type Docker from 'dockerode';
import { engineStatus, imageMissing, toEngineError } from './docker-engine.ts';

/** Whether sandboxes can work with this engine and image: one sentence, and the mend when they cannot. */
export async function checkEngine(
  engine: Docker,
  image: string,
): Promise<{ readonly ok: boolean; readonly detail: string; readonly mend?: string }> {
  try {
    const version = await engine.version();
    const found = await engine.getImage(image).inspect();
    const megabytes = Math.round(found.Size / 1e6);
    return { ok: true, detail: `Docker ${version.Version} answers and has the image ${image} (${megabytes} MB).` };
  } catch (err) {
    const { message, mend } = engineStatus(err) === 404 ? imageMissing(image, err) : toEngineError(err);
    return { ok: false, detail: message, ...(mend === undefined ? {} : { mend }) };
  }
}
