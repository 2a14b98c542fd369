import { coalesce } from '../kit/coalesce.ts';
import type { Db, Tx } from '../kit/database.ts';
import { failpoint } from '../kit/failpoint.ts';
import type { AcceptedTurn, LaneWake, NewTurn } from './lane.ts';
import { acceptRows } from './lane-store.ts';

/** What rings the bell for lanes that became ready. Losing, doubling or reordering wakes is harmless. */
export interface WakeRinger {
  /** Never rejects: a wake that could not be rung is owed and rung by the sweep. */
  ring(wakes: readonly LaneWake[]): Promise<void>;
}

/** Turns that wait together for one commit; more only make the commit later. */
const batchMax = 200;

/**
 * Puts turns on their lanes, durably and once per event key. Calls made at the same time share a commit; the order of
 * calls is the order on the lane. Resolves when committed: from then on the turn runs, whatever dies.
 */
export function turnAcceptor(deps: {
  readonly db: Db;
  readonly wakes: WakeRinger;
}): (turn: NewTurn) => Promise<AcceptedTurn> {
  return coalesce(
    async (turns) => {
      const accepted = await acceptRows(deps.db, turns);
      failpoint('accept.committed');
      const wakes = toWakes(accepted);
      // Not awaited: the turn is safe already, and a queue that hangs must not hold up its acknowledgement.
      if (wakes.length > 0) void deps.wakes.ring(wakes).then(() => failpoint('wake.added'));
      return accepted;
    },
    { batchMax },
  );
}

/**
 * The same in the caller's transaction, which must be short because it holds the lanes' locks. After the commit the
 * caller rings every `wake`.
 */
export async function acceptTurns(tx: Tx, turns: readonly NewTurn[]): Promise<AcceptedTurn[]> {
  return turns.length === 0 ? [] : acceptRows(tx, turns);
}

function toWakes(accepted: readonly Pick<AcceptedTurn, 'wake'>[]): LaneWake[] {
  return accepted.flatMap(({ wake }) => (wake === undefined ? [] : [wake]));
}
