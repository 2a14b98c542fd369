import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { AppError } from '#core/kit/errors.ts';
import { newToken } from '#core/kit/ids.ts';

/**
 * The random secret (32 bytes, URL-safe) kept in a file that only its owner can read; created when it is missing. Two
 * processes that start at once end with the same one.
 * @throws AppError `config.invalid` when the file cannot be used.
 */
export async function ensureSecretFile(file: string): Promise<string> {
  try {
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, `${newToken(32)}\n`, { mode: 0o600, flag: 'wx' }).catch((err: unknown) => {
      if (!(err instanceof Error && 'code' in err && err.code === 'EEXIST')) throw err;
    });
    await chmod(file, 0o600);
    // The other process may have created the file and not yet written it.
    for (let attempt = 0; attempt < 50; attempt += 1) {
      const secret = (await readFile(file, 'utf8')).trim();
      if (secret.length >= 32) return secret;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  } catch (cause) {
    throw new AppError('config.invalid', `The secret file ${file} cannot be used.`, {
      mend: 'Make its folder writable for this user.',
      cause,
    });
  }
  throw new AppError('config.invalid', `The secret file ${file} is too short.`, {
    mend: 'Delete it: a new one is made at the next start.',
  });
}
