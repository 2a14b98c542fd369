import type { Db, Tx } from '../kit/database.ts';
import type { Person } from '../people/person.ts';
import type { Conversation } from '../sessions/origin.ts';
import { type Approval, refusalOf } from './approval.ts';
import { isShownWhole } from './approval-list.ts';
import { listApprovals } from './list-approvals.ts';

/** What waits and concerns a person, with what may be shown where they ask. */
export interface VisibleApprovals {
  readonly shown: readonly Approval[];
  /** Waiting in other places, which a room of several people is not told about. */
  readonly hiddenCount: number;
}

/**
 * The pending requests a person may decide or has made, on any channel, the oldest first. In a room of several people
 * only those of that room are shown: what is asked elsewhere is nobody's business there.
 */
export async function visibleApprovals(db: Db | Tx, person: Person, place: Conversation): Promise<VisibleApprovals> {
  const mine = (await listApprovals(db, { state: 'pending' }))
    .filter((approval) => approval.requesterId === person.id || mayApprove(approval, person))
    .reverse();
  const shown = place.kind === 'dm' ? mine : mine.filter((approval) => isInRoom(approval.conversation, place));
  return { shown, hiddenCount: mine.length - shown.length };
}

/** Those of some requests that a person can approve without having seen more than a line of each. */
export function approvableFromList(approvals: readonly Approval[], person: Person): readonly Approval[] {
  return approvals.filter((approval) => mayApprove(approval, person) && isShownWhole(approval));
}

function mayApprove(approval: Approval, person: Person): boolean {
  return refusalOf(approval, { personId: person.id, role: person.role }, 'approve') === undefined;
}

function isInRoom(one: Conversation, other: Conversation): boolean {
  return one.channel === other.channel && one.account === other.account && one.room === other.room;
}
