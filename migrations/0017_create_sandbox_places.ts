import { type Kysely, sql } from 'kysely';

/** Where sessions keep their files, who holds their containers, and what happened to them. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql.raw(tables).execute(db);
}

const tables = /* sql */ `
  create table sandbox_place (
    -- A session's id; no foreign key, because files outlive the row of a session.
    session_id text primary key,
    host text not null,
    workspace text not null,
    disk text not null check (disk in ('loop', 'quota', 'watched')),
    placed_at timestamptz not null default clock_timestamp(),
    -- The worker that holds the container, and when it last said so.
    owner uuid,
    seen_at timestamptz,
    used_mb integer,
    unique (host, workspace)
  );
  create index sandbox_place_by_owner on sandbox_place (owner);

  create table sandbox_event (
    id bigint generated always as identity primary key,
    session_id text not null,
    host text not null,
    kind text not null,
    what text not null,
    detail text,
    at timestamptz not null default clock_timestamp()
  );
  create index sandbox_event_by_session on sandbox_event (session_id, id);
  create index sandbox_event_by_time on sandbox_event (at);
`;
