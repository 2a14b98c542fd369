import { type Command, Option } from 'commander';
import { type CostGrouping, type CostPeriod, costReport } from '#core/budgets/cost-report.ts';
import { formatUsd } from '#core/kit/money.ts';
import type { CliDeps } from './cli-deps.ts';
import { formatDay, formatTime } from './format-time.ts';
import { printJson, printLine, printTable } from './terminal.ts';

export function addCosts(program: Command, deps: CliDeps): void {
  program
    .command('costs')
    .description('show what was spent and how far the budgets are used')
    .addOption(new Option('--by <what>', 'group by').choices(['agent', 'model', 'person']).default('agent'))
    .addOption(new Option('--period <period>', 'since when').choices(['today', 'week', 'month']).default('today'))
    .option('--agent <name>', 'only this agent')
    .option('--json', 'print one JSON object')
    .action(async (options: { by: CostGrouping; period: CostPeriod; agent?: string; json?: true }) => {
      await using database = await deps.openDatabase();
      const { by, period, agent } = options;
      const report = await costReport(database.db, {
        by,
        period,
        ...(agent === undefined ? {} : { agentName: agent }),
      });
      if (options.json === true) return printJson(deps.terminal, report);
      printTable(
        deps.terminal,
        [by.toUpperCase(), 'CALLS', 'INPUT TOKENS', 'OUTPUT TOKENS', 'COST'],
        report.rows.map((row) => [
          row.name,
          String(row.calls),
          row.inputTokens.toString(),
          row.outputTokens.toString(),
          formatUsd(row.costMicros),
        ]),
      );
      printLine(deps.terminal, `total since ${formatDay(report.from)}: ${formatUsd(report.totalMicros)}`);
      for (const budget of report.budgets) {
        const held = budget.heldMicros === 0n ? '' : `, ${formatUsd(budget.heldMicros)} reserved`;
        printLine(
          deps.terminal,
          `budget ${budget.scope} ${budget.period}: ${formatUsd(budget.spentMicros)} of ${formatUsd(budget.limitMicros)}${held}, resets ${formatTime(budget.resetsAt)}`,
        );
      }
    });
}
