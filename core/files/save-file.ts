import type { Db, Tx } from '../kit/database.ts';
import { newId } from '../kit/ids.ts';
import type { OutboundPart } from '../outbox/outbound.ts';
import { insertBlob, sumRecentBytes } from './blob-store.ts';
import { safeFileName } from './file-name.ts';
import { sniffMime } from './sniff-mime.ts';

/** A file on its way is kept this long, and as long again after each delivery. */
export const keptDays = 7;

export interface StoredFile {
  readonly id: string;
  readonly name: string;
  readonly mime: string;
  readonly bytes: number;
}

/** Stores a file under a safe name and with the type its content shows. `owner` may then attach it to a message. */
export async function saveFile(
  db: Db | Tx,
  file: {
    /** A file that is stored under its id again stays as it is. */
    readonly id?: string;
    readonly name: string;
    readonly mime?: string;
    readonly bytes: Uint8Array;
    readonly owner?: string;
    readonly keptDays?: number;
  },
): Promise<StoredFile> {
  const stored = {
    id: file.id ?? newId(),
    name: safeFileName(file.name),
    mime: await sniffMime(file.bytes, file.mime),
    bytes: file.bytes.byteLength,
  };
  await insertBlob(db, {
    ...stored,
    bytes: file.bytes,
    owner: file.owner,
    keptDays: file.keptDays ?? keptDays,
  });
  return stored;
}

/** How many bytes an owner has stored in the last 24 hours. */
export async function recentBytes(db: Db, owner: string): Promise<number> {
  return await sumRecentBytes(db, owner);
}

/** A stored file as a part of a message. */
export function filePart(file: StoredFile): Extract<OutboundPart, { type: 'file' }> {
  return { type: 'file', name: file.name, mime: file.mime, dataBase64: '', blobId: file.id, bytes: file.bytes };
}
