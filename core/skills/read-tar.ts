import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { AppError } from '../kit/errors.ts';
import { showable } from './check-skill.ts';
import { type RawFile, skillLimits } from './skill.ts';

const block = 512;
/** Contents and headers of the largest skill there may be, and some more for the folders around it. */
const unpackedMax = 2 * skillLimits.bytesMax;
const packedMax = unpackedMax;
/** Files looked at in one archive: a repository holds more than the skill that is wanted of it. */
const entriesMax = 20_000;

/**
 * Reads a tar archive, packed with gzip or not, in memory: nothing is unpacked to a disk, so no name in it can lead
 * anywhere. Links and devices are refused, not skipped: what a skill is reviewed as must be all of it.
 * @throws AppError `skill.invalid`.
 */
export async function readTar(bytes: Buffer, source: string): Promise<readonly RawFile[]> {
  if (bytes.length > packedMax) throw bad(source, `has ${bytes.length} bytes; an archive has at most ${packedMax}`);
  let plain = bytes;
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) {
    try {
      plain = await promisify(gunzip)(bytes, { maxOutputLength: unpackedMax });
    } catch (err) {
      throw bad(source, `cannot be unpacked (${err instanceof Error ? err.message : String(err)})`, err);
    }
  }
  const files: RawFile[] = [];
  let longName: string | undefined;
  let entries = 0;
  for (let at = 0; at + block <= plain.length; ) {
    const header = plain.subarray(at, at + block);
    if (header.every((byte) => byte === 0)) break;
    if (!hasRightSum(header)) throw bad(source, `is no tar archive, or damaged at byte ${at}`);
    entries += 1;
    if (entries > entriesMax) throw bad(source, `has more than ${entriesMax} entries`);
    const size = octal(header, 124, 12);
    const from = at + block;
    if (size === undefined || from + size > plain.length) throw bad(source, `is cut off or damaged at byte ${at}`);
    const content = plain.subarray(from, from + size);
    at = from + Math.ceil(size / block) * block;
    const type = String.fromCharCode(header[156] ?? 0);
    if (type === 'x') {
      longName = paxPath(content) ?? longName;
      continue;
    }
    if (type === 'g') continue;
    if (type === 'L') {
      longName = text(content, 0, content.length);
      continue;
    }
    const prefix = text(header, 257, 5) === 'ustar' ? text(header, 345, 155) : '';
    const short = text(header, 0, 100);
    const name = (longName ?? (prefix === '' ? short : `${prefix}/${short}`))
      .replace(/^(?:\.\/)+/, '')
      .replace(/\/+$/, '');
    longName = undefined;
    if (type === '5') continue;
    if (type !== '0' && type !== '\u0000' && type !== '7') {
      throw bad(source, `holds a link or device at ${showable(name)}; a skill has files only`);
    }
    // Copied: a view would keep the whole archive in memory.
    files.push({ path: name, bytes: Buffer.from(content), isExecutable: ((octal(header, 100, 8) ?? 0) & 0o111) !== 0 });
  }
  return files;
}

/** The sum over a header's bytes, its own field counted as blanks, must be the one it names. */
function hasRightSum(header: Buffer): boolean {
  let sum = 0;
  for (let index = 0; index < block; index++) sum += index >= 148 && index < 156 ? 32 : (header[index] ?? 0);
  return octal(header, 148, 8) === sum;
}

function octal(bytes: Buffer, from: number, length: number): number | undefined {
  const digits = text(bytes, from, length).trim();
  return /^[0-7]{1,12}$/.test(digits) ? Number.parseInt(digits, 8) : undefined;
}

function text(bytes: Buffer, from: number, length: number): string {
  const field = bytes.subarray(from, from + length);
  const end = field.indexOf(0);
  return field.subarray(0, end === -1 ? field.length : end).toString('utf8');
}

/** The `path` record of an extended header: lines `<length> key=value`. */
function paxPath(content: Buffer): string | undefined {
  let found: string | undefined;
  for (let at = 0; at < content.length; ) {
    const blank = content.indexOf(0x20, at);
    const length = blank === -1 ? Number.NaN : Number(content.subarray(at, blank).toString());
    if (!Number.isInteger(length) || length <= blank - at || at + length > content.length) return found;
    const record = content.subarray(blank + 1, at + length - 1).toString('utf8');
    if (record.startsWith('path=')) found = record.slice('path='.length);
    at += length;
  }
  return found;
}

function bad(source: string, why: string, cause?: unknown): AppError {
  return new AppError('skill.invalid', `${source} ${why}.`, { ...(cause === undefined ? {} : { cause }) });
}
