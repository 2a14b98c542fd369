import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import type { Finding } from '#cli/finding.ts';
import { AppError } from '#core/kit/errors.ts';
import type { Config } from '../config.ts';
import { openKek } from '../open-vault.ts';

const name = 'Vault';

/** Whether the master key can be used: a key is wrapped and unwrapped, and none is made. */
export async function checkVault(config: Pick<Config, 'vault'>): Promise<Finding> {
  const { vault } = config;
  if (vault.kind === 'file' && vault.mayCreate && !existsSync(vault.file)) {
    return { name, status: 'ok', detail: 'no secrets yet; the master key is made with the first one' };
  }
  const kek = openKek({ vault: vault.kind === 'file' ? { ...vault, mayCreate: false } : vault });
  try {
    const id = await kek.id();
    const [key, context] = [randomBytes(32), Buffer.from('doctor')];
    const back = await kek.unwrap(id, await kek.wrap(id, key, context), context);
    if (!back.equals(key)) throw new AppError('vault.unavailable', 'What was wrapped did not come back as it was.');
    return { name, status: 'ok', detail: `master key ${id}${vault.kind === 'file' ? ` in ${vault.file}` : ''}` };
  } catch (err) {
    if (!(err instanceof AppError)) throw err;
    const mend = err.mend ?? 'See docs/guide/secrets.md.';
    return { name, status: 'broken', detail: err.message, mend };
  }
}
