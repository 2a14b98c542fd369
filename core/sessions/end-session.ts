import type { Db, Tx } from '../kit/database.ts';
import type { Session } from './session.ts';
import { endSessions, findActiveSessions } from './session-store.ts';

/** The active sessions of a thread, newest first. */
export async function activeSessions(db: Db | Tx, threadKey: string): Promise<readonly Session[]> {
  return await findActiveSessions(db, threadKey);
}

/** Ends every active session of a thread; the next message starts anew. */
export async function endThreadSessions(tx: Tx, threadKey: string): Promise<void> {
  await endSessions(tx, threadKey);
}
