import type { Db, Tx } from '../kit/database.ts';
import { closeCards } from './close-cards.ts';
import { cancelPendingQuestions, selectTurnsWithOpenQuestions } from './question-store.ts';

const turnsMax = 100;

/** Ends what is still asked for a turn or a whole session, because the work that asked is over. */
export async function cancelQuestions(
  tx: Tx,
  filter: { readonly turnId: string } | { readonly sessionId: string },
): Promise<void> {
  for (const question of await cancelPendingQuestions(tx, filter)) await closeCards(tx, question);
}

/** Closes questions whose turn is over, so that nobody is asked about work that will not be done. */
export async function cancelOpenQuestions(deps: { readonly db: Db }): Promise<void> {
  for (const turnId of await selectTurnsWithOpenQuestions(deps.db, turnsMax)) {
    await deps.db.transaction().execute(async (tx) => await cancelQuestions(tx, { turnId }));
  }
}
