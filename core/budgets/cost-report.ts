import type { Db } from '../kit/database.ts';
import type { Micros } from '../kit/money.ts';
import { agentScope } from './budget.ts';
import { type BudgetStatus, type CostRow, selectStatus, sumCosts } from './budget-store.ts';

export type CostPeriod = 'today' | 'week' | 'month';
export type CostGrouping = 'agent' | 'model' | 'person';

export interface CostReport {
  readonly period: CostPeriod;
  /** When the period began: calendar day, ISO week (Monday) or month, in UTC. */
  readonly from: Date;
  /** Most expensive first. */
  readonly rows: readonly CostRow[];
  readonly totalMicros: Micros;
  /** The limits in force and how far they are used. */
  readonly budgets: readonly BudgetStatus[];
}

const units = { today: 'day', week: 'week', month: 'month' } as const;

/** What was spent since the period began, from the ledger. */
export async function costReport(
  db: Db,
  options: { readonly period: CostPeriod; readonly by: CostGrouping; readonly agentName?: string },
): Promise<CostReport> {
  const { rows, from } = await sumCosts(db, {
    unit: units[options.period],
    by: options.by,
    agentName: options.agentName,
  });
  return {
    period: options.period,
    from,
    rows,
    totalMicros: rows.reduce((sum, row) => sum + row.costMicros, 0n),
    budgets: await selectStatus(db, options.agentName === undefined ? undefined : agentScope(options.agentName)),
  };
}
