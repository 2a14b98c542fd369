import { appendAudit } from '../audit/append-audit.ts';
import type { Db, Tx } from '../kit/database.ts';
import { isAppError } from '../kit/errors.ts';
import type { KekSource } from './kek-source.ts';
import { rewrapKey } from './seal-secret.ts';
import type { SetBy } from './set-secret.ts';
import { lockMaster, lockVersions, updateWrapped } from './vault-store.ts';

/** Wraps anew what another room keeps under the master key, in the same transaction; says what could not be. */
export type RewrapMore = (
  tx: Tx,
  kek: KekSource,
) => Promise<{ readonly count: number; readonly broken: readonly string[] }>;

/**
 * Wraps the key of every secret under a new master key; the sealed values stay as they are. A crash leaves both master
 * keys in place, and running it again ends it. The old ones are forgotten only when nothing needs them any more.
 * @param deps.more everything else under the master key: what is left out here opens no more.
 * @returns how many keys were wrapped anew, and whose could not be: they are not as they were sealed.
 * @throws AppError `vault.unavailable`
 */
export async function rotateMaster(
  deps: { readonly db: Db; readonly kek: KekSource; readonly more: readonly RewrapMore[] },
  by: SetBy,
): Promise<{ readonly kekId: string; readonly count: number; readonly broken: readonly string[] }> {
  const { db, kek } = deps;
  const result = await db.transaction().execute(async (tx) => {
    await lockMaster(tx, 'exclusive');
    const kekId = await kek.renew();
    const broken: string[] = [];
    let count = 0;
    for (const row of await lockVersions(tx)) {
      try {
        await updateWrapped(tx, { ...row, ...(await rewrapKey(kek, row)) });
        count += 1;
      } catch (err) {
        if (!isAppError(err, 'vault.tampered')) throw err;
        broken.push(`${row.name} version ${row.version}`);
      }
    }
    for (const rewrap of deps.more) {
      const others = await rewrap(tx, kek);
      count += others.count;
      broken.push(...others.broken);
    }
    const body = { kekId, keys: count, broken, personId: by.personId, via: by.via };
    await appendAudit(tx, [{ kind: 'vault.master_rotated', chainKey: 'vault', body }]);
    return { kekId, count, broken };
  });
  // A row that somebody changed may be brought back from a backup; without its master key it never opens again.
  if (result.broken.length === 0) {
    await db.transaction().execute(async (tx) => {
      await lockMaster(tx, 'exclusive');
      await kek.forgetOlder(result.kekId);
    });
  }
  return result;
}
