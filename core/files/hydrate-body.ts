import type { Db } from '../kit/database.ts';
import type { ChannelSender } from '../outbox/channel-sender.ts';
import type { OutboundBody, OutboundPart } from '../outbox/outbound.ts';
import type { Conversation } from '../sessions/origin.ts';
import { keepBlobs } from './blob-store.ts';
import { describeBytes } from './file-name.ts';
import { loadFile } from './load-file.ts';
import { keptDays } from './save-file.ts';

/** Files shown by a channel of our own are read from our table as long as the conversation is. */
const shownDays = 90;

type FilePart = Extract<OutboundPart, { type: 'file' }>;

/**
 * A body as its channel takes it: stored files get their bytes, unless the channel reads them itself. What is not kept
 * any more, or larger than the channel takes, becomes a sentence that says so. Called right before each delivery.
 */
export async function hydrateBody(
  db: Db,
  body: OutboundBody,
  sender: Pick<ChannelSender, 'takesBlobs' | 'capabilities'>,
  conversation: Conversation,
): Promise<OutboundBody> {
  const ids = body.parts.flatMap((part) => (part.type === 'file' && part.blobId !== undefined ? [part.blobId] : []));
  if (ids.length === 0) return body;
  await keepBlobs(db, ids, sender.takesBlobs === true ? shownDays : keptDays);
  if (sender.takesBlobs === true) return body;
  const bytesMax = sender.capabilities(conversation).uploadBytesMax;
  const parts: OutboundPart[] = [];
  for (const part of body.parts) parts.push(part.type === 'file' ? await hydratePart(db, part, bytesMax) : part);
  return { ...body, parts };
}

async function hydratePart(db: Db, part: FilePart, bytesMax: number): Promise<OutboundPart> {
  if (part.blobId === undefined) return part;
  if ((part.bytes ?? 0) > bytesMax) {
    return missing(
      bytesMax === 0
        ? `The file \`${part.name}\` cannot be shown here: this channel takes no files.`
        : `The file \`${part.name}\` (${describeBytes(part.bytes ?? 0)}) is larger than this channel takes (${describeBytes(bytesMax)}).`,
    );
  }
  const file = await loadFile(db, part.blobId);
  if (file === undefined) return missing(`The file \`${part.name}\` is not kept any more. Ask for it again.`);
  const { blobId: _, ...rest } = part;
  return { ...rest, dataBase64: file.bytes.toString('base64') };
}

function missing(markdown: string): OutboundPart {
  return { type: 'notice', level: 'warn', markdown };
}
