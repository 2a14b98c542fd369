import type { Db, Tx } from '../kit/database.ts';
import type { QueueMode } from './session.ts';
import { setOwnAgent, setQueueMode, setThreadAgent } from './session-store.ts';

/**
 * Chooses the agent that works in a thread from the next message on: for everybody there, or for one person, whose
 * choice leaves the others theirs.
 */
export async function chooseAgent(tx: Tx, threadKey: string, agentName: string, personId?: string): Promise<void> {
  if (personId === undefined) await setThreadAgent(tx, threadKey, agentName);
  else await setOwnAgent(tx, { threadKey, personId, agentName });
}

/** Chooses what a message does while a turn of the thread runs. */
export async function chooseQueueMode(db: Db | Tx, threadKey: string, mode: QueueMode): Promise<void> {
  await setQueueMode(db, threadKey, mode);
}
