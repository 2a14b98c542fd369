import type { Command } from 'commander';
import type { CliDeps } from '../cli-deps.ts';
import { checkSetup, runSetup } from './run-setup.ts';

export function addSetup(program: Command, deps: CliDeps): void {
  program
    .command('setup')
    .description('ask for a model key and chat tokens, check each, and write them to .env')
    .option('--again', 'ask also for what you said never to')
    .option('--no-input', 'ask nothing: only check what is set')
    .option('-y, --yes', 'the same as --no-input, for scripts')
    .action(async (options: { again?: true; input: boolean; yes?: true }) => {
      if (!options.input || options.yes === true) await checkSetup(deps);
      else await runSetup(deps, { again: options.again === true });
    });
}
