import { appendAudit } from '../audit/append-audit.ts';
import type { Tx } from '../kit/database.ts';
import { newId } from '../kit/ids.ts';
import { assignPerson, findPerson, insertPerson, lockIdentity } from './people-store.ts';
import type { Identity, Person, PersonRole } from './person.ts';

/**
 * Makes a stranger's account a person's of its own. Two that let the same one in take turns; the second finds the person
 * of the first.
 * @param by who or what decided: `person <id>`, or the entry of the allow list.
 * @param entry the entry of the allow list, when it was that: the admission then lasts as long as the entry.
 */
export async function admit(
  tx: Tx,
  identity: Pick<Identity, 'id' | 'displayName' | 'channel'>,
  role: PersonRole,
  options: { readonly by: string; readonly entry?: string },
): Promise<Person> {
  const locked = await lockIdentity(tx, identity.id);
  const known = locked?.personId === undefined ? undefined : await findPerson(tx, locked.personId);
  if (known !== undefined) {
    await assignPerson(tx, identity.id, known.id, options.entry);
    return known;
  }
  const person: Person = { id: newId(), displayName: identity.displayName, role };
  await insertPerson(tx, person);
  await assignPerson(tx, identity.id, person.id, options.entry);
  await appendAudit(tx, [
    {
      kind: 'person.admitted',
      chainKey: 'people',
      body: { personId: person.id, identityId: identity.id, channel: identity.channel, role, by: options.by },
    },
  ]);
  return person;
}
