import { type Command, Option } from 'commander';
import { createPairingCode } from '#core/people/create-pairing-code.ts';
import type { PersonRole } from '#core/people/person.ts';
import type { CliDeps } from './cli-deps.ts';
import { operatorId } from './operator.ts';
import { printJson, printLine } from './terminal.ts';

/** Long enough to walk over to somebody, short enough to be no standing invitation. */
const codeMs = 60 * 60_000;

export function addPeople(program: Command, deps: CliDeps): void {
  program
    .command('pair')
    .description('make a one-time code that lets somebody use the bot')
    .addOption(new Option('--role <role>', 'what they will be').choices(['owner', 'admin', 'member']).default('member'))
    .option('--json', 'print one JSON object')
    .action(async (options: { role: PersonRole; json?: true }) => {
      await using database = await deps.openDatabase();
      const createdBy = await operatorId(database.db);
      const code = await createPairingCode({ db: database.db }, { role: options.role, createdBy, validMs: codeMs });
      if (options.json === true) return printJson(deps.terminal, { code, role: options.role, validMs: codeMs });
      printLine(deps.terminal, `Code for one ${options.role}: ${code}`);
      printLine(deps.terminal, `They send the bot: /start ${code}    It works once, within an hour.`);
    });
}
