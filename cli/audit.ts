import type { Command } from 'commander';
import { verifyAudit } from '#core/audit/verify-audit.ts';
import type { CliDeps } from './cli-deps.ts';
import { ExitCode } from './exit-code.ts';
import { printJson, printLine } from './terminal.ts';

/** The audit chains, checked. */
export function addAudit(program: Command, deps: CliDeps): void {
  program
    .command('audit')
    .description('the record of what was decided and done')
    .command('verify')
    .description('recompute every hash; exit code 1 when something was changed or is missing')
    .option('--json', 'print one JSON object')
    .action(async (options: { json?: true }) => {
      await using database = await deps.openDatabase();
      const { records, problems } = await verifyAudit(database.db);
      if (options.json === true) printJson(deps.terminal, { records, problems });
      else if (problems.length === 0) printLine(deps.terminal, `${records} records, every hash is right.`);
      for (const { chain, seq, problem } of options.json === true ? [] : problems) {
        printLine(deps.terminal, `chain ${chain}, record ${seq}: ${describe(problem)}`);
      }
      if (problems.length > 0) throw new ExitCode(1);
    });
}

function describe(problem: 'gap' | 'hash' | 'body' | 'head'): string {
  switch (problem) {
    case 'gap':
      return 'a record before it is missing';
    case 'hash':
      return 'its hash does not follow from its content';
    case 'body':
      return 'its text was changed';
    case 'head':
      return 'the end of the chain was changed or cut off';
  }
}
