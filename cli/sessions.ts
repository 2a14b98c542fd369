import type { Command } from 'commander';
import { cancelSessionWork } from '#core/approvals/cancel-session-work.ts';
import { AppError } from '#core/kit/errors.ts';
import { describeSession, recentSessions } from '#core/sessions/list-sessions.ts';
import type { CliDeps } from './cli-deps.ts';
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
          row.updatedAt.toISOString(),
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
      if (found === undefined) throw unknownSession(id);
      if (options.json === true) return printJson(deps.terminal, found);
      const { session: row, events } = found;
      printLine(
        deps.terminal,
        `${row.agentName} in ${row.threadKey}, ${row.state}, since ${row.createdAt.toISOString()}`,
      );
      printTable(
        deps.terminal,
        ['SEQ', 'WHEN', 'KIND', 'WHAT'],
        events.map((event) => [
          String(event.seq),
          event.createdAt.toISOString(),
          event.kind,
          JSON.stringify(event.payload).slice(0, payloadCharsMax),
        ]),
      );
    });
  session
    .command('kill')
    .description('stop everything a session is doing or has waiting')
    .argument('<id>')
    .action(async (id: string) => {
      await using database = await deps.openDatabase();
      const { db } = database;
      if ((await describeSession(db, id, 0)) === undefined) throw unknownSession(id);
      // The worker is told by the database; a lane that became ready is found by the sweep within a second.
      const stopped = await db.transaction().execute(async (tx) => await cancelSessionWork(tx, id));
      const parts = [
        stopped.isRunningAsked ? 'the running turn was told to stop' : undefined,
        stopped.ended.length > 0 ? `${stopped.ended.length} waiting turns were ended` : undefined,
      ].filter((part) => part !== undefined);
      printLine(deps.terminal, parts.length === 0 ? 'nothing was running or waiting' : parts.join('; '));
    });
}

function unknownSession(id: string): AppError {
  return new AppError('command.invalid', `There is no session ${id.slice(0, 60)}.`, {
    mend: 'See ./switchyard session list.',
  });
}
