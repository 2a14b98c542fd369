import type { Db } from '../kit/database.ts';
import { toWellFormed } from '../kit/json.ts';
import type { Log } from '../kit/log.ts';
import { admissionOf, type ChannelAccess, isStillAdmitted, linkedTo, modeOf } from '../people/access.ts';
import { admit } from '../people/admit.ts';
import { ensureOperator } from '../people/ensure-operator.ts';
import { findIdentity, identify } from '../people/identify.ts';
import type { Identity, Person } from '../people/person.ts';
import type { InboundEvent } from './inbound.ts';

export interface WhoDeps {
  readonly db: Db;
  readonly log: Log;
  readonly access: ChannelAccess;
  /** What holds on other channels. */
  readonly accessOn: (channel: string) => ChannelAccess;
  readonly operatorChannels: ReadonlySet<string>;
}

/**
 * The identity of an event's author, and the person it stands for here and now: paired, or let in by the allow list for
 * as long as its entry stands.
 * @returns undefined in a closed room for everybody but the owners, who could not mend a mistake otherwise.
 */
export async function whoIs(
  deps: WhoDeps,
  event: InboundEvent,
): Promise<{ readonly identity: Identity; readonly person: Person | undefined } | undefined> {
  const { db, access } = deps;
  const { conversation, actor } = event;
  const key = {
    channel: conversation.channel,
    account: conversation.account,
    externalId: actor.externalId,
    displayName: toWellFormed(actor.displayName).slice(0, 200),
  };
  if (deps.operatorChannels.has(conversation.channel) && actor.isOperator === true) {
    const identity = await ensureOperator(db, key);
    return { identity, person: identity.person };
  }
  const identity = await identify(db, key);
  if (modeOf(access, conversation) === 'closed' && identity.person?.role !== 'owner') return undefined;
  return { identity, person: await personHere(deps, event, identity) };
}

async function personHere(deps: WhoDeps, event: InboundEvent, identity: Identity): Promise<Person | undefined> {
  const { db, log, access } = deps;
  const { conversation, actor } = event;
  if (identity.person !== undefined && identity.admittedBy === undefined) return identity.person;
  if (identity.person !== undefined && (await isListed(deps, actor, identity))) return identity.person;
  if (identity.isRemoved) return undefined;
  const entry = admissionOf(access, actor, conversation);
  if (entry === undefined) return undefined;
  const person = await db
    .transaction()
    .execute(async (tx) => await admit(tx, identity, 'member', { by: `allow list: ${entry}`, entry }));
  log.info({ identityId: identity.id, personId: person.id, entry }, 'identity let in by the allow list');
  return person;
}

/** Whether the entry that let an account in stands, be it that of the account it was joined to. */
async function isListed(deps: WhoDeps, actor: InboundEvent['actor'], identity: Identity): Promise<boolean> {
  const entry = identity.admittedBy ?? '';
  const first = linkedTo(entry);
  if (first === undefined) return isStillAdmitted(deps.access, actor, entry);
  const other = await findIdentity(deps.db, first);
  if (other?.person === undefined || other.person.id !== identity.person?.id) return false;
  return other.admittedBy === undefined || isStillAdmitted(deps.accessOn(other.channel), {}, other.admittedBy);
}
