import type { Tx } from '../kit/database.ts';
import { newId } from '../kit/ids.ts';
import type { GrantRule } from './grant-rule.ts';
import { insertGrantRule } from './grant-rule-store.ts';

/** Remembers an "allow always" in the caller's transaction; remembering it twice is remembering it once. */
export async function rememberGrant(
  tx: Tx,
  rule: Omit<GrantRule, 'id' | 'createdAt' | 'revokedAt'>,
): Promise<GrantRule> {
  return await insertGrantRule(tx, { id: newId(), ...rule });
}
