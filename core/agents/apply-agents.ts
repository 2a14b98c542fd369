import { agentScope } from '../budgets/budget.ts';
import { setBudgetLimits } from '../budgets/set-budget-limits.ts';
import type { Db } from '../kit/database.ts';
import { type Micros, usdToMicros } from '../kit/money.ts';
import type { AgentProfile } from './agent-profile.ts';
import { activate, insertVersions, lockAgents, selectActive } from './agent-store.ts';

/** What applying changed, by agent name. */
export interface ApplyResult {
  readonly added: readonly string[];
  readonly changed: readonly string[];
  readonly removed: readonly string[];
  readonly unchanged: readonly string[];
}

/**
 * Makes the given profiles the active ones, with their budgets, in one transaction. Agents that are not among them are
 * put out of use; a turn that already runs keeps the version it recorded.
 */
export async function applyAgents(db: Db, profiles: readonly AgentProfile[]): Promise<ApplyResult> {
  return await db.transaction().execute(async (tx) => {
    await lockAgents(tx);
    const before = await selectActive(tx);
    await insertVersions(tx, profiles);
    await activate(tx, profiles);
    for (const profile of profiles) {
      await setBudgetLimits(tx, agentScope(profile.name), {
        dailyMicros: toMicros(profile.budget?.daily_usd),
        monthlyMicros: toMicros(profile.budget?.monthly_usd),
      });
    }
    const names = new Set(profiles.map((profile) => profile.name));
    const namesWhere = (test: (known: string | undefined, version: string) => boolean): string[] =>
      profiles.filter((profile) => test(before.get(profile.name), profile.version)).map((profile) => profile.name);
    return {
      added: namesWhere((known) => known === undefined),
      changed: namesWhere((known, version) => known !== undefined && known !== version),
      removed: [...before.keys()].filter((name) => !names.has(name)),
      unchanged: namesWhere((known, version) => known === version),
    };
  });
}

function toMicros(usd: number | undefined): Micros | undefined {
  return usd === undefined ? undefined : usdToMicros(usd);
}
