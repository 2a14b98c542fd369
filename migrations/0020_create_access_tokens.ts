import { type Kysely, sql } from 'kysely';

/** Keys of programs that use us over MCP: each acts for one person, within scopes, until a date. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table access_token (
      id uuid primary key,
      name text not null,
      token_hash text not null unique,
      person_id uuid not null references person (id),
      -- The only agent it may give work to; null for any.
      agent_name text,
      scopes text[] not null check (cardinality(scopes) > 0),
      created_at timestamptz not null default clock_timestamp(),
      created_by uuid references person (id),
      expires_at timestamptz not null,
      revoked_at timestamptz,
      last_used_at timestamptz,
      check (expires_at > created_at)
    );
    create unique index access_token_name on access_token (name) where revoked_at is null;

    -- Work a token has begun. The same key again gives the same work.
    create table access_token_run (
      token_id uuid not null references access_token (id),
      idempotency_key text not null,
      -- What was asked for: the same key for something else is a mistake of the caller.
      request_digest text not null,
      -- No foreign key: a finished turn may be pruned before the record of who began it.
      turn_id uuid not null unique,
      created_at timestamptz not null default clock_timestamp(),
      primary key (token_id, idempotency_key)
    );
  `.execute(db);
}
