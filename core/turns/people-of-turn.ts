import type { Db, Tx } from '../kit/database.ts';
import { selectPeopleOfTurn } from './turn-store.ts';

/**
 * The people whose words a turn works on: whose message began it and whose messages were collected or steered into it.
 * `undefined` stands for a message of nobody we know.
 */
export async function peopleOfTurn(db: Db | Tx, turnId: string): Promise<readonly (string | undefined)[]> {
  return await selectPeopleOfTurn(db, turnId);
}
