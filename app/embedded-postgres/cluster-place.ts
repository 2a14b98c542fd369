import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  lchownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { AppError } from '#core/kit/errors.ts';
import { findPostgresBinaries, isReachableByOthers, type PostgresBinaries } from './postgres-binaries.ts';
import { initCluster } from './postgres-process.ts';

/** The files of one embedded database. Only the cluster may lie outside the data directory. */
export interface ClusterPlace {
  readonly lockFile: string;
  readonly passwordFile: string;
  readonly portFile: string;
  /** The server's own directory; belongs to the user the server runs as. */
  readonly cluster: string;
}

/** Where clusters go when root's server user cannot enter the data directory (a checkout under /root is mode 700). */
const reachableFolder = '/var/lib/switchyard';

/** Names the files of `dataDir`, creating the directory. */
export function findClusterPlace(dataDir: string): ClusterPlace {
  const isRoot = process.getuid?.() === 0;
  // Root's server runs as another user, who must be able to pass through; each secret file below has mode 600.
  if (!existsSync(dataDir)) mkdirSync(dataDir, { recursive: true, mode: isRoot ? 0o755 : 0o700 });
  const files = {
    lockFile: path.join(dataDir, 'supervisor.lock'),
    passwordFile: path.join(dataDir, 'postgres-password'),
    portFile: path.join(dataDir, 'postgres-port'),
  };
  const inside = path.join(dataDir, 'postgres');
  // A cluster that an ordinary user made inside a folder of their own stays the one, also when root starts it.
  const isInside = !isRoot || existsSync(path.join(inside, 'PG_VERSION')) || isReachableByOthers(dataDir);
  if (isInside) return { ...files, cluster: inside };
  const name = createHash('sha256').update(dataDir).digest('hex').slice(0, 16);
  mkdirSync(path.join(reachableFolder, name), { recursive: true, mode: 0o755 });
  return { ...files, cluster: path.join(reachableFolder, name, 'postgres') };
}

/**
 * Creates the cluster unless it is there.
 * @returns the binaries and the password to run it with.
 * @throws AppError `config.invalid` when the cluster cannot be used by this version.
 */
export async function prepareCluster(
  place: ClusterPlace,
): Promise<{ readonly binaries: PostgresBinaries; readonly password: string }> {
  const binaries = findPostgresBinaries();
  const versionFile = path.join(place.cluster, 'PG_VERSION');
  if (!existsSync(versionFile)) {
    const password = randomBytes(24).toString('base64url');
    writeFileSync(place.passwordFile, password, { mode: 0o600 });
    // initdb writes PG_VERSION early; made beside and renamed, one that was cut short is never taken for a whole one.
    const partial = `${place.cluster}.partial`;
    rmSync(partial, { recursive: true, force: true });
    try {
      await initCluster(binaries, { dataDir: partial, password });
    } catch (cause) {
      throw new AppError('config.invalid', `No database could be created in ${place.cluster}.`, {
        mend: 'Check free space and permissions there, or set DATABASE_URL to a Postgres of your own.',
        cause,
      });
    }
    renameSync(partial, place.cluster);
    return { binaries, password };
  }
  const [major] = binaries.version.split('.');
  const found = readFileSync(versionFile, 'utf8').trim();
  if (found !== major) {
    throw new AppError(
      'config.invalid',
      `${place.cluster} was made by Postgres ${found}; this release brings ${major}.`,
      {
        mend: `Move it to a Postgres ${major} with pg_dump and pg_restore, or run the release it was made with.`,
      },
    );
  }
  return { binaries: { ...binaries, runAs: claimCluster(place.cluster, binaries) }, password: readPassword(place) };
}

/** @throws AppError `config.invalid` when the file is gone: nothing else knows the password. */
export function readPassword(place: ClusterPlace): string {
  try {
    return readFileSync(place.passwordFile, 'utf8').trim();
  } catch (cause) {
    throw new AppError(
      'config.invalid',
      `The database in ${place.cluster} is there, but ${place.passwordFile} is not.`,
      {
        mend: 'Restore that file from your backup, or remove the database folder to start with an empty one.',
        cause,
      },
    );
  }
}

/**
 * A server works only on a directory that is its own user's and nobody else's to read. Root runs it as the directory's
 * owner; what root itself owns, as after a restored copy, is given to the server's user.
 */
function claimCluster(cluster: string, binaries: PostgresBinaries): PostgresBinaries['runAs'] {
  chmodSync(cluster, 0o700);
  if (binaries.runAs === undefined) return undefined;
  const { uid, gid } = statSync(cluster);
  if (uid !== 0) return { uid, gid };
  const { runAs } = binaries;
  for (const entry of readdirSync(cluster, { recursive: true, encoding: 'utf8' })) {
    lchownSync(path.join(cluster, entry), runAs.uid, runAs.gid);
  }
  lchownSync(cluster, runAs.uid, runAs.gid);
  return runAs;
}
