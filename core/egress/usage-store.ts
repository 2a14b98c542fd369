import { type RawBuilder, sql } from 'kysely';
import type { Db, Tx } from '../kit/database.ts';

/** The text as a session's id; null for what cannot be one. A cast of the column would pass its index by. */
const asId = (text: RawBuilder<unknown>) =>
  sql`case when ${text} ~ '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$' then (${text})::uuid end`;

/** What one session sent and received on one day (UTC). */
export interface EgressUse {
  readonly sessionId: string;
  readonly bytes: number;
  readonly requests: number;
}

/** Adds to today's use; a session that is gone is left out. */
export async function addUse(db: Db | Tx, uses: readonly EgressUse[]): Promise<void> {
  await sql`
    insert into egress_use (session_id, day, bytes, requests)
    select s.id, (clock_timestamp() at time zone 'utc')::date, u.bytes, u.requests
    from jsonb_to_recordset(${JSON.stringify(uses)}::jsonb) as u ("sessionId" text, bytes bigint, requests integer)
      join session s on s.id = ${asId(sql`u."sessionId"`)}
    order by s.id
    on conflict (session_id, day) do update
      set bytes = egress_use.bytes + excluded.bytes, requests = egress_use.requests + excluded.requests
  `.execute(db);
}

export async function selectUse(db: Db | Tx, sessionId: string): Promise<{ readonly bytes: number }> {
  const { rows } = await sql<{ bytes: number }>`
    select bytes::double precision as bytes from egress_use
    where session_id = ${asId(sql`${sessionId}::text`)} and day = (clock_timestamp() at time zone 'utc')::date
  `.execute(db);
  return rows[0] ?? { bytes: 0 };
}

/** Drops days that no bound looks at any more. */
export async function deleteOldUse(db: Db): Promise<void> {
  await sql`delete from egress_use where day < (clock_timestamp() at time zone 'utc')::date - 31`.execute(db);
}
