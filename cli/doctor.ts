import type { Command } from 'commander';
import type { CliDeps } from './cli-deps.ts';
import { ExitCode } from './exit-code.ts';
import type { Finding } from './finding.ts';
import { paint, printJson, printLine } from './terminal.ts';

const marks = { ok: ['✓', 'green'], warn: ['!', 'yellow'], broken: ['✗', 'red'] } as const;

export function addDoctor(program: Command, deps: CliDeps): void {
  program
    .command('doctor')
    .description('check everything the product needs, with one mend per finding')
    .option('--json', 'print one JSON object')
    .action(async (options: { json?: true }) => {
      const findings = await deps.diagnose();
      const isBroken = findings.some((finding) => finding.status === 'broken');
      if (options.json === true) printJson(deps.terminal, { ok: !isBroken, findings });
      else for (const finding of findings) printFinding(deps, finding);
      if (isBroken) throw new ExitCode(1);
    });
}

function printFinding({ terminal }: CliDeps, finding: Finding): void {
  const [mark, colour] = marks[finding.status];
  printLine(terminal, `${paint(terminal, colour, mark)} ${finding.name.padEnd(9)} ${finding.detail}`);
  if (finding.mend !== undefined) printLine(terminal, `  ${''.padEnd(9)} ${paint(terminal, 'dim', finding.mend)}`);
}
