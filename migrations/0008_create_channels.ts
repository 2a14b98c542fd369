import { type Kysely, sql } from 'kysely';

/** What is known of our accounts on the platforms and of the rooms they are in. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table channel_account (
      channel text not null,
      account text not null,
      -- Switched off by a person: nothing is received or sent, and nothing is lost.
      is_enabled boolean not null default true,
      state text not null default 'starting'
        check (state in ('starting', 'connected', 'standby', 'disconnected', 'halted')),
      detail text not null default '',
      updated_at timestamptz not null default clock_timestamp(),
      primary key (channel, account)
    );

    create table channel_room (
      channel text not null,
      account text not null,
      room text not null,
      state text not null default 'active'
        check (state in ('active', 'left', 'blocked', 'archived', 'unreachable', 'migrated')),
      reason text not null default '',
      migrated_to text,
      updated_at timestamptz not null default clock_timestamp(),
      primary key (channel, account, room),
      check ((state = 'migrated') = (migrated_to is not null))
    );

    -- Files on their way from or to a person, so that messages need not carry them.
    create table blob (
      id uuid primary key,
      name text not null,
      mime text not null,
      bytes bytea not null,
      created_at timestamptz not null default clock_timestamp()
    );
  `.execute(db);
}
