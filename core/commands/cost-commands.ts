import { type CostPeriod, costReport } from '../budgets/cost-report.ts';
import { AppError } from '../kit/errors.ts';
import { formatUsd } from '../kit/money.ts';
import { isAdministrator } from '../people/person.ts';
import type { Command } from './command.ts';
import type { CommandDeps } from './command-deps.ts';

const periods: readonly CostPeriod[] = ['today', 'week', 'month'];

/** What the work has cost. */
export function costCommands(deps: CommandDeps): Record<string, Command> {
  return {
    costs: async (_tx, known, args) => {
      if (!isAdministrator(known.person.role)) {
        throw new AppError('grant.missing', 'Only an owner or admin can see the costs.', { mend: 'Ask one of them.' });
      }
      const wanted = args === '' ? 'today' : args.toLowerCase();
      const period = periods.find((item) => item === wanted);
      if (period === undefined) {
        throw new AppError('command.invalid', `There is no period "${wanted.slice(0, 40)}".`, {
          mend: `Use one of ${periods.join(', ')}.`,
        });
      }
      const report = await costReport(deps.db, { period, by: 'agent' });
      const since = report.from.toISOString().slice(0, 10);
      if (report.rows.length === 0) return { markdown: `Nothing was spent since ${since}.`, level: 'info' };
      const rows = report.rows.map((row) => `| ${row.name} | ${row.calls} | ${formatUsd(row.costMicros)} |`);
      return {
        markdown: [
          `Since ${since} (UTC): **${formatUsd(report.totalMicros)}**`,
          '',
          '| Agent | Calls | Cost |',
          '| --- | --- | --- |',
          ...rows,
        ].join('\n'),
      };
    },
  };
}
