import type { Db, Tx } from '../kit/database.ts';
import { markEvent } from './inbox-store.ts';

/** Ends an event's way, once: `routed` when it had an effect, `ignored` when it was not for us. */
export async function endEvent(db: Db | Tx, inboxId: string, state: 'routed' | 'ignored'): Promise<void> {
  await markEvent(db, inboxId, state);
}
