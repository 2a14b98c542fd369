import path from 'node:path';
import type { Command } from 'commander';
import type { CliDeps } from './cli-deps.ts';
import { ExitCode } from './exit-code.ts';
import { runScript } from './run-script.ts';
import { printJson, printLine } from './terminal.ts';

/** Commands about the images sandboxes are made from, below `sandbox`. */
export function addSandboxImages(sandbox: Command, deps: CliDeps): void {
  const { terminal } = deps;
  const build = async (args: readonly string[]) => {
    await runScript(path.join(deps.installDir, 'sandbox-image/build'), args, deps.installDir);
  };

  sandbox
    .command('build')
    .description('build the sandbox image; does nothing when it is up to date')
    .option('--browser', 'the image of browsers instead')
    .option('--all', 'both')
    .action(async (options: { browser?: true; all?: true }) => {
      await build([...(options.browser === true ? ['--browser'] : []), ...(options.all === true ? ['--all'] : [])]);
    });
  sandbox
    .command('verify')
    .description('build the image once more without a cache and compare the two, file by file')
    .option('--browser', 'the image of browsers instead')
    .action(async (options: { browser?: true }) => {
      await build(['--verify', ...(options.browser === true ? ['--browser'] : [])]);
    });
  sandbox
    .command('sbom')
    .description('print what an image is made of (CycloneDX, JSON)')
    .argument('[image]', 'an image of your own')
    .option('--browser', 'the image of browsers')
    .action(async (image: string | undefined, options: { browser?: true }) => {
      const bill = await deps.readBill(image ?? (options.browser === true ? 'browser' : 'core'));
      terminal.stdout.write(bill.endsWith('\n') ? bill : `${bill}\n`);
    });
  sandbox
    .command('check-image')
    .description('whether an image of your own can be a sandbox')
    .argument('<image>')
    .option('--json', 'print one JSON object')
    .action(async (image: string, options: { json?: true }) => {
      const found = await deps.checkImage(image);
      const isFit = found.problems.length === 0;
      if (options.json === true) printJson(terminal, { image, fit: isFit, ...found });
      else {
        const size = `${Math.round(found.bytes / 1e6)} MB, ${found.id.slice(0, 19)}`;
        printLine(terminal, `${image} (${size}) ${isFit ? 'can be a sandbox.' : 'cannot be a sandbox:'}`);
        for (const problem of found.problems) printLine(terminal, `  problem  ${problem}`);
        for (const warning of found.warnings) printLine(terminal, `  warning  ${warning}`);
        if (isFit) printLine(terminal, `Use it with sandbox: { image: ${image} } in a profile.`);
      }
      if (!isFit) throw new ExitCode(1);
    });
}
