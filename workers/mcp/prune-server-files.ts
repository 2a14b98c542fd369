import { lstat, readdir, rename, rm, utimes } from 'node:fs/promises';
import path from 'node:path';
import { newToken } from '#core/kit/ids.ts';

/** Copies that no worker has used for this long are removed. Workers say every few hours which ones they use. */
export const keptFilesMs = 7 * 24 * 3_600_000;
/** A copy that was not finished after this long never will be. */
const draftMs = 24 * 3_600_000;

/** One copy of a server's files, as it is kept. */
export interface KeptFiles {
  readonly server: string;
  readonly folder: string;
  readonly bytes: number;
  /** When a worker last said that it uses it. */
  readonly usedAt: Date;
}

/** Says that a copy is in use: its time is what pruning goes by. @returns false when it is not there. */
export async function markUsed(folder: string): Promise<boolean> {
  const now = new Date();
  return await utimes(folder, now, now).then(
    () => true,
    (err: unknown) => {
      if (isGone(err)) return false;
      throw err;
    },
  );
}

/** The copies there are, by server and age. */
export async function listServerFiles(kept: string): Promise<readonly KeptFiles[]> {
  const found: KeptFiles[] = [];
  for (const { server, folder, usedAt, isDraft } of await copiesIn(kept)) {
    if (!isDraft) found.push({ server, folder, usedAt, bytes: await sizeOf(folder) });
  }
  return found.sort((a, b) => (a.server === b.server ? +b.usedAt - +a.usedAt : a.server < b.server ? -1 : 1));
}

/**
 * Removes copies that nobody has used for `keptFilesMs`, whatever servers the project names by now, and what interrupted
 * copying left behind. What sandboxes have of them stays: they hold links of their own.
 * @returns the folders that went.
 */
export async function pruneServerFiles(kept: string, now: Date): Promise<readonly string[]> {
  const gone: string[] = [];
  for (const { folder, usedAt, isDraft } of await copiesIn(kept)) {
    if (now.getTime() - usedAt.getTime() < (isDraft ? draftMs : keptFilesMs)) continue;
    // Out of the way at once, so that nobody finds half of it; what a crash leaves here is a draft like any other.
    const aside = path.join(path.dirname(folder), `.${newToken(9)}`);
    await rename(folder, aside);
    await rm(aside, { recursive: true, force: true });
    gone.push(folder);
  }
  return gone;
}

async function copiesIn(
  kept: string,
): Promise<{ readonly server: string; readonly folder: string; readonly usedAt: Date; readonly isDraft: boolean }[]> {
  const copies = [];
  for (const server of await namesIn(kept)) {
    for (const name of await namesIn(path.join(kept, server))) {
      const folder = path.join(kept, server, name);
      const found = await lstat(folder).catch(() => undefined);
      if (found?.isDirectory() !== true) continue;
      copies.push({ server, folder, usedAt: found.mtime, isDraft: name.startsWith('.') });
    }
  }
  return copies;
}

async function namesIn(folder: string): Promise<readonly string[]> {
  return await readdir(folder).catch((err: unknown) => {
    if (isGone(err)) return [];
    throw err;
  });
}

async function sizeOf(folder: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true }).catch(() => [])) {
    if (entry.isFile())
      bytes += (await lstat(path.join(entry.parentPath, entry.name)).catch(() => undefined))?.size ?? 0;
  }
  return bytes;
}

function isGone(err: unknown): boolean {
  return err instanceof Error && 'code' in err && (err.code === 'ENOENT' || err.code === 'ENOTDIR');
}
