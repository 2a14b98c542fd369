import type { Command } from 'commander';
import { AppError } from '#core/kit/errors.ts';
import { dropMessage, listUndelivered, resendMessage } from '#core/outbox/undelivered.ts';
import type { CliDeps } from './cli-deps.ts';
import { formatTime } from './format-time.ts';
import { printJson, printLine, printTable } from './terminal.ts';

/** Commands about messages that did not arrive. */
export function addOutbox(program: Command, deps: CliDeps): void {
  const outbox = program.command('outbox').description('messages that did not arrive, and what to do about them');
  outbox
    .command('list')
    .description('show what was given up, may be lost, or fails again and again')
    .option('--json', 'print one JSON object')
    .action(async (options: { json?: true }) => {
      await using database = await deps.openDatabase();
      const messages = await listUndelivered(database.db);
      if (options.json === true) return printJson(deps.terminal, { messages });
      if (messages.length === 0) return printLine(deps.terminal, 'Everything that was said has arrived.');
      printTable(
        deps.terminal,
        ['ID', 'STATE', 'WRITTEN', 'THREAD', 'WHY', 'WHAT'],
        messages.map((message) => [
          message.id,
          message.state,
          formatTime(message.createdAt),
          message.threadKey,
          message.reason,
          message.text.replaceAll(/\s+/g, ' ').slice(0, 80),
        ]),
      );
    });
  outbox
    .command('resend')
    .description('send it again, although it may have arrived')
    .argument('<id>')
    .action(async (id: string) => {
      await using database = await deps.openDatabase();
      if (!(await resendMessage(database.db, id))) throw noSuchMessage(id);
      printLine(deps.terminal, 'It is sent again as soon as a worker runs.');
    });
  outbox
    .command('drop')
    .description('give it up for good and show it no more')
    .argument('<id>')
    .action(async (id: string) => {
      await using database = await deps.openDatabase();
      if (!(await dropMessage(database.db, id))) throw noSuchMessage(id);
      printLine(deps.terminal, 'Dropped.');
    });
}

function noSuchMessage(id: string): AppError {
  return new AppError('command.invalid', `There is no undelivered message ${id.slice(0, 60)}.`, {
    mend: 'See ./switchyard outbox list.',
  });
}
