import { type Kysely, sql } from 'kysely';

/** People, the identities they write from, threads, sessions, agents, and the inbox of raw platform events. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table person (
      id uuid primary key,
      display_name text not null,
      role text not null check (role in ('owner', 'admin', 'member')),
      created_at timestamptz not null default clock_timestamp(),
      disabled_at timestamptz
    );

    create table identity (
      id uuid primary key,
      person_id uuid references person (id),
      channel text not null,
      account text not null,
      external_id text not null,
      display_name text not null,
      -- A stranger is refused once, so that a public bot cannot be made to spam.
      refused_at timestamptz,
      wrong_codes integer not null default 0,
      created_at timestamptz not null default clock_timestamp(),
      unique (channel, account, external_id)
    );
    create index identity_person on identity (person_id);

    create table pairing_code (
      code_hash text primary key,
      role text not null check (role in ('owner', 'admin', 'member')),
      created_by uuid references person (id),
      created_at timestamptz not null default clock_timestamp(),
      expires_at timestamptz not null,
      used_at timestamptz,
      used_by uuid references identity (id),
      check ((used_at is null) = (used_by is null))
    );

    create table agent_version (
      name text not null,
      version text not null,
      profile jsonb not null,
      created_at timestamptz not null default clock_timestamp(),
      primary key (name, version)
    );

    create table agent (
      name text primary key,
      version text not null,
      is_active boolean not null default true,
      updated_at timestamptz not null default clock_timestamp(),
      foreign key (name, version) references agent_version (name, version)
    );

    create table thread (
      thread_key text primary key,
      conversation jsonb not null,
      agent_name text,
      queue_mode text not null default 'steer' check (queue_mode in ('followup', 'steer', 'collect', 'interrupt')),
      updated_at timestamptz not null default clock_timestamp()
    );

    create table session (
      id uuid primary key,
      thread_key text not null references thread (thread_key),
      agent_name text not null,
      origin jsonb not null,
      title text,
      state text not null default 'active' check (state in ('active', 'ended')),
      created_at timestamptz not null default clock_timestamp(),
      ended_at timestamptz,
      check ((state = 'ended') = (ended_at is not null))
    );
    create unique index session_one_active on session (thread_key, agent_name) where state = 'active';
    create index session_by_thread on session (thread_key, created_at);

    create table inbox (
      id uuid primary key,
      channel text not null,
      account text not null,
      dedup_key text not null,
      raw jsonb not null,
      state text not null default 'pending' check (state in ('pending', 'routed', 'ignored', 'failed')),
      attempts integer not null default 0,
      error text,
      received_at timestamptz not null default clock_timestamp(),
      routed_at timestamptz,
      unique (channel, account, dedup_key)
    );
    create index inbox_pending on inbox (received_at) where state = 'pending';
  `.execute(db);
}
