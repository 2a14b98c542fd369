import type { Db } from '../kit/database.ts';
import { selectEvents } from './place-store.ts';
import type { SandboxEventRecord } from './sandbox-place.ts';

/** What happened to a session's sandboxes, oldest first; the newest `rowsMax` facts. */
export async function readSandboxEvents(
  db: Db,
  sessionId: string,
  rowsMax: number,
): Promise<readonly SandboxEventRecord[]> {
  return await selectEvents(db, sessionId, rowsMax);
}
