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
  readonly wasRefused: boolean;
}

/** Whether the role may administer people, grants and approvals of others. */
export function isAdministrator(role: PersonRole): boolean {
  return role === 'owner' || role === 'admin';
}
