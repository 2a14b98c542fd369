import { appendAudit } from '../audit/append-audit.ts';
import type { Tx } from '../kit/database.ts';
import { newId } from '../kit/ids.ts';
import { hashPairingCode } from './create-pairing-code.ts';
import { assignPerson, findOwner, insertPerson, usePairingCode } from './people-store.ts';
import type { Identity, Person } from './person.ts';

/**
 * Makes a stranger's identity a person's by a one-time code. An owner code pairs with the owner there already is, so
 * that the operator's terminal and phone are one person.
 * @returns undefined when the code is unknown, used or expired.
 */
export async function pairIdentity(tx: Tx, identity: Identity, code: string): Promise<Person | undefined> {
  const role = await usePairingCode(tx, hashPairingCode(code), identity.id);
  if (role === undefined) return undefined;
  const owner = role === 'owner' ? await findOwner(tx) : undefined;
  const person: Person = owner ?? { id: newId(), displayName: identity.displayName, role };
  if (owner === undefined) await insertPerson(tx, person);
  await assignPerson(tx, identity.id, person.id);
  await appendAudit(tx, [
    {
      kind: 'identity.paired',
      chainKey: 'people',
      body: { personId: person.id, identityId: identity.id, channel: identity.channel, role: person.role },
    },
  ]);
  return person;
}
