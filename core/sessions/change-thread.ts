import type { Db, Tx } from '../kit/database.ts';
import type { QueueMode } from './session.ts';
import { setQueueMode, setThreadAgent } from './session-store.ts';

/** Chooses the agent that works in a thread from the next message on. */
export async function chooseAgent(db: Db | Tx, threadKey: string, agentName: string): Promise<void> {
  await setThreadAgent(db, threadKey, agentName);
}

/** Chooses what a message does while a turn of the thread runs. */
export async function chooseQueueMode(db: Db | Tx, threadKey: string, mode: QueueMode): Promise<void> {
  await setQueueMode(db, threadKey, mode);
}
