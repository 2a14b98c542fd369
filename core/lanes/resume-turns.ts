import type { Db, Tx } from '../kit/database.ts';
import type { LaneWake } from './lane.ts';
import { resumeRows } from './lane-store.ts';

/**
 * Goes on with waiting turns because what they waited for has come. Safe to call twice, and before the turn has
 * parked: it then does not park. The turn starts again from its events and looks at what was decided.
 * @returns the wakes owed; the caller rings them after its commit.
 */
export async function resumeTurns(db: Db | Tx, turnIds: readonly string[]): Promise<LaneWake[]> {
  return turnIds.length === 0 ? [] : resumeRows(db, turnIds);
}
