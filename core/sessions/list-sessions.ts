import type { Db } from '../kit/database.ts';
import { requireSession } from './require-session.ts';
import type { Session, SessionEvent, SessionSummary } from './session.ts';
import { listSessions, readEvents } from './session-store.ts';

/** The sessions with the latest activity first, at most `rowsMax`. */
export async function recentSessions(db: Db, rowsMax: number): Promise<readonly SessionSummary[]> {
  return await listSessions(db, rowsMax);
}

/**
 * A session, by its id or the unique beginning of it, with its last `eventsMax` events.
 * @throws AppError `command.invalid` when there is none, or more than one.
 */
export async function describeSession(
  db: Db,
  id: string,
  eventsMax: number,
): Promise<{ readonly session: Session; readonly events: readonly SessionEvent[] }> {
  const session = await requireSession(db, id);
  return { session, events: await readEvents(db, session.id, eventsMax) };
}
