import type { Db, Tx } from '../kit/database.ts';
import { findPersonRole } from './people-store.ts';
import { type PersonRole, rankOf } from './person.ts';

/**
 * The role of the one of some people who may do the least: what all of them ask for together, each of them must be
 * allowed. Undefined when one of them is unknown or was removed, and for nobody at all.
 */
export async function leastRole(
  db: Db | Tx,
  personIds: readonly (string | undefined)[],
): Promise<PersonRole | undefined> {
  const roles = await Promise.all(personIds.map(async (id) => (id === undefined ? id : await findPersonRole(db, id))));
  const [first, ...others] = roles;
  return others.reduce<PersonRole | undefined>((least, role) => {
    if (least === undefined || role === undefined) return undefined;
    return rankOf(role) < rankOf(least) ? role : least;
  }, first);
}
