import { coalesce } from '../kit/coalesce.ts';
import type { Db } from '../kit/database.ts';
import { failpoint } from '../kit/failpoint.ts';
import type { Claim } from './lane.ts';
import { claimRows } from './lane-store.ts';

/**
 * Takes lanes for an owner, by session id: the answer to a wake. Simultaneous calls share a statement.
 * @param deps.ownerId the id of a registered worker.
 */
export function laneClaimer(deps: {
  readonly db: Db;
  readonly ownerId: string;
}): (sessionId: string) => Promise<Claim> {
  return coalesce(
    async (sessions) => {
      const claims = await claimRows(deps.db, sessions, deps.ownerId);
      failpoint('claim.committed');
      return claims;
    },
    { batchMax: 64, concurrency: 2, key: (sessionId) => sessionId },
  );
}
