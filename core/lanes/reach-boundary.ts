import { coalesce } from '../kit/coalesce.ts';
import type { Db } from '../kit/database.ts';
import { failpoint } from '../kit/failpoint.ts';
import type { BoundaryRecord, BoundaryVerdict } from './lane.ts';
import { boundaryRows } from './lane-store.ts';

/**
 * Records what a turn did up to here and asks whether and how it goes on: one round trip per model or tool boundary,
 * shared by simultaneous turns. Events are written in their order; steered messages are handed over exactly once per
 * try and again by the claim of a later try.
 */
export function boundaryReacher(deps: { readonly db: Db }): (record: BoundaryRecord) => Promise<BoundaryVerdict> {
  return coalesce(
    async (records) => {
      const verdicts = await boundaryRows(deps.db, records);
      failpoint('handler.mid');
      return verdicts;
    },
    { batchMax: 64, concurrency: 2, key: (record) => record.lease.sessionId },
  );
}
