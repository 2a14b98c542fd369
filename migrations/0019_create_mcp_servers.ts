import { type Kysely, sql } from 'kysely';

/** Tools of MCP servers as they were seen and approved, logins of people there, and calls that wait for an answer. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table mcp_server (
      name text primary key,
      -- Digest of what the server is: its address, or its command with its files.
      source text not null,
      -- What connecting found out about its protocol, so that the next connection need not ask again.
      verdict jsonb,
      -- When its list was last read whole.
      listed_at timestamptz,
      -- How often people were asked about its tools, and since when.
      announce_count integer not null default 0,
      announced_since timestamptz,
      -- Why the last reading failed; null when it did not.
      problem text,
      tried_at timestamptz not null default clock_timestamp()
    );

    create table mcp_tool (
      server text not null references mcp_server (name) on delete cascade,
      name text not null,
      -- Of the definition as the server last gave it, and of the server's source.
      digest text not null,
      definition jsonb not null,
      flags text[] not null default '{}',
      state text not null check (state in ('new', 'approved', 'changed', 'refused', 'gone')),
      -- What somebody looked at and allowed; only exactly this is ever called.
      approved_digest text,
      approved_definition jsonb,
      decided_by uuid references person (id),
      decided_at timestamptz,
      seen_at timestamptz not null default clock_timestamp(),
      -- When people were asked about this digest.
      announced_digest text,
      primary key (server, name),
      check ((approved_digest is null) = (approved_definition is null)),
      check (state <> 'approved' or approved_digest = digest),
      check (state <> 'changed' or approved_digest is not null)
    );

    -- A call whose server wants to know something from a person; whoever takes the turn up again finishes it.
    create table mcp_call (
      turn_id uuid not null,
      call_id text not null,
      server text not null,
      tool text not null,
      round integer not null,
      -- The server's own, opaque to us.
      request_state text,
      requests jsonb not null,
      responses jsonb not null default '{}',
      -- Being sent: after a crash nobody knows whether the server has it.
      is_sent boolean not null default false,
      created_at timestamptz not null default clock_timestamp(),
      primary key (turn_id, call_id)
    );
    create index mcp_call_age on mcp_call (created_at);

    -- A login somebody has begun. The ticket opens our page, the state comes back from the authorization server.
    create table mcp_login (
      id uuid primary key,
      ticket_hash text not null unique,
      state_hash text not null unique,
      -- Set when the page was confirmed: only that browser may come back.
      browser_hash text,
      person_id uuid not null references person (id),
      server text not null,
      -- Verifier, discovery and client of this attempt, sealed.
      sealed text not null,
      created_at timestamptz not null default clock_timestamp(),
      expires_at timestamptz not null,
      used_at timestamptz,
      check (expires_at > created_at)
    );
    create index mcp_login_age on mcp_login (expires_at);

    -- What authorization servers gave us, one row for each person, authorization server and resource.
    create table mcp_grant (
      person_id uuid not null references person (id),
      issuer text not null,
      resource text not null,
      sealed text not null,
      updated_at timestamptz not null default clock_timestamp(),
      primary key (person_id, issuer, resource)
    );

    -- Our client registrations at authorization servers.
    create table mcp_client (
      issuer text not null,
      redirect_uri text not null,
      sealed text not null,
      created_at timestamptz not null default clock_timestamp(),
      primary key (issuer, redirect_uri)
    );

    -- Offers are told apart by the code that carries them out; the list of their kinds grows with the product.
    alter table offer drop constraint offer_kind_check;
    alter table offer add constraint offer_kind_check check (kind ~ '^[a-z_]+$');
  `.execute(db);
}
