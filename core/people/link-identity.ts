import { appendAudit } from '../audit/append-audit.ts';
import type { Tx } from '../kit/database.ts';
import { AppError } from '../kit/errors.ts';
import { putOffer } from '../offers/put-offer.ts';
import type { Conversation } from '../sessions/origin.ts';
import { linkedAdmission, linkedTo } from './access.ts';
import { findPeopleOf, findReach } from './find-reach.ts';
import { useCode } from './one-time-code.ts';
import {
  assignPerson,
  countIdentities,
  disablePerson,
  findPerson,
  handOverWork,
  lockIdentity,
  lockOwners,
  lockPerson,
  selectIdentity,
} from './people-store.ts';
import { type Identity, type Person, rankOf } from './person.ts';

/** How long somebody may take to confirm that two people are one. */
const mergeMs = 24 * 60 * 60_000;

/** What a link code led to, in one sentence for whoever brought it. */
export type LinkResult =
  | { readonly kind: 'linked'; readonly person: Person }
  /** Two people would become one: somebody has to confirm that first. */
  | { readonly kind: 'asked' }
  | { readonly kind: 'refused'; readonly why: string }
  /** Too many wrong codes: nothing is said to a stranger any more. */
  | { readonly kind: 'locked' };

/**
 * Joins an account to the person whose code it brings. A stranger's account becomes theirs at once: the code proves that
 * both are in the same hands. One that belongs to somebody already is joined only after an owner or admin confirmed it
 * from the other side, because rights come with it.
 */
export async function linkIdentity(
  tx: Tx,
  identity: Identity,
  code: string,
  conversation: Conversation,
): Promise<LinkResult> {
  const used = await useCode(tx, 'link', code, identity);
  if (used.kind === 'locked') return { kind: 'locked' };
  if (used.kind === 'wrong') {
    return {
      kind: 'refused',
      why: 'That code is not valid (any more). Send /link from your other account for a new one.',
    };
  }
  const target = await findPerson(tx, used.personId);
  if (target === undefined) return { kind: 'refused', why: 'That code is not valid any more.' };
  const { person } = identity;
  if (person?.id === target.id) return { kind: 'refused', why: 'Both accounts are yours already.' };
  if (person === undefined) {
    // An account whose person was removed comes back only by somebody's decision.
    if (identity.isRemoved) return { kind: 'refused', why: 'Only an owner or admin can let you in again.' };
    await join(tx, identity, target, 'code', await admissionThrough(tx, used.identityId));
    return { kind: 'linked', person: target };
  }
  return await askToMerge(tx, { identity, person, target, conversation, codeMadeBy: used.identityId });
}

/** Puts the question to those who may decide it: at least as high as either person, and not the one who asks. */
async function askToMerge(
  tx: Tx,
  asked: {
    readonly identity: Identity;
    readonly person: Person;
    readonly target: Person;
    readonly conversation: Conversation;
    readonly codeMadeBy: string;
  },
): Promise<LinkResult> {
  const { identity, person, target, conversation, codeMadeBy } = asked;
  const refusal = await mergeRefusal(tx, identity, person);
  if (refusal !== undefined) return { kind: 'refused', why: refusal };
  const deciders = await decidersOf(tx, person, target);
  const places: Conversation[] = [];
  for (const personId of deciders) {
    const reach = await findReach(tx, personId);
    // Where the code was made, if it was the decider who made it: that is the other side.
    const place = reach.find(({ identityId }) => identityId === codeMadeBy) ?? reach[0];
    if (place !== undefined) places.push(place.conversation);
  }
  if (places.length === 0) {
    return {
      kind: 'refused',
      why: 'Both accounts belong to people I know, and no owner or admin can be reached to confirm that they are one.',
    };
  }
  await putOffer(tx, {
    subject: {
      kind: 'merge',
      identityId: identity.id,
      fromPersonId: person.id,
      toPersonId: target.id,
      conversation,
    },
    markdown: [
      `**${person.displayName}** (${person.role}) says that their ${identity.channel} account and`,
      `**${target.displayName}** (${target.role}) are the same person.`,
      `If you confirm it, that account gets the rights of **${target.displayName}**.`,
    ].join(' '),
    places,
    validMs: mergeMs,
  });
  return { kind: 'asked' };
}

