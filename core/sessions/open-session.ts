import type { Db, Tx } from '../kit/database.ts';
import type { Origin } from './origin.ts';
import type { Session } from './session.ts';
import { ensureSession } from './session-store.ts';

/** The active session of a thread with an agent, created when there is none. */
export async function openSession(
  db: Db | Tx,
  options: { readonly threadKey: string; readonly agentName: string; readonly origin: Origin },
): Promise<Session> {
  return await ensureSession(db, options);
}
