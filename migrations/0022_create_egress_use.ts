import { type Kysely, sql } from 'kysely';

/** How much each session sent to and received from the outside on each day. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table egress_use (
      session_id uuid not null references session (id) on delete cascade,
      -- In UTC.
      day date not null,
      bytes bigint not null default 0 check (bytes >= 0),
      requests integer not null default 0 check (requests >= 0),
      primary key (session_id, day)
    ) with (fillfactor = 70)
  `.execute(db);
}
