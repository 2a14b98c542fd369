import { type Kysely, sql } from 'kysely';

/** The console's own "platform": what a terminal sees of one conversation, kept so that it can be read again. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    -- Its row lock makes the changes of one conversation commit in the order of their numbers, so that a reader who
    -- has seen change n has seen all before it.
    create table console_thread (
      thread_key text primary key,
      last_change integer not null default 0
    );

    create table console_message (
      id integer generated always as identity primary key,
      thread_key text not null references console_thread (thread_key),
      message_id text not null,
      direction text not null check (direction in ('in', 'out')),
      author text,
      body jsonb not null,
      -- Raised by every edit; 1 for a message as first posted.
      revision integer not null default 1,
      -- The conversation's number of the newest change of this message.
      change integer not null,
      created_at timestamptz not null default clock_timestamp(),
      deleted_at timestamptz,
      unique (thread_key, message_id),
      check ((direction = 'in') = (author is not null))
    );
    create index console_message_by_change on console_message (thread_key, change);
    create index console_message_by_age on console_message (thread_key, id);
  `.execute(db);
}
