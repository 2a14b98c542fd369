import { createHash, randomBytes } from 'node:crypto';
import { link, mkdir, open, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { AppError } from '../kit/errors.ts';
import { newToken } from '../kit/ids.ts';
import { closeBox, keyBytes, openBox } from './aes-box.ts';
import type { KekSource } from './kek-source.ts';

interface MasterKey {
  readonly id: string;
  readonly key: Buffer;
}

const fileBytesMax = 64 * 1024;

/**
 * Master keys in a file: one to a line, 32 bytes in base64 or hex, the first one wraps. The file is read for every use,
 * so that a rotation holds at once in every process. It is refused when anybody but its owner may read it.
 *
 * @param options.mayCreate whether a missing file is made when the first secret is sealed.
 */
export function openFileKek(options: { readonly file: string; readonly mayCreate: boolean }): KekSource {
  const { file } = options;
  const find = async (id: string): Promise<MasterKey> => {
    const keys = await readKeys(file);
    const found = keys?.find((key) => key.id === id);
    if (found !== undefined) return found;
    throw keys === undefined ? missingFile(file) : missingKey(file, id);
  };
  const readOrCreate = async (): Promise<MasterKey> => {
    const known = (await readKeys(file)) ?? (options.mayCreate ? await createFile(file) : undefined);
    const [first] = known ?? [];
    if (first === undefined) throw missingFile(file);
    return first;
  };
  return {
    id: async () => (await readOrCreate()).id,
    wrap: async (id, key, context) => closeBox((await find(id)).key, key, context),
    unwrap: async (id, wrapped, context) => {
      const key = openBox((await find(id)).key, wrapped, context);
      if (key === undefined) throw new AppError('vault.tampered', 'The key of a secret does not fit its row.');
      return key;
    },
    renew: async () => {
      const before = (await readKeys(file)) ?? [];
      const key = newKey();
      await replaceFile(file, [key, ...before]);
      return key.id;
    },
    forgetOlder: async (id) => {
      const keys = (await readKeys(file)) ?? [];
      const kept = keys.slice(0, keys.findIndex((key) => key.id === id) + 1);
      if (kept.length > 0 && kept.length < keys.length) await replaceFile(file, kept);
    },
  };
}

/** @returns undefined when there is no file. */
async function readKeys(file: string): Promise<readonly MasterKey[] | undefined> {
  let text: string;
  try {
    // Looked at through the open file: between two looks at its name it could become another one.
    await using handle = await open(file, 'r');
    const { mode, uid, size } = await handle.stat();
    const own = process.getuid?.();
    if ((mode & 0o077) !== 0) {
      throw unusable(file, 'others than its owner may read or write it', `Run: chmod 600 ${file}`);
    }
    if (own !== undefined && uid !== own && uid !== 0) {
      throw unusable(file, 'it belongs to another user', `Make it belong to user ${own}, who runs the product.`);
    }
    if (size > fileBytesMax) throw unusable(file, 'it is too long for a key file', 'Point to the right file.');
    text = await handle.readFile('utf8');
  } catch (err) {
    if (err instanceof AppError) throw err;
    if (codeOf(err) === 'ENOENT') return undefined;
    throw unusable(file, `it cannot be read (${codeOf(err)})`, 'Check its owner and the folder it is in.');
  }
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  const keys = lines.map((line) => readKey(line.trim()));
  if (keys.length === 0 || keys.includes(undefined)) {
    throw unusable(file, 'it does not hold keys', 'Each line is 32 bytes in base64: openssl rand -base64 32');
  }
  return keys.filter((key) => key !== undefined);
}

function readKey(line: string): MasterKey | undefined {
  const isHex = /^[0-9a-f]{64}$/i.test(line);
  const key = Buffer.from(line, isHex ? 'hex' : 'base64');
  if (key.length !== keyBytes || (!isHex && !/^[A-Za-z0-9+/_-]{43}=?$/.test(line))) return undefined;
  return { id: idOf(key), key };
}

function newKey(): MasterKey {
  const key = randomBytes(keyBytes);
  return { id: idOf(key), key };
}

/** Says which key it is and nothing about it. */
function idOf(key: Buffer): string {
  return `file:${createHash('sha256').update('switchyard master key').update(key).digest('hex').slice(0, 16)}`;
}

function textOf(keys: readonly MasterKey[]): string {
  return keys.map(({ key }) => `${key.toString('base64')}\n`).join('');
}

/** Two processes that create it at once end with the same keys. */
async function createFile(file: string): Promise<readonly MasterKey[] | undefined> {
  const whole = `${file}.${newToken(6)}`;
  try {
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(whole, textOf([newKey()]), { mode: 0o600, flag: 'wx', flush: true });
    // A link is made only where there is nothing yet, and shows the whole file at once.
    await link(whole, file).catch((err: unknown) => {
      if (codeOf(err) !== 'EEXIST') throw err;
    });
  } catch (err) {
    throw unusable(file, `it cannot be made (${codeOf(err)})`, 'Make its folder writable for this user.');
  } finally {
    await rm(whole, { force: true });
  }
  return await readKeys(file);
}

async function replaceFile(file: string, keys: readonly MasterKey[]): Promise<void> {
  const next = `${file}.${newToken(6)}`;
  try {
    await writeFile(next, textOf(keys), { mode: 0o600, flag: 'wx', flush: true });
    await rename(next, file);
  } catch (err) {
    await rm(next, { force: true });
    throw unusable(
      file,
      `it cannot be replaced (${codeOf(err)})`,
      'Make the file and its folder writable for this user.',
    );
  }
}

function missingFile(file: string): AppError {
  return new AppError('vault.unavailable', `There is no master key: ${file} does not exist.`, {
    mend: 'Copy the file from where the secrets were set, or set SWITCHYARD_MASTER_KEY_FILE to it.',
  });
}

function missingKey(file: string, id: string): AppError {
  return new AppError('vault.unavailable', `The master key ${id} is not in ${file}.`, {
    mend: 'Bring the file back that the secret was sealed with, or set the secret anew.',
  });
}

function unusable(file: string, why: string, mend: string): AppError {
  return new AppError('vault.unavailable', `The master key file ${file} cannot be used: ${why}.`, { mend });
}

function codeOf(err: unknown): string {
  return err instanceof Error && 'code' in err ? String(err.code) : 'unknown';
}
