import { sql } from 'kysely';
import { z } from 'zod';
import type { Db, Tx } from '../kit/database.ts';
import { toWellFormed } from '../kit/json.ts';
import { storableJson } from '../kit/storable-json.ts';
import { conversationSchema } from '../sessions/origin.ts';
import { type Approval, type ApprovalState, approvalActionSchema, type Decider } from './approval.ts';

const reasonMax = 1000;

const rowSchema = z.object({
  id: z.string(),
  session_id: z.string(),
  turn_id: z.string(),
  call_id: z.string(),
  agent_name: z.string(),
  kind: z.literal('tool'),
  action: approvalActionSchema,
  action_digest: z.string(),
  summary: z.string(),
  risk: z.enum(['low', 'medium', 'high']),
  cost_micros: z.bigint().nullable(),
  requester_id: z.string().nullable(),
  approvers: z.array(z.array(z.string())),
  requester_may_approve: z.boolean(),
  conversation: conversationSchema,
  state: z.enum(['pending', 'approved', 'denied', 'expired', 'cancelled']),
  created_at: z.date(),
  expires_at: z.date(),
  decided_at: z.date().nullable(),
  decided_by: z.string().nullable(),
  decided_by_name: z.string().nullable(),
  reason: z.string().nullable(),
  reminded_at: z.date().nullable(),
  escalated_at: z.date().nullable(),
});

const columns = sql`
  a.id, a.session_id, a.turn_id, a.call_id, a.agent_name, a.kind, a.action, a.action_digest, a.summary, a.risk,
  a.cost_micros, a.requester_id, a.approvers, a.requester_may_approve, a.conversation, a.state, a.created_at,
  a.expires_at, a.decided_at, a.decided_by, a.reason, a.reminded_at, a.escalated_at,
  (select p.display_name from person p where p.id = a.decided_by) as decided_by_name`;

export type NewApproval = Omit<
  Approval,
  | 'state'
  | 'createdAt'
  | 'expiresAt'
  | 'decidedAt'
  | 'decidedBy'
  | 'decidedByName'
  | 'reason'
  | 'remindedAt'
  | 'escalatedAt'
> & { readonly validMs: number };

export async function insertApproval(tx: Tx, approval: NewApproval): Promise<Approval> {
  const { rows } = await sql`
    insert into approval as a (id, session_id, turn_id, call_id, agent_name, kind, action, action_digest, summary, risk,
      cost_micros, requester_id, approvers, requester_may_approve, conversation, expires_at)
    values (${approval.id}, ${approval.sessionId}, ${approval.turnId}, ${approval.callId}, ${approval.agentName},
      ${approval.kind}, ${JSON.stringify(storableJson(approval.action))}::jsonb, ${approval.actionDigest}, ${toWellFormed(approval.summary)},
      ${approval.risk}, ${approval.costMicros ?? null}, ${approval.requesterId ?? null},
      ${JSON.stringify(approval.approvers)}::jsonb, ${approval.requesterMayApprove},
      ${JSON.stringify(approval.conversation)}::jsonb,
      clock_timestamp() + make_interval(secs => ${approval.validMs / 1000}))
    returning ${columns}
  `.execute(tx);
  return toApproval(rows[0]);
}

export async function lockPendingOfCall(tx: Tx, turnId: string, callId: string): Promise<Approval | undefined> {
  const { rows } = await sql`
    select ${columns} from approval a
    where a.turn_id = ${turnId} and a.call_id = ${callId} and a.state = 'pending' for update of a
  `.execute(tx);
  return rows[0] === undefined ? undefined : toApproval(rows[0]);
}

/** The row lock makes two answers to one question take turns; the second sees what the first decided. */
export async function lockApproval(
  tx: Tx,
  id: string,
): Promise<{ readonly approval: Approval; readonly isOverdue: boolean } | undefined> {
  const { rows } = await sql<{ is_overdue: boolean }>`
    select ${columns}, a.expires_at <= clock_timestamp() as is_overdue from approval a where a.id = ${id} for update of a
  `.execute(tx);
  const row = rows[0];
  return row === undefined ? undefined : { approval: toApproval(row), isOverdue: row.is_overdue };
}

