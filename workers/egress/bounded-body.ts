import { PassThrough, pipeline, type Readable, Transform } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from 'node:zlib';
import { AppError } from '#core/kit/errors.ts';

/** Encodings one on top of another that are undone; honest servers use one. */
const encodingsMax = 2;

/**
 * The body of an answer, decoded and cut off at `bytesMax` bytes of what was decoded: a few kilobytes on the wire can be
 * gigabytes of text. The stream fails with AppError `egress.too_large`, or `egress.unreachable` for a broken encoding.
 * @throws AppError `egress.unreachable` for an encoding nobody asked for.
 */
export function boundedBody(
  body: Readable,
  options: { readonly encoding: string | string[] | undefined; readonly bytesMax: number; readonly host: string },
): Readable {
  const { bytesMax, host } = options;
  const encodings = [options.encoding ?? []].flat().join(',').toLowerCase().split(',');
  const wanted = encodings.map((name) => name.trim()).filter((name) => name !== '' && name !== 'identity');
  if (wanted.length > encodingsMax) {
    body.destroy();
    throw new AppError('egress.unreachable', `${host} encoded its answer ${wanted.length} times over.`);
  }
  const decoders = wanted.reverse().map((name) => {
    const decoder = decoderOf(name);
    if (decoder === undefined) {
      body.destroy();
      throw new AppError(
        'egress.unreachable',
        `${host} answered in the encoding ${name.slice(0, 40)}, which is not known.`,
      );
    }
    return decoder;
  });
  const limit = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      received += chunk.length;
      if (received > bytesMax) done(tooLarge(host, bytesMax));
      else done(null, chunk);
    },
  });
  let received = 0;
  const out = new PassThrough();
  // Whoever asked may have given up before reading.
  out.on('error', () => undefined);
  // The one list keeps an error anywhere from leaving the rest of the chain, and its connection, open.
  pipeline([body, ...decoders, limit, out], (err) => {
    if (err !== null && err !== undefined && !out.destroyed) out.destroy(err);
  });
  return out;
}

/** Reads a stream to its end, or to `bytesMax` bytes, and lets go of it. @throws whatever the stream fails with. */
export async function readUpTo(
  body: Readable,
  bytesMax: number,
): Promise<{ readonly bytes: Buffer; readonly isCut: boolean }> {
  const chunks: Buffer[] = [];
  let length = 0;
  let isCut = false;
  for await (const chunk of body) {
    const bytes: Buffer = Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk));
    chunks.push(bytes.subarray(0, bytesMax - length));
    length += bytes.length;
    isCut = length > bytesMax;
    if (isCut) break;
  }
  return { bytes: Buffer.concat(chunks), isCut };
}

function tooLarge(host: string, bytesMax: number): AppError {
  return new AppError('egress.too_large', `The answer of ${host} is larger than the ${bytesMax} bytes allowed.`);
}

function decoderOf(name: string): Transform | undefined {
  switch (name) {
    case 'gzip':
    case 'x-gzip':
      return createGunzip();
    case 'deflate':
      return createInflate();
    case 'br':
      return createBrotliDecompress();
    case 'zstd':
      return createZstdDecompress();
    default:
      return undefined;
  }
}
