import { type Command, Option } from 'commander';
import { AppError } from '#core/kit/errors.ts';
import { listCalls, retryCalls } from '#core/webhooks/inspect-calls.ts';
import type { OutgoingRecord } from '#core/webhooks/webhook.ts';
import type { CliDeps } from './cli-deps.ts';
import { formatTime } from './format-time.ts';
import { printJson, printLine, printTable } from './terminal.ts';

const listedMax = 100;

/** Commands about calls to the outside: web hooks and e-mails. */
export function addWebhooks(program: Command, deps: CliDeps): void {
  const { terminal } = deps;
  const webhooks = program.command('webhooks').description('calls to web hooks and e-mails, and those that failed');
  webhooks
    .command('list')
    .description('show the latest calls')
    .addOption(new Option('--state <state>', 'only these').choices(['pending', 'delivered', 'dead']))
    .option('--json', 'print one JSON object')
    .action(async (options: { state?: OutgoingRecord['state']; json?: true }) => {
      await using database = await deps.openDatabase();
      const calls = await listCalls(database.db, {
        rowsMax: listedMax,
        ...(options.state === undefined ? {} : { state: options.state }),
      });
      if (options.json === true) return printJson(terminal, { calls });
      if (calls.length === 0) return printLine(terminal, 'No call was made or is to be made.');
      printTable(
        terminal,
        ['ID', 'STATE', 'TRIES', 'EVENT', 'TO', 'WHEN', 'WHY'],
        calls.map((call) => [
          call.id,
          call.state,
          String(call.attempts),
          call.event,
          call.kind === 'email' ? call.target : (call.host ?? 'not set up any more'),
          formatTime(call.closedAt ?? call.notBefore),
          call.lastError ?? '',
        ]),
      );
    });
  webhooks
    .command('retry')
    .description('try again, from now and with all tries: one call, or with --dead all that were given up')
    .argument('[id]')
    .option('--dead', 'every call that was given up')
    .action(async (id: string | undefined, options: { dead?: true }) => {
      if ((id === undefined) === (options.dead === undefined)) {
        throw new AppError('command.invalid', 'Give the id of a call, or --dead.', {
          mend: 'See ./switchyard webhooks list.',
        });
      }
      if (id !== undefined && !/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id)) throw unknownCall(id);
      await using database = await deps.openDatabase();
      const count = await retryCalls(database.db, id === undefined ? 'dead' : { id });
      if (id !== undefined && count === 0) throw unknownCall(id);
      printLine(terminal, count === 1 ? 'One call is due again.' : `${count} calls are due again.`);
    });
}

function unknownCall(id: string): AppError {
  return new AppError('request.not_found', `There is no call ${id.slice(0, 60)} that is not delivered.`, {
    mend: 'See ./switchyard webhooks list.',
  });
}
