import type { Clock } from '../kit/clock.ts';
import type { Db } from '../kit/database.ts';
import type { SessionEvent } from './session.ts';
import { isSessionOver, readEventsAfter } from './session-store.ts';

/** How late a new event is seen: short enough to read along, two small queries each time. */
const pollMs = 300;
/** Events read at once; a long session is handed out page by page. */
const pageRows = 200;

/**
 * Every event of a session in order, from its first, and then each new one. Ends when the signal aborts, or when the
 * session has ended and no turn of it is left that could write another.
 */
export async function* followSession(
  deps: { readonly db: Db; readonly clock: Clock },
  sessionId: string,
  signal: AbortSignal,
): AsyncGenerator<SessionEvent, void, undefined> {
  let seq = 0;
  while (!signal.aborted) {
    // Asked before the events are read: what was written up to the end is then among them.
    const isOver = await isSessionOver(deps.db, sessionId);
    const events = await readEventsAfter(deps.db, { sessionId, seq, rowsMax: pageRows });
    for (const event of events) {
      if (signal.aborted) return;
      seq = event.seq;
      yield event;
    }
    if (events.length === pageRows) continue;
    if (isOver) return;
    await deps.clock.sleep(pollMs, signal).catch((err: unknown) => {
      if (!signal.aborted) throw err;
    });
  }
}
