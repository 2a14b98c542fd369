import type { Db, Tx } from '../kit/database.ts';
import type { GrantRule } from './grant-rule.ts';
import { selectLiveRules } from './grant-rule-store.ts';

/** The "allow always" answers in force for an agent in a session, for `decide`. Read anew for every decision. */
export async function findRemembered(db: Db | Tx, agentName: string, sessionId: string): Promise<readonly GrantRule[]> {
  return await selectLiveRules(db, agentName, sessionId);
}
