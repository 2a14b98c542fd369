import { appendAudit } from '../audit/append-audit.ts';
import type { Db, Tx } from '../kit/database.ts';
import { AppError } from '../kit/errors.ts';
import { admit } from './admit.ts';
import {
  type ListedAccount,
  type ListedPerson,
  selectOwnAccounts,
  selectPeople,
  selectStrangers,
} from './directory-store.ts';
import { disablePerson, ensureIdentity, findPerson, lockOwners, setRole } from './people-store.ts';
import { isAdministrator, type Person, type PersonRole, rankOf } from './person.ts';

/** Strangers that are shown; a public bot has no end of them. */
const strangersMax = 20;

/** An account as it is named before it ever wrote, such as `telegram:12345`. */
const addressPattern = /^([a-z]+):(\S{1,100})$/;

/** Whoever acts: a person of ours, or the operator at the terminal, who may do everything. */
export type PeopleManager = Pick<Person, 'id' | 'role'>;

/** Who may use the product, and who lately tried to. */
export async function listPeople(
  db: Db | Tx,
): Promise<{ readonly people: readonly ListedPerson[]; readonly strangers: readonly ListedAccount[] }> {
  return { people: await selectPeople(db), strangers: await selectStrangers(db, strangersMax) };
}

/** The short name of a person or account in lists and commands: the random end of its id. */
export function shortId(id: string): string {
  return id.slice(-5);
}

/**
 * Lets an account in as a member: a stranger of the list by short id, platform id or name, or anybody as
 * `channel:platform-id` before they ever wrote.
 * @throws AppError `grant.missing` for anyone but owners and admins, `command.invalid` when nobody or several match.
 */
export async function allowPerson(tx: Tx, by: PeopleManager, who: string): Promise<Person> {
  requireAdministrator(by, 'let someone in');
  // Whoever calls themselves `telegram:12345` is not the account of that number.
  const isAddress = addressPattern.test(who.trim());
  const strangers = isAddress ? [] : await selectStrangers(tx, 1000);
  const found = pick(
    strangers.map((account) => ({ item: account, id: account.id, names: [account.externalId, account.displayName] })),
    who,
  );
  const identity = isAddress ? await announced(tx, who) : found;
  if (identity === undefined) {
    throw new AppError('command.invalid', `Nobody who asked is called "${shown(who)}".`, {
      mend: 'Send /people to see who did, or name them as channel:id, such as telegram:12345.',
    });
  }
  return await admit(tx, identity, 'member', { by: `person ${by.id}` });
}

/**
 * Stops working for a person, on all their accounts.
 * @throws AppError `grant.missing` when the other is not below the one who asks, `command.invalid` for the last owner.
 */
export async function removePerson(tx: Tx, by: PeopleManager, who: string): Promise<Person> {
  requireAdministrator(by, 'remove someone');
  const person = await requirePerson(tx, who);
  if (by.role !== 'owner' && rankOf(person.role) >= rankOf(by.role)) {
    throw new AppError('grant.missing', `Only an owner can remove an ${person.role}.`, { mend: 'Ask an owner.' });
  }
  await keepOneOwner(tx, person);
  await disablePerson(tx, person.id);
  await record(tx, 'person.removed', by, person);
  return person;
}

/**
 * Changes what a person may do.
 * @throws AppError `grant.missing` for anyone but an owner, `command.invalid` when it would leave no owner.
 */
export async function changeRole(tx: Tx, by: PeopleManager, who: string, role: PersonRole): Promise<Person> {
  if (by.role !== 'owner') {
    throw new AppError('grant.missing', 'Only an owner can change what someone may do.', { mend: 'Ask an owner.' });
  }
  const person = await requirePerson(tx, who);
  if (role !== 'owner') await keepOneOwner(tx, person);
  await setRole(tx, person.id, role);
  await record(tx, 'person.role_changed', by, { ...person, role }, person.role);
  return { ...person, role };
}

async function requirePerson(tx: Tx, who: string): Promise<Person> {
  const listed = pick(
    (await selectPeople(tx)).map((person) => ({
      item: person,
      id: person.id,
      names: [person.displayName, ...person.accounts.map((account) => account.externalId)],
    })),
    who,
  );
  // Read again under the locks of this transaction; the list is only for finding the name.
  const person = listed === undefined ? undefined : await findPerson(tx, listed.id);
  if (person === undefined) {
    throw new AppError('command.invalid', who === '' ? 'Who?' : `I work for nobody called "${shown(who)}".`, {
      mend: 'Send /people to see who there is.',
    });
  }
  return person;
}

/** What somebody means by a word: exactly one thing, by the end of its id or by a name. */
function pick<Item>(
  candidates: readonly { readonly item: Item; readonly id: string; readonly names: readonly string[] }[],
  who: string,
): Item | undefined {
  const word = who.trim().replace(/^@/, '').toLowerCase();
  if (word === '') return undefined;
  const byId = candidates.filter(({ id }) => word.length >= 5 && id.endsWith(word));
  const matching =
    byId.length > 0 ? byId : candidates.filter(({ names }) => names.some((name) => name.toLowerCase() === word));
  if (matching.length > 1) {
    throw new AppError('command.invalid', `Several match "${shown(who)}".`, {
      mend: `Use the short id: ${matching.map(({ id }) => shortId(id)).join(', ')}.`,
    });
  }
  return matching[0]?.item;
}

/** An account that was named before it ever wrote. */
async function announced(
  tx: Tx,
  who: string,
): Promise<Pick<ListedAccount, 'id' | 'displayName' | 'channel'> | undefined> {
  const named = addressPattern.exec(who.trim());
  if (named?.[1] === undefined || named[2] === undefined) return undefined;
  const accounts = await selectOwnAccounts(tx, named[1]);
  const [account] = accounts;
  if (account === undefined || accounts.length > 1) return undefined;
  return await ensureIdentity(tx, { channel: named[1], account, externalId: named[2], displayName: named[2] });
}

async function keepOneOwner(tx: Tx, person: Person): Promise<void> {
  const owners = await lockOwners(tx);
  if (owners.length === 1 && owners[0] === person.id) {
    throw new AppError('command.invalid', `${person.displayName} is the last owner.`, {
      mend: 'Make someone else an owner first.',
    });
  }
}

function requireAdministrator(by: PeopleManager, what: string): void {
  if (isAdministrator(by.role)) return;
  throw new AppError('grant.missing', `Only an owner or admin can ${what}.`, { mend: 'Ask one of them.' });
}

async function record(tx: Tx, kind: string, by: PeopleManager, person: Person, before?: PersonRole): Promise<void> {
  await appendAudit(tx, [
    {
      kind,
      chainKey: 'people',
      body: { personId: person.id, role: person.role, ...(before === undefined ? {} : { before }), by: by.id },
    },
  ]);
}

function shown(text: string): string {
  return text.replaceAll(/[^\p{L}\p{N} @:._-]/gu, '?').slice(0, 60);
}
