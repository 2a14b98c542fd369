import { type Kysely, sql } from 'kysely';

/** Topics of Telegram chats: those made for a piece of work, and those that can no longer be written to. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table telegram_topic (
      account text not null,
      room text not null,
      -- What the topic was made for; the same key is given the same topic.
      key text not null,
      thread text not null,
      title text not null,
      created_at timestamptz not null default clock_timestamp(),
      primary key (account, room, key)
    );

    create table telegram_lost_topic (
      account text not null,
      room text not null,
      thread text not null,
      -- When the people of the room were told.
      told_at timestamptz not null default clock_timestamp(),
      primary key (account, room, thread)
    );
  `.execute(db);
}
