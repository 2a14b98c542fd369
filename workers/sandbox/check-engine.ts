import { type AppError, isAppError } from '#core/kit/errors.ts';
import { isImageName } from '#core/sandboxes/image-name.ts';
import { engineStatus, imageMissing, imageNamed } from './docker-engine.ts';
import { type DockerHost, onlyHostName } from './docker-host.ts';
import { requireSandboxImage } from './sandbox-image-label.ts';
import type { WorkspaceDisks } from './workspace-disks.ts';

interface EngineFinding {
  readonly ok: boolean;
  readonly detail: string;
  readonly mend?: string;
  readonly missing?: 'engine' | 'image';
}

const diskWords = {
  loop: 'workspaces are file systems of their own size',
  quota: 'workspaces have disk quotas',
  watched: 'workspaces are watched, not walled: an agent can overfill them for some seconds',
} as const;

/**
 * Whether sandboxes can work with these engines and this image: one sentence for each, and the mend when they cannot.
 * @param image undefined where none is set up.
 */
export async function checkEngine(
  hosts: readonly DockerHost[],
  disks: WorkspaceDisks,
  image: string | undefined,
): Promise<EngineFinding> {
  const found = await Promise.all(hosts.map(async (host) => await checkHost(host, disks, image)));
  const broken = found.find((each) => !each.ok);
  const detail = found.map((each) => each.detail).join(' ');
  // One host that works is enough to work; the others are told all the same.
  const isWorking = found.some((each) => each.ok);
  if (broken === undefined) return { ok: true, detail };
  const { mend, missing } = broken;
  return {
    ok: isWorking,
    detail,
    ...(mend === undefined ? {} : { mend }),
    ...(isWorking || missing === undefined ? {} : { missing }),
  };
}

async function checkHost(host: DockerHost, disks: WorkspaceDisks, image: string | undefined): Promise<EngineFinding> {
  const name = host.name === onlyHostName ? '' : `${host.name}: `;
  try {
    const version = await host.engine.version();
    if (image === undefined) throw imageMissing('of browsers');
    const found = await imageNamed(host.engine, image).inspect();
    requireSandboxImage(image, found.Config.Labels);
    const megabytes = Math.round(found.Size / 1e6);
    const disk = diskWords[await disks.kindOn(host)];
    return {
      ok: true,
      detail: `${name}Docker ${version.Version} answers and has the image ${image} (${megabytes} MB); ${disk}.`,
    };
  } catch (err) {
    const error = toFinding(host, image, err);
    // One of another version is as good as none: it is built anew.
    const isImage = isAppError(error, 'image.invalid') || isAppError(error, 'image.missing');
    const { message, mend } = error;
    // Building makes no image of a name that is none.
    const isNameWrong = image !== undefined && !isImageName(image);
    const missing = isNameWrong ? undefined : isImage ? 'image' : 'engine';
    return {
      ok: false,
      detail: `${name}${message}`,
      ...(missing === undefined ? {} : { missing }),
      ...(mend === undefined ? {} : { mend }),
    };
  }
}

function toFinding(host: DockerHost, image: string | undefined, err: unknown): AppError {
  if (isAppError(err)) return err;
  return image !== undefined && engineStatus(err) === 404 ? imageMissing(image, err) : host.toError(err);
}
