import { sql } from 'kysely';
import type { Db, Tx } from '../kit/database.ts';
import type { Json } from '../kit/json.ts';
import type { AuditProblem, StoredAudit } from './audit.ts';

export async function appendBodies(
  tx: Db | Tx,
  items: readonly { readonly chainKey: string; readonly body: string }[],
): Promise<void> {
  await sql`select audit_append(${JSON.stringify(items)}::jsonb)`.execute(tx);
}

export async function selectProblems(db: Db, rowsMax: number): Promise<AuditProblem[]> {
  const { rows } = await sql<AuditProblem>`select chain, seq, problem from audit_verify(${rowsMax})`.execute(db);
  return rows;
}

export async function countRecords(db: Db): Promise<number> {
  const { rows } = await sql<{ count: number }>`select count(*)::integer as count from audit_record`.execute(db);
  return rows[0]?.count ?? 0;
}

/** Oldest first; a deleted body is left out. */
export async function selectBySession(db: Db | Tx, sessionId: string, rowsMax: number): Promise<StoredAudit[]> {
  const { rows } = await sql<{ chain: number; seq: number; created_at: Date; body: Json }>`
    select r.chain, r.seq, r.created_at, b.body
    from audit_body b join audit_record r on r.chain = b.chain and r.seq = b.seq
    where b.body ->> 'sessionId' = ${sessionId}
    order by r.chain, r.seq limit ${rowsMax}
  `.execute(db);
  return rows.map((row) => ({ chain: row.chain, seq: row.seq, createdAt: row.created_at, body: row.body }));
}
