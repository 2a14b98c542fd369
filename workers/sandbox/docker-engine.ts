import { readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import Docker from 'dockerode';
import { AppError } from '#core/kit/errors.ts';
import { imageNameMend, isImageName } from '#core/sandboxes/image-name.ts';

/** The engine's own default. */
const defaultSocket = '/var/run/docker.sock';
/** How long a removal that somebody else began may take, and how often it is looked at. */
const goneMs = 10_000;
const goneLookMs = 50;

/**
 * A client of the engine named by a `DOCKER_HOST` value (`unix://…`, `tcp://host:port`, a path), or of the local one.
 * With `certPath`, TLS with the client's certificate found there, as the engine's own command line does. Nothing is
 * dialled yet.
 * @throws AppError `config.invalid`.
 */
export function openEngine(dockerHost?: string, certPath?: string): Docker {
  const host = dockerHost?.trim() ?? '';
  if (host === '') return new Docker({ socketPath: defaultSocket });
  if (host.startsWith('/')) return new Docker({ socketPath: host });
  if (host.startsWith('unix://')) return new Docker({ socketPath: host.slice('unix://'.length) });
  const url = URL.parse(host);
  if (url === null || !['tcp:', 'http:', 'https:'].includes(url.protocol)) {
    throw new AppError('config.invalid', `DOCKER_HOST is ${host}, which is no engine address.`, {
      mend: 'Use unix:///path/to/docker.sock or tcp://host:port.',
    });
  }
  const isTls = url.protocol === 'https:' || (url.protocol === 'tcp:' && certPath !== undefined);
  return new Docker({
    host: url.hostname,
    port: url.port === '' ? (isTls ? 2376 : 2375) : Number(url.port),
    protocol: isTls ? 'https' : 'http',
    ...(isTls && certPath !== undefined ? readCertificates(certPath) : {}),
  });
}

function readCertificates(certPath: string): { readonly ca: string; readonly cert: string; readonly key: string } {
  try {
    const read = (file: string) => readFileSync(path.join(certPath, file), 'utf8');
    return { ca: read('ca.pem'), cert: read('cert.pem'), key: read('key.pem') };
  } catch (err) {
    throw new AppError('config.invalid', `DOCKER_CERT_PATH is ${certPath}, which cannot be read.`, {
      mend: 'Put ca.pem, cert.pem and key.pem there, readable for this user.',
      cause: err,
    });
  }
}

/** The HTTP status of an engine answer, if that is what was thrown. */
export function engineStatus(err: unknown): number | undefined {
  if (typeof err !== 'object' || err === null || !('statusCode' in err)) return undefined;
  return typeof err.statusCode === 'number' ? err.statusCode : undefined;
}

/**
 * An image of the engine by its name. The client puts names into the path of a request as they are, and the engine
 * answers a path with `..` or `//` by a redirect, which the client follows to whatever host comes out of it.
 * @throws AppError `image.invalid` for what is no name of an image.
 */
export function imageNamed(engine: Docker, image: string): Docker.Image {
  if (!isImageName(image)) {
    throw new AppError('image.invalid', `${JSON.stringify(image.slice(0, 100))} is no name of an image.`, {
      mend: imageNameMend,
    });
  }
  return engine.getImage(image);
}

const imageMend = 'Build it with ./switchyard sandbox build --all.';

/** The error for an image the engine does not have. */
export function imageMissing(image: string, cause?: unknown): AppError {
  return new AppError('image.missing', `The sandbox image ${image} is not there.`, { mend: imageMend, cause });
}

const awayCodes = ['ENOENT', 'ECONNREFUSED', 'ENOTFOUND', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'EAI_AGAIN'];

/** Whether nobody answers at the engine's address, as opposed to an engine that refuses something. */
export function isEngineAway(err: unknown): boolean {
  const cause = err instanceof AppError ? err.cause : err;
  const code = typeof cause === 'object' && cause !== null && 'code' in cause ? String(cause.code) : '';
  return awayCodes.includes(code);
}

/** What failed at the engine as one of the room's errors: each says what to do. */
export function toEngineError(err: unknown): AppError {
  if (err instanceof AppError) return err;
  const code = typeof err === 'object' && err !== null && 'code' in err ? String(err.code) : undefined;
  if (isEngineAway(err)) {
    return new AppError('sandbox.unavailable', 'No Docker engine answers.', {
      mend: 'Start Docker, or set DOCKER_HOST; ./switchyard doctor tells more.',
      cause: err,
    });
  }
  if (code === 'EACCES' || code === 'EPERM' || engineStatus(err) === 403) {
    return new AppError('sandbox.unavailable', 'The Docker engine refuses this user.', {
      mend: 'Add the user to the group docker and log in again.',
      cause: err,
    });
  }
  return new AppError(
    'sandbox.unavailable',
    `The Docker engine failed: ${err instanceof Error ? err.message : String(err)}`,
    {
      mend: 'See the engine’s log; ./switchyard doctor tells more.',
      cause: err,
    },
  );
}

/**
 * Removes a container and what runs in it; its volumes stay. One that is gone is fine; one that somebody else removes
 * already is waited for, because its name is free only when it is gone.
 */
export async function removeContainer(engine: Docker, id: string): Promise<void> {
  try {
    await engine.getContainer(id).remove({ force: true, v: false });
  } catch (err) {
    const status = engineStatus(err);
    if (status === 409) await untilGone(engine, id);
    else if (status !== 404) throw toEngineError(err);
  }
}

/** Resolves when the container that has this id or name now is gone, or after `goneMs`. */
async function untilGone(engine: Docker, id: string): Promise<void> {
  const deadline = performance.now() + goneMs;
  let first: string | undefined;
  while (performance.now() < deadline) {
    const now = await engine
      .getContainer(id)
      .inspect()
      .catch((err: unknown) => {
        if (engineStatus(err) === 404) return undefined;
        throw toEngineError(err);
      });
    first ??= now?.Id;
    if (now === undefined || now.Id !== first) return;
    await delay(goneLookMs);
  }
}

/** Removes a volume and every file in it. One that is not there is fine; one in use stays. @returns whether it is gone. */
export async function removeVolume(engine: Docker, name: string): Promise<boolean> {
  try {
    await engine.getVolume(name).remove();
    return true;
  } catch (err) {
    const status = engineStatus(err);
    if (status === 404) return true;
    if (status === 409) return false;
    throw toEngineError(err);
  }
}
