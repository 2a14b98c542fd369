import type { Db, Tx } from '../kit/database.ts';
import { ensureIdentity, findPersonRole, type IdentityKey, selectIdentity } from './people-store.ts';
import type { Identity, PersonRole } from './person.ts';

/** The identity of a platform account; a new one is a stranger's. */
export async function identify(db: Db | Tx, key: IdentityKey): Promise<Identity> {
  return await ensureIdentity(db, key);
}

/** An account by our id for it. */
export async function findIdentity(db: Db | Tx, identityId: string): Promise<Identity | undefined> {
  return await selectIdentity(db, identityId);
}

/** The role a person has now; undefined when they are unknown or were removed. */
export async function roleOf(db: Db | Tx, personId: string): Promise<PersonRole | undefined> {
  return await findPersonRole(db, personId);
}
