import type { Duplex } from 'node:stream';
import { AppError, toAppError } from '#core/kit/errors.ts';
import { ToolboxConnection } from './toolbox-connection.ts';
import { FrameReader, helloSchema, protocolVersion } from './toolbox-protocol.ts';

/**
 * Reads the hello of whoever is at the other end of a stream, and takes the stream over. It is destroyed when that is
 * no toolbox of our version.
 * @throws AppError `sandbox.protocol`, `sandbox.lost`, `image.missing` (a toolbox of another version).
 */
export async function greetToolbox(stream: Duplex, timeoutMs: number): Promise<ToolboxConnection> {
  const { promise, resolve, reject } = Promise.withResolvers<ToolboxConnection>();
  const reader = new FrameReader();
  const fail = (err: unknown) => {
    stream.destroy();
    reject(toAppError(err));
  };
  const lost = () => fail(new AppError('sandbox.lost', 'Nobody said hello on a connection of a sandbox.'));
  const timer = setTimeout(lost, timeoutMs);
  const onData = (chunk: Buffer) => {
    try {
      const [hello, ...rest] = reader.push(chunk, () => 0);
      if (hello === undefined) return;
      const { version } = helloSchema.parse(hello.header);
      if (version !== protocolVersion) throw otherVersion(version);
      if (rest.length > 0) throw new Error('more than a hello');
      stream.off('data', onData);
      resolve(new ToolboxConnection(stream, reader));
    } catch (err) {
      const isOurs = err instanceof AppError;
      fail(isOurs ? err : new AppError('sandbox.protocol', 'Somebody greeted who is no toolbox.', { cause: err }));
    }
  };
  // Stays: a stream that fails later, without a listener, would end the process.
  stream.on('error', fail);
  stream.on('close', lost);
  stream.on('data', onData);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    stream.off('close', lost);
  }
}

function otherVersion(version: number): AppError {
  return new AppError(
    'image.missing',
    `The sandbox image has a toolbox of version ${version}; this worker speaks ${protocolVersion}.`,
    { mend: 'Build it again with ./switchyard sandbox build, and your own images on top of it.' },
  );
}
