import { sql } from 'kysely';
import type { Db, Tx } from '../kit/database.ts';
import { toWellFormed } from '../kit/json.ts';
import type { GrantRule } from './grant-rule.ts';

interface GrantRuleRow {
  id: string;
  subject_kind: 'agent' | 'session';
  subject: string;
  action: string;
  resource: string;
  working_directory: string | null;
  created_by: string;
  approval_id: string | null;
  created_at: Date;
  revoked_at: Date | null;
}

const columns = sql`id, subject_kind, subject, action, resource, working_directory, created_by, approval_id, created_at,
  revoked_at`;

/** Inserts a rule; the same rule that is already in force is returned instead. */
export async function insertGrantRule(
  tx: Db | Tx,
  rule: Omit<GrantRule, 'createdAt' | 'revokedAt'>,
): Promise<GrantRule> {
  const directory = rule.workingDirectory ?? null;
  const resource = toWellFormed(rule.resource);
  await sql`
    insert into grant_rule (id, effect, subject_kind, subject, action, resource, working_directory, created_by, approval_id)
    values (${rule.id}, 'allow', ${rule.subjectKind}, ${rule.subject}, ${rule.action}, ${resource}, ${directory},
            ${rule.createdBy}, ${rule.approvalId ?? null})
    on conflict (subject_kind, subject, action, md5(resource), coalesce(working_directory, ''))
      where revoked_at is null do nothing
  `.execute(tx);
  const { rows } = await sql<GrantRuleRow>`
    select ${columns} from grant_rule
    where subject_kind = ${rule.subjectKind} and subject = ${rule.subject} and action = ${rule.action}
      and md5(resource) = md5(${resource}) and coalesce(working_directory, '') = coalesce(${directory}, '')
      and revoked_at is null
  `.execute(tx);
  const row = rows[0];
  if (row === undefined) throw new Error('the grant rule that was just inserted is gone');
  return toGrantRule(row);
}

/** The rules in force for one agent in one session. */
export async function selectLiveRules(db: Db | Tx, agentName: string, sessionId: string): Promise<GrantRule[]> {
  const { rows } = await sql<GrantRuleRow>`
    select ${columns} from grant_rule
    where revoked_at is null
      and ((subject_kind = 'agent' and subject = ${agentName}) or (subject_kind = 'session' and subject = ${sessionId}))
  `.execute(db);
  return rows.map(toGrantRule);
}

/** All rules, newest first; revoked ones only when asked for. */
export async function selectRules(
  db: Db | Tx,
  filter: { readonly subject?: string; readonly withRevoked: boolean; readonly rowsMax: number },
): Promise<GrantRule[]> {
  const { rows } = await sql<GrantRuleRow>`
    select ${columns} from grant_rule
    where (${filter.subject ?? null}::text is null or subject = ${filter.subject ?? null})
      and (${filter.withRevoked} or revoked_at is null)
    order by created_at desc, id desc limit ${filter.rowsMax}
  `.execute(db);
  return rows.map(toGrantRule);
}

/** @returns undefined when there is no such rule in force. */
export async function revokeRule(tx: Tx, id: string, personId: string): Promise<GrantRule | undefined> {
  const { rows } = await sql<GrantRuleRow>`
    update grant_rule set revoked_at = clock_timestamp(), revoked_by = ${personId}
    where id = ${id} and revoked_at is null returning ${columns}
  `.execute(tx);
  return rows[0] === undefined ? undefined : toGrantRule(rows[0]);
}

function toGrantRule(row: GrantRuleRow): GrantRule {
  return {
    id: row.id,
    subjectKind: row.subject_kind,
    subject: row.subject,
    action: row.action,
    resource: row.resource,
    workingDirectory: row.working_directory ?? undefined,
    createdBy: row.created_by,
    approvalId: row.approval_id ?? undefined,
    createdAt: row.created_at,
    revokedAt: row.revoked_at ?? undefined,
  };
}
