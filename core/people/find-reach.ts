import type { Db, Tx } from '../kit/database.ts';
import type { Conversation } from '../sessions/origin.ts';
import type { PersonRole } from './person.ts';
import { selectPeopleOf, selectReach } from './reach-store.ts';

/** A place where a person can be written to in private. */
export interface Reach {
  readonly conversation: Conversation;
  readonly identityId: string;
  /** The platform's id of the account, for `mentions` and `ephemeralTo`. */
  readonly externalId: string;
}

/**
 * Where a person can be reached now: the last private conversation of each of their identities, the last used one first.
 * Rooms that are blocked, left or gone are skipped, and so are accounts of ours that are halted or switched off. Empty
 * for somebody who never wrote to us in private: most platforms do not let a bot begin.
 */
export async function findReach(db: Db | Tx, personId: string): Promise<readonly Reach[]> {
  return await selectReach(db, personId);
}

/** The people of some roles, the longest known first; the first owner is the operator of this installation. */
export async function findPeopleOf(db: Db | Tx, roles: readonly PersonRole[]): Promise<readonly string[]> {
  return await selectPeopleOf(db, roles);
}
