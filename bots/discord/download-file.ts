import { z } from 'zod';
import type { InboundFile } from '#core/inbox/inbound.ts';
import { AppError } from '#core/kit/errors.ts';
import type { DiscordApi } from './discord-api.ts';
import { classifyDiscordError } from './discord-errors.ts';

const attachmentSchema = z.object({
  id: z.string(),
  url: z.url({ protocol: /^https?$/ }),
  size: z.number().optional(),
});
const messageSchema = z.object({
  attachments: z.array(attachmentSchema).default([]),
  message_snapshots: z
    .array(z.object({ message: z.object({ attachments: z.array(attachmentSchema).default([]) }) }))
    .nullish(),
});

const cdnHosts: ReadonlySet<string> = new Set(['cdn.discordapp.com', 'media.discordapp.net']);

/**
 * Reads a file that came with a message. Its address is asked for now: addresses are signed and expire within a day.
 * @param options.ownHost host of another API server, which then keeps the files too.
 * @throws AppError `file.gone`, `file.too_large`, `file.unavailable`.
 */
export async function downloadFile(
  api: DiscordApi,
  file: InboundFile,
  options: { readonly bytesMax: number; readonly ownHost: string | undefined; readonly signal: AbortSignal },
): Promise<AsyncIterable<Uint8Array>> {
  const { bytesMax, signal } = options;
  const [, channelId = '', messageId = '', attachmentId = ''] = /^(\d+)\/(\d+)\/(\d+)$/.exec(file.fetchKey) ?? [];
  if (attachmentId === '') throw gone(file);
  const message = messageSchema.safeParse(await readMessage(api, file, channelId, messageId, signal)).data;
  const attachment = [
    ...(message?.attachments ?? []),
    ...(message?.message_snapshots ?? []).flatMap((snapshot) => snapshot.message.attachments),
  ].find(({ id }) => id === attachmentId);
  if (attachment === undefined) throw gone(file);
  if ((attachment.size ?? 0) > bytesMax) throw tooLarge(file, bytesMax);
  const url = new URL(attachment.url);
  // An address from elsewhere would let a forged message make us fetch from inside our own network.
  const isTrusted = (url.protocol === 'https:' && cdnHosts.has(url.hostname)) || url.host === options.ownHost;
  if (!isTrusted) throw gone(file);
  const response = await fetch(url, { signal, redirect: 'error' }).catch((err: unknown) => {
    throw unavailable(file, err instanceof Error ? err.name : 'no answer');
  });
  if (response.status === 404 || response.status === 403 || response.status === 410) throw gone(file);
  if (!response.ok || response.body === null) throw unavailable(file, `status ${response.status}`);
  if (Number(response.headers.get('content-length') ?? '0') > bytesMax) {
    await response.body.cancel();
    throw tooLarge(file, bytesMax);
  }
  return capped(response.body, file, bytesMax);
}

async function* capped(
  body: AsyncIterable<Uint8Array>,
  file: InboundFile,
  bytesMax: number,
): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > bytesMax) throw tooLarge(file, bytesMax);
    yield chunk;
  }
}

async function readMessage(
  api: DiscordApi,
  file: InboundFile,
  channelId: string,
  messageId: string,
  signal: AbortSignal,
): Promise<unknown> {
  try {
    return await api.message(channelId, messageId, signal);
  } catch (err) {
    const { kind, reason } = classifyDiscordError(err);
    if (kind === 'retry' || kind === 'throttled') throw unavailable(file, reason);
    throw gone(file);
  }
}

function gone(file: InboundFile): AppError {
  return new AppError('file.gone', `The file ${file.name} is not there any more.`, { mend: 'Send it again.' });
}

function tooLarge(file: InboundFile, bytesMax: number): AppError {
  const megabytes = Math.floor(bytesMax / 1_048_576);
  return new AppError('file.too_large', `The file ${file.name} is larger than ${megabytes} MiB.`, {
    mend: 'Send a smaller one.',
  });
}

function unavailable(file: InboundFile, reason: string): AppError {
  return new AppError('file.unavailable', `The file ${file.name} cannot be fetched from Discord (${reason}).`);
}
