import { appendAudit } from '../audit/append-audit.ts';
import type { Db } from '../kit/database.ts';
import type { EgressRecord } from './egress-record.ts';
import { addUse, deleteOldUse, type EgressUse, selectUse } from './usage-store.ts';

/** Writes requests to the audit and adds them to what their sessions used today, together or not at all. */
export async function recordEgress(deps: { readonly db: Db }, records: readonly EgressRecord[]): Promise<void> {
  const uses = new Map<string, EgressUse>();
  for (const { sessionId, sentBytes, receivedBytes } of records) {
    const known = uses.get(sessionId) ?? { sessionId, bytes: 0, requests: 0 };
    uses.set(sessionId, {
      sessionId,
      bytes: known.bytes + sentBytes + receivedBytes,
      requests: known.requests + 1,
    });
  }
  await deps.db.transaction().execute(async (tx) => {
    await addUse(tx, [...uses.values()]);
    await appendAudit(
      tx,
      records.map(({ sessionId, ...body }) => ({ kind: 'egress.request', chainKey: sessionId, sessionId, body })),
    );
  });
}

/** Bytes a session sent and received since midnight UTC. */
export async function egressBytesToday(deps: { readonly db: Db }, sessionId: string): Promise<number> {
  return (await selectUse(deps.db, sessionId)).bytes;
}

/** Forgets the use of days long gone. */
export async function forgetEgressUse(deps: { readonly db: Db }): Promise<void> {
  await deleteOldUse(deps.db);
}
