import type { Db } from '../kit/database.ts';
import { cancelApprovals } from './cancel-approvals.ts';
import { selectTurnsWithOrphans } from './orphan-store.ts';
import { refreshCards } from './show-approval.ts';

const turnsMax = 100;

/** Closes questions whose turn is over, so that nobody is asked about work that will not be done. */
export async function cancelOrphans(deps: { readonly db: Db }): Promise<void> {
  for (const turnId of await selectTurnsWithOrphans(deps.db, turnsMax)) {
    await deps.db.transaction().execute(async (tx) => {
      await cancelApprovals(tx, { turnId }, 'the work was ended by something else', async (cancelled) => {
        await refreshCards(tx, cancelled);
      });
    });
  }
}
