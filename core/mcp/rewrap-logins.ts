import type { Tx } from '../kit/database.ts';
import { isAppError } from '../kit/errors.ts';
import type { KekSource } from '../vault/kek-source.ts';
import { rewrapSealed } from './open-sealer.ts';
import { lockSealed } from './sealed-store.ts';

/**
 * Wraps the keys of sealed logins under the master key that wraps now, for its rotation.
 * @returns how many, and what those are bound to that are not as they were sealed.
 */
export async function rewrapLogins(
  tx: Tx,
  kek: KekSource,
): Promise<{ readonly count: number; readonly broken: readonly string[] }> {
  const broken: string[] = [];
  let count = 0;
  for (const text of await lockSealed(tx)) {
    try {
      await text.replace(await rewrapSealed(kek, text.scope, text.sealed));
      count += 1;
    } catch (err) {
      if (!isAppError(err, 'vault.tampered')) throw err;
      broken.push(text.scope);
    }
  }
  return { count, broken };
}
