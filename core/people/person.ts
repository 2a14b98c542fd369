/** What a person may do with the product itself; what agents may do for them is said by grants. */
export type PersonRole = 'owner' | 'admin' | 'member';

/** A human we know. */
export interface Person {
  readonly id: string;
  readonly displayName: string;
  readonly role: PersonRole;
}

/** One account of someone on a channel; without a person it is a stranger's. */
export interface Identity {
  readonly id: string;
  readonly channel: string;
  readonly account: string;
  readonly externalId: string;
  readonly displayName: string;
  readonly person: Person | undefined;
  /** The person it belonged to was removed: no list lets it in again, only somebody's decision. */
  readonly isRemoved: boolean;
  /** The entry of the allow list that let it in; undefined for one that was paired. */
  readonly admittedBy: string | undefined;
}

/** Whether the role may administer people, grants and approvals of others. */
export function isAdministrator(role: PersonRole): boolean {
  return role === 'owner' || role === 'admin';
}

/** How far a role reaches; a higher one may do all that a lower one may. */
export function rankOf(role: PersonRole): number {
  switch (role) {
    case 'owner':
      return 2;
    case 'admin':
      return 1;
    case 'member':
      return 0;
  }
}