/** A disabled person is nobody: their role is not found. */
export async function findDecider(tx: Tx, personId: string): Promise<Decider | undefined> {
  const { rows } = await sql<{ role: Decider['role'] }>`
    select role from person where id = ${personId} and disabled_at is null
  `.execute(tx);
  return rows[0] === undefined ? undefined : { personId, role: rows[0].role };
}

/** Decides a pending approval that has not expired. @returns undefined when it was neither any more. */
export async function markDecided(
  tx: Tx,
  id: string,
  verdict: { readonly state: 'approved' | 'denied'; readonly personId: string; readonly reason: string | undefined },
): Promise<Approval | undefined> {
  const { rows } = await sql`
    update approval a set state = ${verdict.state}, decided_at = clock_timestamp(), decided_by = ${verdict.personId},
      reason = ${cleanReason(verdict.reason)}
    where a.id = ${id} and a.state = 'pending' and a.expires_at > clock_timestamp()
    returning ${columns}
  `.execute(tx);
  return rows[0] === undefined ? undefined : toApproval(rows[0]);
}

export async function insertVerdict(
  tx: Tx,
  verdict: {
    readonly id: string;
    readonly approvalId: string;
    readonly personId: string;
    readonly verdict: 'approve' | 'deny';
    readonly remembered: 'once' | 'session' | 'agent';
    readonly reason: string | undefined;
    readonly via: string;
  },
): Promise<void> {
  await sql`
    insert into approval_verdict (id, approval_id, person_id, verdict, remembered, reason, via)
    values (${verdict.id}, ${verdict.approvalId}, ${verdict.personId}, ${verdict.verdict}, ${verdict.remembered},
            ${cleanReason(verdict.reason)}, ${verdict.via})
  `.execute(tx);
}

/** Ends one pending approval whose time is over, passing by those that somebody is answering right now. */
export async function expireOne(tx: Tx): Promise<Approval | undefined> {
  const { rows } = await sql`
    update approval a set state = 'expired', decided_at = clock_timestamp()
    where a.id = (
      select id from approval where state = 'pending' and expires_at <= clock_timestamp()
      order by expires_at limit 1 for update skip locked)
    returning ${columns}
  `.execute(tx);
  return rows[0] === undefined ? undefined : toApproval(rows[0]);
}

/** Approvals by their ids, in no order. */
export async function selectApprovalsByIds(db: Db | Tx, ids: readonly string[]): Promise<Approval[]> {
  const { rows } = await sql`
    select ${columns} from approval a where a.id = any (${[...ids]}::uuid[])
  `.execute(db);
  return rows.map(toApproval);
}

export async function cancelPending(
  tx: Tx,
  filter: { readonly id?: string; readonly turnId?: string; readonly sessionId?: string },
  reason: string,
): Promise<Approval[]> {
  const { rows } = await sql`
    update approval a set state = 'cancelled', decided_at = clock_timestamp(), reason = ${reason}
    where a.id in (
      select id from approval
      where state = 'pending' and (id = ${filter.id ?? null} or turn_id = ${filter.turnId ?? null} or session_id = ${filter.sessionId ?? null})
      order by id for update)
    returning ${columns}
  `.execute(tx);
  return rows.map(toApproval);
}

/** When an approval is called stuck, in milliseconds since it was asked for. */
export interface StuckStep {
  readonly step: 'reminded' | 'escalated';
  readonly afterMs: number;
}

/**
 * Takes one approval that has waited long enough for its next step, once: of several processes one gets it, and those
 * that somebody is answering right now are passed by.
 */
