import { lstatSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { AppError } from '#core/kit/errors.ts';
import { sha256 } from '#core/kit/ids.ts';
import { sessionKey } from './container-spec.ts';
import { socketName } from './toolbox-listener.ts';

/** Longest path a unix socket can have on Linux, its closing NUL not counted. */
const socketPathMax = 107;

/** The wanted directory, or one below the system's temporary directory where sockets would not fit. */
export function shortDirectory(wanted: string): string {
  const longest = path.join(wanted, sessionKey('', '', 'browser'), socketName).length;
  return longest <= socketPathMax ? wanted : path.join(tmpdir(), `switchyard-${sha256(wanted).slice(0, 16)}`);
}

/**
 * Makes the directory for this user alone. In a temporary directory anybody could have been there first.
 * @throws AppError `sandbox.unavailable`.
 */
export function makePrivate(directory: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const found = lstatSync(directory);
  if (!found.isDirectory() || (process.getuid !== undefined && found.uid !== process.getuid())) {
    throw new AppError('sandbox.unavailable', `The socket directory ${directory} belongs to somebody else.`, {
      mend: 'Remove it, or set another data directory.',
    });
  }
}
