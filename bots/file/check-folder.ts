import { lstat, mkdir } from 'node:fs/promises';
import path from 'node:path';

/** The file people write to, the one they read, and where files lie. */
export const inName = 'in.jsonl';
export const outName = 'out.jsonl';
export const filesName = 'files';
export const sentName = 'sent';

/** Makes what is missing, then looks as `checkFolder` does. */
export async function prepareFolder(folder: string): Promise<string | undefined> {
  try {
    for (const name of ['', filesName, sentName]) {
      await mkdir(path.join(folder, name), { recursive: true, mode: 0o700 });
    }
  } catch (err) {
    return unusable(folder, err);
  }
  return await checkFolder(folder);
}

/**
 * Looks whether only the user this process runs as can write into the folder: whoever can, speaks as the operator. What
 * is not there yet is no problem.
 * @returns what is wrong, in one sentence with its mend; undefined when all is well.
 */
export async function checkFolder(folder: string): Promise<string | undefined> {
  try {
    for (const name of ['', filesName, sentName]) {
      const problem = await checkEntry(path.join(folder, name), 'directory');
      if (problem !== undefined) return problem;
    }
    for (const name of [inName, outName]) {
      const problem = await checkEntry(path.join(folder, name), 'file');
      if (problem !== undefined) return problem;
    }
    return undefined;
  } catch (err) {
    return unusable(folder, err);
  }
}

function unusable(folder: string, err: unknown): string {
  return `${folder} cannot be used (${errorCode(err)}): set SWITCHYARD_FILE_CHANNEL to a folder of your own.`;
}

async function checkEntry(entry: string, kind: 'directory' | 'file'): Promise<string | undefined> {
  let facts: Awaited<ReturnType<typeof lstat>>;
  try {
    facts = await lstat(entry);
  } catch (err) {
    if (errorCode(err) === 'ENOENT') return undefined;
    throw err;
  }
  if (facts.isSymbolicLink()) return `${entry} is a symbolic link: put a real ${kind} there.`;
  if (kind === 'directory' ? !facts.isDirectory() : !facts.isFile()) return `${entry} is not a ${kind}: move it away.`;
  const user = process.getuid?.();
  if (user !== undefined && facts.uid !== user) {
    return `${entry} belongs to user ${facts.uid}, but whoever writes there speaks as the operator: run "chown ${user} ${entry}".`;
  }
  if ((Number(facts.mode) & 0o022) !== 0) {
    return `${entry} can be written by others, and whoever writes there speaks as the operator: run "chmod go-w ${entry}".`;
  }
  return undefined;
}

/** The error code of a system call, or `unknown`. */
export function errorCode(err: unknown): string {
  return err instanceof Error && 'code' in err ? String(err.code) : 'unknown';
}
