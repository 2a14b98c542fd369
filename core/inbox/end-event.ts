import type { Db, Tx } from '../kit/database.ts';
import { markEvent } from './inbox-store.ts';

/**
 * Ends an event's way, once: `routed` when it had an effect, `ignored` when it was not for us.
 * @returns false when it had ended before: its effect is there already and must not be repeated.
 */
export async function endEvent(db: Db | Tx, inboxId: string, state: 'routed' | 'ignored'): Promise<boolean> {
  return await markEvent(db, inboxId, state);
}
