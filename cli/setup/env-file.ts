import { randomBytes } from 'node:crypto';
import { chmod, readFile, realpath, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { AppError } from '#core/kit/errors.ts';

const neverMark = '# ./switchyard setup does not ask for: ';

/** What somebody said "never" to. */
export function readNever(text: string): ReadonlySet<string> {
  const names = text
    .split('\n')
    .filter((line) => line.startsWith(neverMark))
    .flatMap((line) => line.slice(neverMark.length).split(/[\s,]+/));
  return new Set(names.filter((name) => name !== ''));
}

/** The text with these values and refusals in it; every other line stays as it is. */
export function mergeEnv(
  text: string,
  changes: { readonly values: ReadonlyMap<string, string>; readonly never: ReadonlySet<string> },
): string {
  const lines = text.split('\n').filter((line) => !line.startsWith(neverMark));
  while (lines.at(-1)?.trim() === '') lines.pop();
  for (const [name, value] of changes.values) {
    const written = `${name}=${quote(value)}`;
    // The last one counts where a file says a thing twice.
    const set = lines.findLastIndex((line) => new RegExp(`^\\s*(?:export\\s+)?${name}\\s*=`).test(line));
    const template = lines.findIndex((line) => new RegExp(`^#\\s*${name}=\\s*$`).test(line));
    if (set !== -1) lines[set] = written;
    else if (template !== -1) lines[template] = written;
    else lines.push(written);
  }
  if (changes.never.size > 0) lines.push(`${neverMark}${[...changes.never].sort().join(', ')}`);
  return `${lines.join('\n')}\n`;
}

/** The file's text; what a new one begins with when there is none. */
export async function readEnvFile(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (err) {
    if (!(err instanceof Error && 'code' in err && err.code === 'ENOENT')) throw unusable(file, err);
    return await readFile(path.join(path.dirname(file), '.env.example'), 'utf8').catch(() => '');
  }
}

/** Writes the file for its owner alone, whole or not at all. */
export async function writeEnvFile(file: string, text: string): Promise<void> {
  try {
    const target = await realpath(file).catch(() => file);
    const partial = `${target}.${randomBytes(4).toString('hex')}`;
    await writeFile(partial, text, { mode: 0o600, flag: 'wx' });
    await chmod(partial, 0o600);
    await rename(partial, target);
  } catch (err) {
    throw unusable(file, err);
  }
}

/** Keys hold no white space, but a `#` would begin a comment. */
function quote(value: string): string {
  if (/^[\w.:/@+=~-]*$/.test(value)) return value;
  return value.includes("'") ? `"${value}"` : `'${value}'`;
}

function unusable(file: string, cause: unknown): AppError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'an error';
  return new AppError('config.invalid', `${file} cannot be read or written: ${code}.`, {
    mend: 'Check who owns it and the folder it is in.',
    cause,
  });
}
