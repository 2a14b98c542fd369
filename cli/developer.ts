import { readdirSync } from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import { AppError } from '#core/kit/errors.ts';
import { didYouMean } from '#core/kit/nearest-word.ts';
import type { CliDeps } from './cli-deps.ts';
import { runScript } from './run-script.ts';

/** Commands that run programs of the checkout: tests, measurements. */
export function addDeveloper(program: Command, deps: CliDeps): void {
  program
    .command('test')
    .description('install what the tests need and run them (files and options of vitest may follow)')
    .allowUnknownOption()
    .argument('[arguments...]')
    .action(async (args: string[]) => {
      // Reached only when Node runs this program itself: the launcher keeps `test` to itself.
      await runScript(path.join(deps.installDir, 'switchyard'), ['test', ...args], deps.installDir);
    });

  program
    .command('bench')
    .description('measure; without a name, list what can be measured')
    .allowUnknownOption()
    .argument('[name]')
    .argument('[arguments...]')
    .action(async (name: string | undefined, args: string[]) => {
      const names = benchNames(path.join(deps.installDir, 'bench'));
      if (name === undefined) {
        deps.terminal.stdout.write(`${names.join('\n')}\n`);
        return;
      }
      if (!names.includes(name)) {
        throw new AppError('command.invalid', `There is no bench "${name}"${didYouMean(name, names) || '.'}`, {
          mend: `There are: ${names.join(', ') || 'none'}.`,
        });
      }
      const file = path.join(deps.installDir, 'bench', `${name}.ts`);
      await runScript(process.execPath, [file, ...args], deps.installDir);
    });
}

function benchNames(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((file) => /^[a-z-]+\.ts$/.test(file))
      .map((file) => file.replace(/\.ts$/, ''))
      .sort();
  } catch {
    return [];
  }
}
