import type Docker from 'dockerode';
import { engineStatus, imageMissing, toEngineError } from './docker-engine.ts';

/** Whether sandboxes can work with this engine and image: one sentence, and the mend when they cannot. */
export async function checkEngine(
  engine: Docker,
  image: string,
): Promise<{
  readonly ok: boolean;
  readonly detail: string;
  readonly mend?: string;
  readonly missing?: 'engine' | 'image';
}> {
  try {
    const version = await engine.version();
    const found = await engine.getImage(image).inspect();
    const megabytes = Math.round(found.Size / 1e6);
    return { ok: true, detail: `Docker ${version.Version} answers and has the image ${image} (${megabytes} MB).` };
  } catch (err) {
    const missing = engineStatus(err) === 404 ? 'image' : 'engine';
    const { message, mend } = missing === 'image' ? imageMissing(image, err) : toEngineError(err);
    return { ok: false, detail: message, missing, ...(mend === undefined ? {} : { mend }) };
  }
}
