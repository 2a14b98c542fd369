import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { InboundFile } from '#core/inbox/inbound.ts';
import { AppError } from '#core/kit/errors.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { fileIdOf } from './message-id.ts';
import type { FileUnit } from './render-body.ts';
import { fromTransport, type SlackApi } from './slack-api.ts';
import { SlackSilence, slackCodeOf, toChannelError } from './slack-errors.ts';

/** Largest file of a person that is fetched. Slack keeps up to 1 GB; an agent's work has no use for more than this. */
export const downloadBytesMax = 100 * 1024 * 1024;
const uploadMs = 120_000;

const uploadSchema = z.object({ upload_url: z.string(), file_id: z.string() });
const infoSchema = z.object({
  file: z.object({
    url_private: z.string().nullish(),
    url_private_download: z.string().nullish(),
    size: z.number().nullish(),
    mode: z.string().nullish(),
  }),
});

/** What tells two contents of one name apart. */
export function contentMark({ name, bytes }: FileUnit): string {
  return createHash('sha256').update(name).update('\0').update(bytes).digest('hex').slice(0, 12);
}

/**
 * Uploads a file into a conversation: an address, the bytes, and the share that makes it visible.
 * @returns the message id of the file.
 */
export async function uploadFile(
  api: SlackApi,
  place: Pick<Conversation, 'room' | 'thread'>,
  unit: FileUnit,
): Promise<string> {
  const { name, bytes } = unit;
  const answer = await api.call('files.getUploadURLExternal', { filename: name, length: bytes.length });
  const { upload_url: url, file_id: fileId } = uploadSchema.parse(answer);
  let response: Response;
  try {
    response = await fetch(url, {
      method: 'POST',
      body: new Uint8Array(bytes),
      headers: { 'content-type': 'application/octet-stream' },
      signal: AbortSignal.timeout(uploadMs),
    });
    await response.arrayBuffer();
  } catch (err) {
    throw fromTransport('upload', err);
  }
  // Nothing is visible yet, so a repeated upload does no harm.
  if (!response.ok) throw new SlackSilence('upload', false, `HTTP ${response.status}`);
  await api.call('files.completeUploadExternal', {
    files: [{ id: fileId, title: name }],
    channel_id: place.room,
    ...(place.thread === undefined ? {} : { thread_ts: place.thread }),
  });
  return fileIdOf(fileId, contentMark(unit));
}

/**
 * Opens a file of a person for reading.
 * @throws AppError `file.*` when it is gone, too large or not allowed to us, `channel.*` when Slack cannot be asked.
 */
export async function openDownload(
  api: SlackApi,
  file: InboundFile,
  signal: AbortSignal,
): Promise<AsyncIterable<Uint8Array>> {
  let info: z.infer<typeof infoSchema>['file'];
  try {
    // Asked anew each time: shared channels give stubs without an address, and addresses change.
    ({ file: info } = infoSchema.parse(await api.call('files.info', { file: file.fetchKey })));
  } catch (err) {
    const code = slackCodeOf(err);
    if (code === 'file_not_found' || code === 'file_deleted') throw gone(file);
    if (
      code === 'missing_scope' ||
      code === 'access_denied' ||
      code === 'not_in_channel' ||
      code === 'file_not_visible'
    ) {
      throw refused(file, 'Slack does not let the bot read it', err);
    }
    throw toChannelError(err);
  }
  if (info.mode === 'tombstone') throw gone(file);
  if ((info.size ?? 0) > downloadBytesMax) throw tooLarge(file, info.size ?? 0);
  const response = await request(api, file, info.url_private_download ?? info.url_private ?? '', signal);
  if (response.body === null) throw gone(file);
  return limited(file, response.body);
}

async function request(api: SlackApi, file: InboundFile, url: string, signal: AbortSignal): Promise<Response> {
  let response: Response | undefined;
  try {
    response = await api.fetchPrivate(url, signal);
  } catch (err) {
    throw toChannelError(fromTransport('download', err));
  }
  if (response === undefined) throw refused(file, 'it is kept outside of Slack');
  if (response.ok && !isLoginPage(response, file)) return response;
  await response.body?.cancel();
  if (response.status === 404 || response.status === 410) throw gone(file);
  if (response.status >= 500 || response.status === 429) {
    throw toChannelError(new SlackSilence('download', false, `HTTP ${response.status}`));
  }
  throw refused(file, 'Slack asks for a login instead of giving it; the scope files:read may be missing');
}

/** Without permission Slack answers 200 and the page to log in with. */
function isLoginPage(response: Response, file: InboundFile): boolean {
  const isPage = response.headers.get('content-type')?.startsWith('text/html') === true;
  return isPage && file.mime !== 'text/html' && !/\.x?html?$/i.test(file.name);
}

async function* limited(file: InboundFile, body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  try {
    for await (const chunk of body) {
      bytes += chunk.length;
      if (bytes > downloadBytesMax) throw tooLarge(file, bytes);
      yield chunk;
    }
  } catch (err) {
    throw err instanceof AppError ? err : toChannelError(fromTransport('download', err));
  }
}

function gone(file: InboundFile): AppError {
  return new AppError('file.gone', `The file ${file.name} is not there any more.`, { mend: 'Send it again.' });
}

function tooLarge(file: InboundFile, bytes: number): AppError {
  return new AppError('file.too_large', `The file ${file.name} has more than ${downloadBytesMax} bytes (${bytes}).`, {
    mend: 'Send a smaller one, or a link to it.',
  });
}

function refused(file: InboundFile, why: string, cause?: unknown): AppError {
  return new AppError('file.gone', `The file ${file.name} cannot be read: ${why}.`, {
    mend: 'Share it in a conversation the bot is in, or ask whoever runs the bot to check its scopes.',
    ...(cause === undefined ? {} : { cause }),
  });
}
