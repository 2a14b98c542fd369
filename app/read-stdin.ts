import { AppError } from '#core/kit/errors.ts';

/** Far more than any secret; what is longer was piped in by mistake. */
const bytesMax = 1 << 20;

/**
 * All of standard input as text, for a value that must not stand on a command line.
 * @throws AppError `command.invalid` when it is no text or too long.
 */
export async function readStdin(stdin: AsyncIterable<unknown>): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stdin) {
    const piece = Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk));
    bytes += piece.length;
    if (bytes > bytesMax) throw unusable('is longer than 1 MiB');
    chunks.push(piece);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
  } catch {
    throw unusable('is not text');
  }
}

function unusable(why: string): AppError {
  return new AppError('command.invalid', `What came by standard input ${why}.`, {
    mend: 'Pipe in the value alone, as UTF-8 text.',
  });
}
