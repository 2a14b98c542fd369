import type { Db, Tx } from '../kit/database.ts';
import type { BudgetLimits, BudgetScope } from './budget.ts';
import { replaceLimits } from './budget-store.ts';

/**
 * Replaces the limits of a scope; an absent limit is none. A day or month in course follows at its next reservation;
 * what is already booked above a lowered limit stays booked and blocks until the period ends.
 */
export async function setBudgetLimits(db: Db | Tx, scope: BudgetScope, limits: BudgetLimits): Promise<void> {
  await replaceLimits(db, scope, [
    ...(limits.dailyMicros === undefined ? [] : [{ period: 'daily' as const, limitMicros: limits.dailyMicros }]),
    ...(limits.monthlyMicros === undefined ? [] : [{ period: 'monthly' as const, limitMicros: limits.monthlyMicros }]),
  ]);
}
