import { findPrivatePlaces } from '../broadcast/find-private-places.ts';
import { resolveTargets } from '../broadcast/resolve-target.ts';
import type { Db } from '../kit/database.ts';
import type { Conversation } from '../sessions/origin.ts';
import { type ApprovalRules, refusalOf } from './approval.ts';
import { selectPossibleDeciders } from './approval-store.ts';

/** People written to about one request because they may decide it. */
const peopleMax = 10;

/**
 * Where else a request is shown than where it was asked. Without settings: to those who may decide it, in private,
 * when whoever asked may not. With `notify`: always there, `approvers` standing for those who may decide.
 */
export async function findCopies(
  db: Db,
  rules: ApprovalRules,
  notify: readonly string[] | undefined,
): Promise<readonly Conversation[]> {
  const named = rules.approvers.flat().flatMap((rule) => (rule.startsWith('person:') ? [rule.slice(7)] : []));
  const asked = rules.requesterId === undefined ? [] : [rules.requesterId];
  const deciders = (await selectPossibleDeciders(db, [...named, ...asked])).filter(
    (decider) => refusalOf(rules, decider, 'approve') === undefined,
  );
  const askedByDecider = deciders.some((decider) => decider.personId === rules.requesterId);
  const words = notify ?? (askedByDecider ? [] : ['approvers']);
  const { places } = await resolveTargets(
    db,
    words.filter((word) => word !== 'approvers'),
  );
  if (!words.includes('approvers')) return places.map((place) => place.conversation);
  const reaches = await Promise.all(
    deciders
      .filter((decider) => decider.personId !== rules.requesterId)
      .slice(0, peopleMax)
      .map(async ({ personId }) => await findPrivatePlaces(db, personId)),
  );
  return [...places, ...reaches.flat()].map((place) => place.conversation);
}
