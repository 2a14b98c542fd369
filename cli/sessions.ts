import type { Command } from 'commander';
import { cancelSessionWork } from '#core/approvals/cancel-session-work.ts';
import { systemClock } from '#core/kit/clock.ts';
import { describeSession, recentSessions } from '#core/sessions/list-sessions.ts';
import { requireSession } from '#core/sessions/require-session.ts';
import { attachSession } from './attach-session.ts';
import { cleanLine } from './chat/clean-text.ts';
import type { CliDeps } from './cli-deps.ts';
import { formatTime } from './format-time.ts';
import { printJson, printLine, printTable } from './terminal.ts';

const rowsMax = 50;
const eventsMax = 30;
/** A terminal line is enough to recognise an event; `--json` has the rest. */
const payloadCharsMax = 160;

/** Commands about conversations and the work on them. */
export function addSessions(program: Command, deps: CliDeps): void {
  const session = program.command('session').description('the conversations and the work on them');
  session
    .command('list')
    .description(`show the ${rowsMax} sessions used last`)
    .option('--json', 'print one JSON object')
    .action(async (options: { json?: true }) => {
      await using database = await deps.openDatabase();
      const sessions = await recentSessions(database.db, rowsMax);
      if (options.json === true) return printJson(deps.terminal, { sessions });
      printTable(
        deps.terminal,
        ['ID', 'AGENT', 'LANE', 'QUEUED', 'LAST USED', 'THREAD'],
        sessions.map((row) => [
          row.id,
          row.agentName,
          row.state === 'ended' ? 'ended' : row.laneState,
          String(row.queuedTurns),
          formatTime(row.updatedAt),
          row.threadKey,
        ]),
      );
    });
  session
    .command('show')
    .description(`show a session with its last ${eventsMax} events`)
    .argument('<id>')
    .option('--json', 'print one JSON object')
    .action(async (id: string, options: { json?: true }) => {
      await using database = await deps.openDatabase();
      const found = await describeSession(database.db, id, eventsMax);
      if (options.json === true) return printJson(deps.terminal, found);
      const { session: row, events } = found;
      printLine(
        deps.terminal,
        `${row.agentName} in ${cleanLine(row.threadKey)}, ${row.state}, since ${formatTime(row.createdAt)}`,
      );
      printTable(
        deps.terminal,
        ['SEQ', 'WHEN', 'KIND', 'WHAT'],
        events.map((event) => [
          String(event.seq),
          formatTime(event.createdAt),
          event.kind,
          JSON.stringify(event.payload).slice(0, payloadCharsMax),
        ]),
      );
    });
  session
    .command('attach')
    .description('print what happened in a session and follow it until Ctrl-C')
    .argument('<id>')
    .option('--json', 'print each event as a JSON line')
    .action(async (id: string, options: { json?: true }) => {
      await using database = await deps.openDatabase();
      const { terminal, signal } = deps;
      await attachSession({ db: database.db, clock: systemClock, terminal, signal }, id, options.json === true);
    });
  session
    .command('kill')
    .description('stop everything a session is doing or has waiting')
    .argument('<id>')
    .action(async (id: string) => {
      await using database = await deps.openDatabase();
      const { db } = database;
      const { id: sessionId } = await requireSession(db, id);
      // The worker is told by the database; a lane that became ready is found by the sweep within a second.
      const stopped = await db.transaction().execute(async (tx) => await cancelSessionWork(tx, sessionId));
      const parts = [
        stopped.isRunningAsked ? 'the running turn was told to stop' : undefined,
        stopped.ended.length > 0 ? `${stopped.ended.length} waiting turns were ended` : undefined,
      ].filter((part) => part !== undefined);
      printLine(deps.terminal, parts.length === 0 ? 'nothing was running or waiting' : parts.join('; '));
    });
}
