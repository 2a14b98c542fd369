import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { AppError } from '#core/kit/errors.ts';

/**
 * Makes sure that the data directory is there and can be written to, before anything else is opened.
 * @throws AppError `config.invalid` with the reason: a full disk, a file in the way, missing rights.
 */
export function ensureDataDir(dataDir: string): void {
  const probe = path.join(dataDir, `.probe.${process.pid}`);
  try {
    // Root's database server runs as another user, who must be able to pass through; each secret file has mode 600.
    mkdirSync(dataDir, { recursive: true, mode: process.getuid?.() === 0 ? 0o755 : 0o700 });
    // Only a real write finds a full disk and a read-only mount.
    writeFileSync(probe, 'x');
    rmSync(probe);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new AppError('config.invalid', `The data directory ${dataDir} cannot be written to (${reason}).`, {
      mend: 'Make room or correct its owner, or set SWITCHYARD_DATA_DIR to another folder.',
      cause,
    });
  }
}