/** Who may confirm; the side that asks never does it alone. */
async function decidersOf(tx: Tx, person: Person, target: Person): Promise<readonly string[]> {
  const needed = Math.max(rankOf(person.role), rankOf(target.role));
  const roles = needed === rankOf('owner') ? (['owner'] as const) : (['owner', 'admin'] as const);
  return (await findPeopleOf(tx, roles)).filter((id) => id !== person.id);
}

async function mergeRefusal(tx: Tx, identity: Identity, person: Person): Promise<string | undefined> {
  if (person.role !== 'owner' || (await countIdentities(tx, person.id)) > 1) return undefined;
  const owners = await lockOwners(tx);
  return owners.length > 1
    ? undefined
    : `You are the only owner, and this ${identity.channel} account is all there is of you. Make the code here and send it from the other account.`;
}

/**
 * Joins two people after it was confirmed.
 * @returns why it cannot be done any more; undefined when it was.
 */
export async function mergeAfterConfirmation(
  tx: Tx,
  merge: { readonly identityId: string; readonly fromPersonId: string; readonly toPersonId: string },
  confirmer: Person,
): Promise<string | undefined> {
  // All owners before any other person: the order of everybody who changes people.
  const owners = await lockOwners(tx);
  await lockPerson(tx, merge.fromPersonId);
  const locked = await lockIdentity(tx, merge.identityId);
  const [person, target] = [await findPerson(tx, merge.fromPersonId), await findPerson(tx, merge.toPersonId)];
  if (locked?.personId !== merge.fromPersonId || person === undefined || target === undefined) {
    return 'One of the two has changed meanwhile; nothing was joined.';
  }
  if (confirmer.id === person.id || rankOf(confirmer.role) < Math.max(rankOf(person.role), rankOf(target.role))) {
    throw new AppError('grant.missing', 'You may not confirm this.', { mend: 'An owner has to.' });
  }
  const isLast = (await countIdentities(tx, person.id)) <= 1;
  if (isLast && person.role === 'owner' && owners.length <= 1) {
    return 'The only owner cannot become somebody else.';
  }
  await join(tx, { id: merge.identityId }, target, `person ${confirmer.id}`);
  if (isLast) {
    await handOverWork(tx, person.id, target.id);
    await disablePerson(tx, person.id);
  }
  return undefined;
}

/** Whom only a list lets in cannot give more than that: their other account is let in as long as the first one is. */
async function admissionThrough(tx: Tx, makerId: string): Promise<string | undefined> {
  const entry = (await selectIdentity(tx, makerId))?.admittedBy;
  if (entry === undefined || linkedTo(entry) !== undefined) return entry;
  return linkedAdmission(makerId);
}

async function join(
  tx: Tx,
  identity: { readonly id: string },
  target: Person,
  by: string,
  admittedBy?: string,
): Promise<void> {
  await assignPerson(tx, identity.id, target.id, admittedBy);
  await appendAudit(tx, [
    {
      kind: 'identity.linked',
      chainKey: 'people',
      body: { identityId: identity.id, personId: target.id, by },
    },
  ]);
}

/**
 * Makes an account a stranger's again; its person keeps the others.
 * @throws AppError `command.invalid` for the only account somebody has.
 */
export async function unlinkIdentity(tx: Tx, identity: Identity, person: Person): Promise<void> {
  // Two accounts that leave at the same moment must not leave nobody.
  await lockPerson(tx, person.id);
  if ((await lockIdentity(tx, identity.id))?.personId !== person.id) return;
  if ((await countIdentities(tx, person.id)) <= 1) {
    throw new AppError('command.invalid', 'This is your only account here; there is nothing to separate it from.', {
      mend: 'An owner or admin can remove you with /remove.',
    });
  }
  await assignPerson(tx, identity.id, undefined);
  await appendAudit(tx, [
    { kind: 'identity.unlinked', chainKey: 'people', body: { identityId: identity.id, personId: person.id } },
  ]);
}
