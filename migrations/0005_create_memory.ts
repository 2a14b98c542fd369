import { type Kysely, sql } from 'kysely';

/** Facts an agent was asked to remember, added and never overwritten, found by words. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table memory_fact (
      id uuid primary key,
      -- Computed by the server from the origin of the work, never from what a model says.
      scope text not null,
      agent_name text not null,
      text text not null,
      session_id uuid references session (id),
      turn_id uuid,
      created_by uuid references person (id),
      created_at timestamptz not null default clock_timestamp(),
      forgotten_at timestamptz,
      words tsvector generated always as (to_tsvector('simple', text)) stored
    );
    create index memory_fact_words on memory_fact using gin (words);
    create index memory_fact_scope on memory_fact (scope, created_at);
  `.execute(db);
}
