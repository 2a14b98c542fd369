import { appendAudit } from '../audit/append-audit.ts';
import type { Db } from '../kit/database.ts';
import { isAppError } from '../kit/errors.ts';
import type { KekSource } from './kek-source.ts';
import { rewrapKey } from './seal-secret.ts';
import type { SetBy } from './set-secret.ts';
import { lockVersions, updateWrapped } from './vault-store.ts';

/**
 * Wraps the key of every secret under a new master key; the sealed values stay as they are. A crash leaves both master
 * keys in place, and running it again ends it. The old ones are forgotten only when nothing needs them any more.
 * @returns how many versions were wrapped anew, and those that could not be: they are not as they were sealed.
 * @throws AppError `vault.unavailable`
 */
export async function rotateMaster(
  deps: { readonly db: Db; readonly kek: KekSource },
  by: SetBy,
): Promise<{ readonly kekId: string; readonly count: number; readonly broken: readonly string[] }> {
  const { db, kek } = deps;
  const kekId = await kek.renew();
  const result = await db.transaction().execute(async (tx) => {
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
    const body = { kekId, versions: count, broken, personId: by.personId, via: by.via };
    await appendAudit(tx, [{ kind: 'vault.master_rotated', chainKey: 'vault', body }]);
    return { kekId, count, broken };
  });
  // A row that somebody changed may be brought back from a backup; without its master key it never opens again.
  if (result.broken.length === 0) await kek.forgetOld();
  return result;
}
