import { type Kysely, sql } from 'kysely';

/**
 * Discord keeps nothing for a bot that is away. These rows say up to which message each channel was received, so that
 * what came later is asked for, and in which thread a channel id stands.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table discord_place (
      account text not null,
      channel_id text not null,
      -- Absent for a private conversation.
      guild_id text,
      -- The channel a thread belongs to; absent for what is not a thread.
      parent_id text,
      -- A thread the bot opened or was spoken to in: what was missed there is asked for even when it is archived.
      is_ours boolean not null default false,
      -- The bot was removed from there.
      is_left boolean not null default false,
      -- The newest message that is stored or was not for us.
      last_message_id text not null check (last_message_id ~ '^[0-9]{1,20}$'),
      updated_at timestamptz not null default clock_timestamp(),
      primary key (account, channel_id)
    );
  `.execute(db);
}
