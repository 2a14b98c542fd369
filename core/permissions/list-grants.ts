import type { Db } from '../kit/database.ts';
import type { GrantRule } from './grant-rule.ts';
import { selectRules } from './grant-rule-store.ts';

const rowsMax = 200;

/** The remembered answers, newest first, at most 200; `subject` is an agent name or a session id. */
export async function listGrants(
  db: Db,
  filter: { readonly subject?: string; readonly withRevoked?: boolean } = {},
): Promise<readonly GrantRule[]> {
  return await selectRules(db, {
    ...(filter.subject === undefined ? {} : { subject: filter.subject }),
    withRevoked: filter.withRevoked ?? false,
    rowsMax,
  });
}
