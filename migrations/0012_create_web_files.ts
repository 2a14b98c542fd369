import { type Kysely, sql } from 'kysely';

/** Files with an owner and an end, the list of a person's browser conversations, and how far the file channel has read. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table blob
      -- Who may attach it to a message, as a thread's channel and room; null for files of agents.
      add column owner text,
      -- Not removed before; every delivery moves it on.
      add column kept_until timestamptz not null default clock_timestamp() + interval '7 days',
      add column size integer not null generated always as (octet_length(bytes)) stored;
    create index blob_by_end on blob (kept_until);
    create index blob_by_owner on blob (owner) where owner is not null;

    -- "Every conversation of this browser" is a search by the beginning of the key.
    create index console_thread_by_prefix on console_thread (thread_key text_pattern_ops);

    create table file_cursor (
      account text primary key,
      -- Raised when the file was replaced or cut off: offsets then mean something else.
      generation integer not null default 1,
      inode text not null,
      -- Everything before it is in the inbox.
      byte_offset bigint not null default 0,
      -- Digest of the first head_bytes bytes: a file that was rewritten in place begins differently.
      head_bytes integer not null default 0,
      head_digest text not null default '',
      updated_at timestamptz not null default clock_timestamp()
    );
  `.execute(db);
}
