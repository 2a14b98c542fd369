import type { Db, Tx } from '../kit/database.ts';
import type { CancelledTurns } from './lane.ts';
import { cancelLaneRow } from './lane-store.ts';

/**
 * Stops a lane: the running turn is asked to end (its worker is told at once and again at every boundary), a waiting
 * one ends here, and with `withQueued` everything queued too. A turn that ended here says nothing itself: the caller
 * tells its origin.
 */
export async function cancelTurns(
  db: Db | Tx,
  sessionId: string,
  options: { readonly withQueued: boolean },
): Promise<CancelledTurns> {
  return cancelLaneRow(db, sessionId, options.withQueued);
}
