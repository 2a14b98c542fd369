import type { Db } from '../kit/database.ts';
import type { Session, SessionEvent, SessionSummary } from './session.ts';
import { findSession, listSessions, readEvents } from './session-store.ts';

/** The sessions with the latest activity first, at most `rowsMax`. */
export async function recentSessions(db: Db, rowsMax: number): Promise<readonly SessionSummary[]> {
  return await listSessions(db, rowsMax);
}

/** A session with its last `eventsMax` events; undefined when there is none of that id. */
export async function describeSession(
  db: Db,
  id: string,
  eventsMax: number,
): Promise<{ readonly session: Session; readonly events: readonly SessionEvent[] } | undefined> {
  if (!/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id)) return undefined;
  const session = await findSession(db, id);
  return session === undefined ? undefined : { session, events: await readEvents(db, id, eventsMax) };
}
