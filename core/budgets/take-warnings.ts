import type { Tx } from '../kit/database.ts';
import { agentScope, type BudgetWarning } from './budget.ts';
import { markWarned } from './budget-store.ts';

/**
 * The budgets of an agent that passed 80 % and were not announced yet, once per period. Write the notice in the same
 * transaction, and nothing else: the budget's row is locked until it commits.
 */
export async function takeWarnings(tx: Tx, agentName: string): Promise<readonly BudgetWarning[]> {
  return await markWarned(tx, agentScope(agentName));
}
