import type { Db } from '../kit/database.ts';
import { newId } from '../kit/ids.ts';
import { assignPerson, ensureIdentity, findOwner, type IdentityKey, insertPerson } from './people-store.ts';
import type { Identity } from './person.ts';

/**
 * The identity of whoever holds the operator token: always the owner's, created with the first use. Reading that
 * token needs access to the data directory, which is more power than any role.
 */
export async function ensureOperator(db: Db, key: IdentityKey): Promise<Identity> {
  const identity = await ensureIdentity(db, key);
  if (identity.person !== undefined) return identity;
  return await db.transaction().execute(async (tx) => {
    const found = await findOwner(tx);
    const owner = found ?? { id: newId(), displayName: key.displayName, role: 'owner' as const };
    if (found === undefined) await insertPerson(tx, owner);
    await assignPerson(tx, identity.id, owner.id);
    return { ...identity, person: owner };
  });
}
