import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { AppError } from '#core/kit/errors.ts';
import { newToken } from '#core/kit/ids.ts';
import { processIdentity } from './process-identity.ts';

/** A lock file holds the identity text of its owner; whoever finds another process there knows the owner is gone. */
export interface SupervisorLock {
  release(): void;
}

/**
 * Takes the lock of one data directory for this process.
 * @throws AppError `config.invalid`, naming the process, when another live one holds it.
 */
export function takeSupervisorLock(file: string, dataDir: string): SupervisorLock {
  const own = processIdentity(process.pid) ?? String(process.pid);
  const draft = `${file}.${process.pid}.${newToken(4)}`;
  try {
    writeFileSync(draft, own, { mode: 0o600 });
  } catch (cause) {
    throw new AppError('config.invalid', `The data directory ${dataDir} cannot be written to.`, {
      mend: 'Start as the user who owns it, change its owner, or set SWITCHYARD_DATA_DIR to another folder.',
      cause,
    });
  }
  try {
    for (;;) {
      try {
        // A link appears with its content or not at all: nobody ever reads an empty lock.
        linkSync(draft, file);
        return { release: () => removeIfOwn(file, own) };
      } catch (err) {
        if (!(err instanceof Error && 'code' in err && err.code === 'EEXIST')) throw err;
      }
      const owner = readLockOwner(file);
      if (owner.isAlive) {
        throw new AppError(
          'config.invalid',
          `The data directory ${dataDir} is in use by another switchyard, process ${owner.pid}.`,
          {
            mend: `Use that one, stop it (kill ${owner.pid}), or give this one a folder of its own with SWITCHYARD_DATA_DIR.`,
            details: { pid: owner.pid },
          },
        );
      }
      removeIfOwn(file, owner.text);
    }
  } finally {
    rmSync(draft, { force: true });
  }
}

/** Who holds the lock. `isAlive` is false when nobody does or the holder died; `pid` is then meaningless. */
export function readLockOwner(file: string): {
  readonly text: string;
  readonly pid: number;
  readonly isAlive: boolean;
} {
  let text = '';
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    // Absent, or removed by its owner between two looks: free.
  }
  const pid = Number.parseInt(text, 10);
  return { text, pid, isAlive: Number.isSafeInteger(pid) && processIdentity(pid) === text };
}

/**
 * Removes the lock only while it holds `text`. Of two processes that both saw a dead owner the slower one would
 * otherwise remove the faster one's fresh lock: it is moved aside first, looked at, and put back if it is not the one.
 */
function removeIfOwn(file: string, text: string): void {
  const aside = `${file}.${process.pid}.${newToken(4)}`;
  try {
    renameSync(file, aside);
  } catch {
    return;
  }
  if (readFileSync(aside, 'utf8') !== text) linkSync(aside, file);
  rmSync(aside, { force: true });
}
