import type { Api } from 'grammy';
import { z } from 'zod';
import type { InboundFile } from '#core/inbox/inbound.ts';
import { AppError } from '#core/kit/errors.ts';
import { classifyTelegramError, refusalOf } from './telegram-errors.ts';

/** Largest file the public Bot API server hands to a bot. */
export const downloadBytesMax = 20 * 1024 * 1024;
/** Longest silence of a download before it is given up. */
const idleMs = 30_000;

const chunkSchema = z.instanceof(Uint8Array);

export interface DownloadDeps {
  readonly api: Api;
  readonly apiRoot: string;
  readonly token: string;
}

/**
 * Reads a file that came with a message. The address carries the token and stays within this function: no error names
 * it or what it wraps.
 * @throws AppError `file.too_large`, `file.gone` or `file.unavailable`, in words for the person.
 */
export async function downloadFile(
  deps: DownloadDeps,
  file: InboundFile,
  signal: AbortSignal,
): Promise<AsyncIterable<Uint8Array>> {
  if ((file.bytes ?? 0) > downloadBytesMax) throw tooLarge(file, file.bytes);
  const { path, bytes } = await locate(deps, file);
  if ((bytes ?? 0) > downloadBytesMax) throw tooLarge(file, bytes);
  const stalled = new AbortController();
  const timer = setTimeout(() => stalled.abort(), idleMs);
  const response = await fetch(`${deps.apiRoot}/file/bot${deps.token}/${path}`, {
    signal: AbortSignal.any([signal, stalled.signal]),
    redirect: 'error',
  }).catch(() => undefined);
  clearTimeout(timer);
  if (response === undefined) throw unavailable(file, 'Telegram did not answer');
  if (!response.ok || response.body === null) {
    await response.body?.cancel().catch(() => undefined);
    if (response.status === 404) throw gone(file);
    throw unavailable(file, `Telegram answered ${response.status}`);
  }
  return readChunks(response.body, file, stalled);
}

async function locate(
  { api }: DownloadDeps,
  file: InboundFile,
): Promise<{ readonly path: string; readonly bytes: number | undefined }> {
  try {
    const { file_path: path, file_size: bytes } = await api.raw.getFile({ file_id: file.fetchKey });
    if (path?.startsWith('/') === true) throw unavailable(file, 'the Bot API server keeps files on its own disk');
    if (path === undefined || !/^\w[\w./-]*$/.test(path) || path.includes('..')) throw gone(file);
    return { path, bytes };
  } catch (err) {
    if (err instanceof AppError) throw err;
    if (/file is too big/i.test(refusalOf(err)?.description ?? '')) throw tooLarge(file, file.bytes);
    const { kind } = classifyTelegramError(err);
    if (kind === 'retry' || kind === 'throttled') throw unavailable(file, 'Telegram is not available');
    throw gone(file);
  }
}

async function* readChunks(
  body: ReadableStream<unknown>,
  file: InboundFile,
  stalled: AbortController,
): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  let timer: NodeJS.Timeout | undefined;
  const watch = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => stalled.abort(), idleMs);
  };
  try {
    watch();
    for await (const chunk of body) {
      const part = chunkSchema.parse(chunk);
      bytes += part.length;
      if (bytes > downloadBytesMax) throw tooLarge(file, bytes);
      yield part;
      watch();
    }
  } catch (err) {
    if (err instanceof AppError) throw err;
    throw unavailable(file, 'the connection broke off');
  } finally {
    clearTimeout(timer);
    stalled.abort();
  }
}

const mebibyte = 1024 * 1024;

function tooLarge(file: InboundFile, bytes: number | undefined): AppError {
  const size = bytes === undefined ? 'too large' : `${Math.ceil(bytes / mebibyte)} MB`;
  return new AppError(
    'file.too_large',
    `The file ${file.name} is ${size}; Telegram lets bots fetch files of up to ${downloadBytesMax / mebibyte} MB.`,
    { mend: 'Send a smaller one, or a link to it.' },
  );
}

function gone(file: InboundFile): AppError {
  return new AppError('file.gone', `Telegram no longer has the file ${file.name}.`, { mend: 'Send it again.' });
}

function unavailable(file: InboundFile, why: string): AppError {
  return new AppError('file.unavailable', `The file ${file.name} could not be fetched: ${why}.`, {
    mend: 'Send it again in a minute.',
  });
}
