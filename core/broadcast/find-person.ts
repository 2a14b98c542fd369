import type { Db, Tx } from '../kit/database.ts';
import { AppError } from '../kit/errors.ts';
import type { Conversation } from '../sessions/origin.ts';
import { type FoundPerson, selectExternalId, selectPeopleNamed } from './target-store.ts';

/**
 * The person a name or id means.
 * @throws AppError `person.unknown` when it is nobody, or more than one.
 */
export async function findPerson(db: Db | Tx, who: string): Promise<FoundPerson> {
  const name = who
    .trim()
    .replace(/^@/, '')
    .replace(/^person:/, '');
  const [only, ...others] = await selectPeopleNamed(db, name);
  if (only !== undefined && others.length === 0) return only;
  throw new AppError(
    'person.unknown',
    only === undefined ? `I know nobody called "${name.slice(0, 80)}".` : `"${name.slice(0, 80)}" is several people.`,
    { mend: 'Use the id that /people shows, as person:<id>.' },
  );
}

/** The platform's id of a person on an account of ours, for mentions; undefined when they are not there. */
export async function findExternalId(
  db: Db | Tx,
  personId: string,
  place: Pick<Conversation, 'channel' | 'account'>,
): Promise<string | undefined> {
  return await selectExternalId(db, personId, place);
}
