import type { Db } from '../kit/database.ts';
import { type BlobFacts, findBlob, findOwnBlobs } from './blob-store.ts';
import type { StoredFile } from './save-file.ts';

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** A stored file with its bytes; undefined when it is not kept any more. */
export async function loadFile(
  db: Db,
  id: string,
): Promise<{ readonly name: string; readonly mime: string; readonly bytes: Buffer } | undefined> {
  return uuid.test(id) ? await findBlob(db, id) : undefined;
}

/** The facts of those of `ids` that `owner` stored, in the order of `ids`. */
export async function ownFiles(db: Db, owner: string, ids: readonly string[]): Promise<readonly StoredFile[]> {
  const found = await findOwnBlobs(
    db,
    owner,
    ids.filter((id) => uuid.test(id)),
  );
  return ids.flatMap((id) => found.filter((blob) => blob.id === id).map(toStored));
}

function toStored({ id, name, mime, size }: BlobFacts): StoredFile {
  return { id, name, mime, bytes: size };
}
