import { appendAudit } from '../audit/append-audit.ts';
import type { Db } from '../kit/database.ts';
import type { LaneWake } from '../lanes/lane.ts';
import { resumeTurns } from '../lanes/resume-turns.ts';
import { closeCards } from './close-cards.ts';
import { expireOne } from './question-store.ts';

/**
 * Ends every question whose time is over, each in a transaction of its own; its turn goes on and is told that nobody
 * answered. Several processes may run it at once.
 * @returns the wakes to ring.
 */
export async function expireQuestions(deps: { readonly db: Db }, signal: AbortSignal): Promise<readonly LaneWake[]> {
  const wakes: LaneWake[] = [];
  while (!signal.aborted) {
    const owed = await deps.db.transaction().execute(async (tx) => {
      const question = await expireOne(tx);
      if (question === undefined) return undefined;
      const resumed = await resumeTurns(tx, [question.turnId]);
      await closeCards(tx, question);
      await appendAudit(tx, [
        {
          kind: 'question.expired',
          chainKey: question.sessionId,
          sessionId: question.sessionId,
          body: { questionId: question.id, turnId: question.turnId },
        },
      ]);
      return resumed;
    });
    if (owed === undefined) break;
    wakes.push(...owed);
  }
  return wakes;
}
