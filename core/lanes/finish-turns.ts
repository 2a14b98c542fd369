import { coalesce } from '../kit/coalesce.ts';
import type { Db, Tx } from '../kit/database.ts';
import { failpoint } from '../kit/failpoint.ts';
import type { FinishRecord, FinishVerdict } from './lane.ts';
import { finishRows } from './lane-store.ts';

/**
 * Ends turns: state, events, outbox and the lane's next state in one commit, shared by simultaneous turns. The caller
 * rings the wake of a `ready` verdict.
 */
export function turnFinisher(deps: { readonly db: Db }): (record: FinishRecord) => Promise<FinishVerdict> {
  return coalesce(
    async (records) => {
      const verdicts = await finishRows(deps.db, records);
      failpoint('finish.committed');
      return verdicts;
    },
    { batchMax: 64, concurrency: 2, key: (record) => record.lease.sessionId },
  );
}

/** The same for one turn in the caller's transaction, for what must commit with the end (an approval that is asked). */
export async function finishTurn(tx: Tx, record: FinishRecord): Promise<FinishVerdict> {
  const [verdict] = await finishRows(tx, [record]);
  return verdict ?? { state: 'fenced' };
}
