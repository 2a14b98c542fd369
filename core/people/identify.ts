import type { Db, Tx } from '../kit/database.ts';
import { ensureIdentity, findPersonRole, hasPerson, type IdentityKey, selectIdentity } from './people-store.ts';
import type { Identity, PersonRole } from './person.ts';

/** The identity of a platform account; a new one is a stranger's. */
export async function identify(db: Db | Tx, key: IdentityKey): Promise<Identity> {
  return await ensureIdentity(db, key);
}

/** Whether an account is a person's we know. Looking does not make a stranger of it who would then be listed. */
export async function isPaired(
  db: Db | Tx,
  key: { readonly channel: string; readonly account: string; readonly externalId: string },
): Promise<boolean> {
  return await hasPerson(db, key);
}

/** An account by our id for it. */
export async function findIdentity(db: Db | Tx, identityId: string): Promise<Identity | undefined> {
  return await selectIdentity(db, identityId);
}

/** The role a person has now; undefined when they are unknown or were removed. */
export async function roleOf(db: Db | Tx, personId: string): Promise<PersonRole | undefined> {
  return await findPersonRole(db, personId);
}
