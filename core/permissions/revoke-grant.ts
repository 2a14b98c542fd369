import { appendAudit } from '../audit/append-audit.ts';
import type { Db } from '../kit/database.ts';
import { AppError } from '../kit/errors.ts';
import type { GrantRule } from './grant-rule.ts';
import { revokeRule } from './grant-rule-store.ts';

/**
 * Takes a remembered answer back; the next request is asked for again.
 * @throws AppError `grant.missing` when there is no such rule in force.
 */
export async function revokeGrant(db: Db, id: string, personId: string): Promise<GrantRule> {
  return await db.transaction().execute(async (tx) => {
    const rule = await revokeRule(tx, id, personId);
    if (rule === undefined) {
      throw new AppError('grant.missing', `There is no remembered answer ${id} in force.`, {
        mend: 'Look at the list again: it may have been revoked already.',
      });
    }
    await appendAudit(tx, [
      { kind: 'grant.revoked', chainKey: rule.subject, body: { ruleId: id, personId, action: rule.action } },
    ]);
    return rule;
  });
}
