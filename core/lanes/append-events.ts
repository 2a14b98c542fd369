import type { Db, Tx } from '../kit/database.ts';
import type { NewEvent } from './lane.ts';
import { appendEventRows } from './lane-store.ts';

/** Appends facts to a session that no running turn causes: a command, a changed setting, a verdict. */
export async function appendEvents(db: Db | Tx, sessionId: string, events: readonly NewEvent[]): Promise<void> {
  await appendEventRows(db, sessionId, events);
}
