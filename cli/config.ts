import type { Command } from 'commander';
import { limitNames, limitRow, limitVariable } from '#core/kit/limits.ts';
import type { CliDeps } from './cli-deps.ts';
import { printJson, printLine, printTable } from './terminal.ts';

export function addConfig(program: Command, deps: CliDeps): void {
  const config = program.command('config').description('show the settings and the limits');
  config
    .command('check')
    .description('check all settings; secrets are never shown')
    .option('--json', 'print one JSON object')
    .action(async (options: { json?: true }) => {
      const view = deps.readSettings();
      const hooks = await deps.listHooks();
      if (options.json === true) return printJson(deps.terminal, { ...view, hooks });
      const rows = view.settings.map(({ name, value, source, what }) => [name, value ?? '-', source, what]);
      printTable(deps.terminal, ['SETTING', 'VALUE', 'FROM', 'WHAT'], rows);
      printLine(deps.terminal);
      printLine(deps.terminal, `model     ${view.model}`);
      printLine(deps.terminal, `database  ${view.database}`);
      printLine(deps.terminal, `queue     ${view.queue}`);
      printLine(deps.terminal, `data      ${view.dataDir}`);
      printLine(deps.terminal, `agents    ${view.agentsDir}`);
      printLine(deps.terminal);
      const lines = hooks.map(({ name, priority, source }) => [name, String(priority), source]);
      printTable(deps.terminal, ['HOOK', 'PRIORITY', 'FROM'], lines);
      printClamps(deps, view.limitClamps);
    });
  config
    .command('limits')
    .description('show every limit with its bounds')
    .option('--json', 'print one JSON object')
    .action((options: { json?: true }) => {
      const { limits, limitClamps } = deps.readSettings();
      const rows = limitNames().map((name) => ({
        name,
        value: limits[name],
        ...limitRow(name),
        variable: limitVariable(name),
      }));
      if (options.json === true) return printJson(deps.terminal, { limits: rows });
      printTable(
        deps.terminal,
        ['VARIABLE', 'VALUE', 'DEFAULT', 'LOW', 'HIGH', 'UNIT', 'WHAT'],
        rows.map((row) => [
          row.variable,
          ...[row.value, row.default, row.low, row.high].map(String),
          row.unit,
          row.what,
        ]),
      );
      printClamps(deps, limitClamps);
    });
}

function printClamps(deps: CliDeps, clamps: ReturnType<CliDeps['readSettings']>['limitClamps']): void {
  for (const { name, asked, used } of clamps) {
    printLine(deps.terminal, `${limitVariable(name)} asks for ${asked}, which is out of bounds; ${used} is used.`);
  }
}