export async function takeStuck(tx: Tx, { step, afterMs }: StuckStep): Promise<Approval | undefined> {
  const column = step === 'reminded' ? sql`reminded_at` : sql`escalated_at`;
  const { rows } = await sql`
    update approval a set ${column} = clock_timestamp()
    where a.id = (
      select id from approval
      where state = 'pending' and ${column} is null and expires_at > clock_timestamp()
        and created_at <= clock_timestamp() - make_interval(secs => ${afterMs / 1000})
      order by created_at limit 1 for update skip locked)
    returning ${columns}
  `.execute(tx);
  return rows[0] === undefined ? undefined : toApproval(rows[0]);
}

/** The people who might decide: owners, administrators, and those who are named; the longest known first. */
export async function selectPossibleDeciders(db: Db | Tx, namedIds: readonly string[]): Promise<Decider[]> {
  const { rows } = await sql<{ id: string; role: Decider['role'] }>`
    select id, role from person
    where disabled_at is null and (role in ('owner', 'admin') or id = any (${[...namedIds]}::uuid[]))
    order by role = 'owner' desc, created_at, id
  `.execute(db);
  return rows.map((row) => ({ personId: row.id, role: row.role }));
}

/** @returns false when it was not approved, was used before, or is for another action. */
export async function markConsumed(tx: Db | Tx, id: string, digest: string): Promise<boolean> {
  const result = await sql`
    update approval set consumed_at = clock_timestamp()
    where id = ${id} and state = 'approved' and consumed_at is null and action_digest = ${digest}
  `.execute(tx);
  return (result.numAffectedRows ?? 0n) > 0n;
}

export async function selectConsumption(
  tx: Db | Tx,
  id: string,
): Promise<{ readonly state: ApprovalState; readonly digest: string; readonly isConsumed: boolean } | undefined> {
  const { rows } = await sql<{ state: ApprovalState; action_digest: string; is_consumed: boolean }>`
    select state, action_digest, consumed_at is not null as is_consumed from approval where id = ${id}
  `.execute(tx);
  const row = rows[0];
  return row === undefined ? undefined : { state: row.state, digest: row.action_digest, isConsumed: row.is_consumed };
}

export async function selectApprovals(
  db: Db | Tx,
  filter: {
    readonly id?: string;
    readonly state?: ApprovalState;
    readonly sessionId?: string;
    readonly turnId?: string;
    readonly callId?: string;
    readonly rowsMax: number;
  },
): Promise<Approval[]> {
  const { rows } = await sql`
    select ${columns} from approval a
    where (${filter.id ?? null}::uuid is null or a.id = ${filter.id ?? null})
      and (${filter.state ?? null}::text is null or a.state = ${filter.state ?? null})
      and (${filter.sessionId ?? null}::uuid is null or a.session_id = ${filter.sessionId ?? null})
      and (${filter.turnId ?? null}::uuid is null or a.turn_id = ${filter.turnId ?? null})
      and (${filter.callId ?? null}::text is null or a.call_id = ${filter.callId ?? null})
    order by a.created_at desc, a.id desc limit ${filter.rowsMax}
  `.execute(db);
  return rows.map(toApproval);
}

function cleanReason(reason: string | undefined): string | null {
  return reason === undefined ? null : toWellFormed(reason).slice(0, reasonMax);
}

function toApproval(raw: unknown): Approval {
  const row = rowSchema.parse(raw);
  return {
    id: row.id,
    sessionId: row.session_id,
    turnId: row.turn_id,
    callId: row.call_id,
    agentName: row.agent_name,
    kind: row.kind,
    action: row.action,
    actionDigest: row.action_digest,
    summary: row.summary,
    risk: row.risk,
    costMicros: row.cost_micros ?? undefined,
    requesterId: row.requester_id ?? undefined,
    approvers: row.approvers,
    requesterMayApprove: row.requester_may_approve,
    conversation: row.conversation,
    state: row.state,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    decidedAt: row.decided_at ?? undefined,
    decidedBy: row.decided_by ?? undefined,
    decidedByName: row.decided_by_name ?? undefined,
    reason: row.reason ?? undefined,
    remindedAt: row.reminded_at ?? undefined,
    escalatedAt: row.escalated_at ?? undefined,
  };
}
