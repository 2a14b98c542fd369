import type { Db, Tx } from '../kit/database.ts';
import type { StoredAudit } from './audit.ts';
import { selectBySession } from './audit-store.ts';

/** What the audit knows of a session, oldest first. */
export async function readAudit(db: Db | Tx, sessionId: string, rowsMax = 500): Promise<readonly StoredAudit[]> {
  return await selectBySession(db, sessionId, rowsMax);
}
