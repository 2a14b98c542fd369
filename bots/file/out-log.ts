import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { sha256 } from '#core/kit/ids.ts';
import { outName, sentName } from './check-folder.ts';

/** Messages whose state is remembered: repetitions come within a day, and nobody writes so many in one. */
const idsMax = 20_000;
/** Of an old log, this much is read to know what was said lately. */
const scanBytesMax = 16 << 20;
const newline = 0x0a;

/** A line that says something about a message. */
export interface OutLine {
  readonly type: 'message' | 'edit' | 'delete' | 'ack' | 'error';
  readonly id: string;
  readonly [more: string]: unknown;
}

const knownLineSchema = z.looseObject({ type: z.string(), id: z.string() });

/**
 * `out.jsonl`: appended to, synced, never changed. What stands there already is not written again, so that a message that
 * is sent twice after a crash is there once. The caller holds the lock on the file.
 */
export class OutLog {
  readonly #folder: string;
  /** The digest of each message as it was last said; undefined once it was taken back. */
  readonly #said = new Map<string, string | undefined>();
  #inode: number | undefined;
  #scanned = 0;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** How a message stands: what was said last, that it was taken back, or that it is not known. */
  async find(id: string): Promise<'unknown' | 'deleted' | { readonly digest: string }> {
    await this.#with(async () => 0);
    if (!this.#said.has(id)) return 'unknown';
    const digest = this.#said.get(id);
    return digest === undefined ? 'deleted' : { digest };
  }

  /** Appends a line and makes it durable. */
  async append(line: OutLine): Promise<void> {
    await this.#with(async (handle, endsInLine) => {
      // A line that a crash cut off is ended first, so that only that one is unreadable.
      const text = `${endsInLine ? '' : '\n'}${JSON.stringify(line)}\n`;
      await handle.appendFile(text);
      await handle.datasync();
      this.#note(line);
      return Buffer.byteLength(text);
    });
  }

  /** Writes a file beside the log and says where. */
  async putFile(name: string, bytes: Uint8Array): Promise<string> {
    const relative = path.posix.join(sentName, name);
    const target = path.join(this.#folder, relative);
    await mkdir(path.dirname(target), { recursive: true, mode: 0o700 });
    // Written beside and renamed: a reader that knows the name finds the whole file.
    await writeFile(`${target}.partial`, bytes, { mode: 0o600 });
    await rename(`${target}.partial`, target);
    return relative;
  }

  /** Reads what others appended, then does `work`, which says how many bytes it appended itself. */
  async #with(work: (handle: FileHandle, endsInLine: boolean) => Promise<number>): Promise<void> {
    const flags = constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW;
    const handle = await open(path.join(this.#folder, outName), flags, 0o600);
    try {
      const { ino, size } = await handle.stat();
      if (ino !== this.#inode || size < this.#scanned) {
        this.#inode = ino;
        this.#scanned = Math.max(0, size - scanBytesMax);
      }
      const fresh = await readAt(handle, this.#scanned, size - this.#scanned);
      const end = fresh.lastIndexOf(newline) + 1;
      for (const line of fresh.subarray(0, end).toString('utf8').split('\n')) this.#read(line);
      this.#scanned += end;
      const appended = await work(handle, end === fresh.length);
      if (appended > 0) this.#scanned = size + appended;
    } finally {
      await handle.close();
    }
  }

  #read(line: string): void {
    if (line === '') return;
    try {
      const known = knownLineSchema.safeParse(JSON.parse(line)).data;
      if (known !== undefined) this.#note({ ...known, type: known.type as OutLine['type'] });
    } catch {
      // Cut off by a crash, or written by somebody else: it says nothing about our messages.
    }
  }

  #note(line: OutLine): void {
    this.#said.delete(line.id);
    this.#said.set(line.id, line.type === 'delete' ? undefined : digestOf(line));
    if (this.#said.size <= idsMax) return;
    for (const oldest of this.#said.keys()) {
      this.#said.delete(oldest);
      return;
    }
  }
}

/** What a line says, without when and how often. */
export function digestOf(line: OutLine): string {
  const { type: _type, at: _at, ...rest } = line;
  return sha256(JSON.stringify(Object.entries(rest).sort(([a], [b]) => (a < b ? -1 : 1))));
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
