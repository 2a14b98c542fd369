import type { Db, Tx } from '../kit/database.ts';
import { canonicalJson } from '../kit/json.ts';
import { storableJson } from '../kit/storable-json.ts';
import type { AuditRecord } from './audit.ts';
import { appendBodies } from './audit-store.ts';

/**
 * Appends records to their hash chains in the caller's transaction. It must be the last thing the transaction does:
 * the head of a chain stays locked until the commit, and whoever then waited for another lock could deadlock.
 */
export async function appendAudit(tx: Db | Tx, records: readonly AuditRecord[]): Promise<void> {
  if (records.length === 0) return;
  await appendBodies(
    tx,
    records.map(({ kind, chainKey, sessionId, body }) => ({
      chainKey,
      body: canonicalJson(storableJson({ ...body, kind, sessionId })),
    })),
  );
}
