import type { Clock } from '#core/kit/clock.ts';
import type { Db } from '#core/kit/database.ts';
import { followSession } from '#core/sessions/follow-session.ts';
import { requireSession } from '#core/sessions/require-session.ts';
import type { SessionEvent } from '#core/sessions/session.ts';
import { cleanLine } from './chat/clean-text.ts';
import { describeEvent } from './describe-event.ts';
import { formatTime } from './format-time.ts';
import { paint, printJson, printLine, type Terminal } from './terminal.ts';

interface AttachDeps {
  readonly db: Db;
  readonly clock: Clock;
  readonly terminal: Terminal;
  readonly signal: AbortSignal;
}

/**
 * Prints a session from its beginning and goes on with what happens, until the signal aborts or the session is over.
 * With `isJson` each event is one line and nothing else is printed.
 * @throws AppError `command.invalid` when the id, or its beginning, does not name one session.
 */
export async function attachSession(deps: AttachDeps, id: string, isJson: boolean): Promise<void> {
  const { terminal, signal } = deps;
  const session = await requireSession(deps.db, id);
  if (!isJson) {
    const where = `${session.agentName} in ${cleanLine(session.threadKey)}, since ${formatTime(session.createdAt)}`;
    printLine(terminal, paint(terminal, 'bold', where));
  }
  for await (const event of followSession(deps, session.id, signal)) {
    if (isJson) printJson(terminal, event);
    else printEvent(terminal, event, session.agentName);
  }
  if (isJson) return;
  printLine(terminal, signal.aborted ? 'Left; the session goes on without you.' : 'The session has ended.');
}

function printEvent(terminal: Terminal, event: SessionEvent, agentName: string): void {
  for (const { who, text } of describeEvent(event, agentName)) {
    const when = paint(terminal, 'dim', formatTime(event.createdAt));
    printLine(terminal, `${when}  ${paint(terminal, 'bold', who)}: ${text.replaceAll('\n', '\n    ')}`);
  }
}
