import type { Db } from '../kit/database.ts';
import type { AuditProblem } from './audit.ts';
import { countRecords, selectProblems } from './audit-store.ts';

const problemsMax = 100;

/** Recomputes every hash of every chain. @returns how many records there are and the first 100 problems. */
export async function verifyAudit(
  db: Db,
): Promise<{ readonly records: number; readonly problems: readonly AuditProblem[] }> {
  return { records: await countRecords(db), problems: await selectProblems(db, problemsMax) };
}
