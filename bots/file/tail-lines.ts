import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { errorCode } from './check-folder.ts';
import type { FileCursor } from './cursor-store.ts';

/** Longest line, its newline not counted. */
export const lineBytesMax = 1 << 20;
/** Bytes looked at in one step; more than a line, so that a whole one always fits. */
const chunkBytes = 2 * lineBytesMax;
const linesMax = 200;
/** Bytes of the beginning by which a rewritten file is told from one that grew. */
const headBytesMax = 512;
const newline = 0x0a;

/** A complete line of the file. */
export interface TailLine {
  /** Where it begins, in bytes. */
  readonly offset: number;
  /** Undefined when it is longer than `lineBytesMax`. */
  readonly bytes: Buffer | undefined;
}

/** Complete lines from the cursor on, and the cursor behind them. */
export interface TailStep {
  readonly lines: readonly TailLine[];
  readonly cursor: FileCursor;
}

/** How far the end of a line that is too long was looked for, so that each look goes on where the last one ended. */
export interface LineSearch {
  /** The place the line begins at. */
  of: string;
  to: number;
}

/**
 * The next complete lines of a growing file; a last line without its newline waits. A file that was moved away is read to
 * its end first, where it still lies beside; one that was cut off or written anew is read from its beginning under a new
 * generation.
 */
export async function readNextLines(
  file: string,
  cursor: FileCursor | undefined,
  search: LineSearch = { of: '', to: 0 },
): Promise<TailStep | undefined> {
  if (cursor !== undefined) {
    const rest = await readMovedAway(file, cursor, search);
    if (rest !== undefined) return rest;
  }
  const handle = await openPlain(file);
  if (handle === undefined) return undefined;
  try {
    const { ino, size } = await handle.stat();
    const inode = String(ino);
    const isSame =
      cursor !== undefined && cursor.inode === inode && size >= cursor.offset && (await hasSameHead(handle, cursor));
    const start = isSame
      ? cursor
      : { generation: (cursor?.generation ?? 0) + 1, inode, offset: 0, headBytes: 0, headDigest: '' };
    const step = await readLines(handle, start, size, search);
    // A new generation is remembered before anything is read under it.
    return isSame && step.lines.length === 0 ? undefined : isSame ? step : { lines: [], cursor: start };
  } finally {
    await handle.close();
  }
}

/** What is left of the file the cursor speaks of when another one stands at its path. */
async function readMovedAway(file: string, cursor: FileCursor, search: LineSearch): Promise<TailStep | undefined> {
  const now = await stat(file).catch(() => undefined);
  if (now !== undefined && String(now.ino) === cursor.inode) return undefined;
  const folder = path.dirname(file);
  for (const name of await readdir(folder).catch(() => [])) {
    if (!name.startsWith(path.basename(file)) || path.join(folder, name) === file) continue;
    const handle = await openPlain(path.join(folder, name));
    if (handle === undefined) continue;
    try {
      const { ino, size } = await handle.stat();
      if (String(ino) !== cursor.inode || size < cursor.offset || !(await hasSameHead(handle, cursor))) continue;
      const step = await readLines(handle, cursor, size, search);
      if (step.lines.length > 0) return step;
    } finally {
      await handle.close();
    }
  }
  return undefined;
}

async function readLines(handle: FileHandle, cursor: FileCursor, size: number, search: LineSearch): Promise<TailStep> {
  const lines: TailLine[] = [];
  let { offset } = cursor;
  const chunk = await readAt(handle, offset, Math.min(chunkBytes, size - offset));
  let from = 0;
  while (lines.length < linesMax) {
    const end = chunk.indexOf(newline, from);
    if (end === -1) break;
    const bytes = end - from > lineBytesMax ? undefined : chunk.subarray(from, end);
    lines.push({ offset: cursor.offset + from, bytes });
    from = end + 1;
  }
  offset = cursor.offset + from;
  if (lines.length === 0 && chunk.length > lineBytesMax) {
    const of = `${cursor.inode}:${cursor.generation}:${cursor.offset}`;
    const end = await findNewline(handle, search.of === of ? search.to : cursor.offset + chunk.length, size);
    if (end === undefined) {
      search.of = of;
      search.to = size;
      return { lines, cursor };
    }
    lines.push({ offset: cursor.offset, bytes: undefined });
    offset = end + 1;
  }
  return { lines, cursor: await withHead(handle, { ...cursor, offset }) };
}

/** A line that is too long is passed over without being held. */
async function findNewline(handle: FileHandle, from: number, size: number): Promise<number | undefined> {
  for (let offset = from; offset < size; offset += chunkBytes) {
    const chunk = await readAt(handle, offset, Math.min(chunkBytes, size - offset));
    const end = chunk.indexOf(newline);
    if (end !== -1) return offset + end;
  }
  return undefined;
}

async function withHead(handle: FileHandle, cursor: FileCursor): Promise<FileCursor> {
  const headBytes = Math.min(cursor.offset, headBytesMax);
  if (headBytes === cursor.headBytes) return cursor;
  return { ...cursor, headBytes, headDigest: digest(await readAt(handle, 0, headBytes)) };
}

async function hasSameHead(handle: FileHandle, cursor: FileCursor): Promise<boolean> {
  return cursor.headBytes === 0 || digest(await readAt(handle, 0, cursor.headBytes)) === cursor.headDigest;
}

async function readAt(handle: FileHandle, offset: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(Math.max(length, 0));
  let filled = 0;
  while (filled < buffer.length) {
    const { bytesRead } = await handle.read(buffer, filled, buffer.length - filled, offset + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}

async function openPlain(file: string): Promise<FileHandle | undefined> {
  try {
    const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    if ((await handle.stat()).isFile()) return handle;
    await handle.close();
    return undefined;
  } catch (err) {
    if (['ENOENT', 'ELOOP'].includes(errorCode(err))) return undefined;
    throw err;
  }
}

function digest(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
