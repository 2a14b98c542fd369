import { sql } from 'kysely';
import type { Db } from '#core/kit/database.ts';
import type { TopicMemory } from './topics.ts';

/** People are told again that a topic is closed when the last time is this long ago. */
const toldAgainDays = 1;

/** The topics of one bot, remembered in the database. */
export function openTopicStore(db: Db, account: string): TopicMemory {
  return {
    find: async (room, key) => {
      const { rows } = await sql<{ thread: string }>`
        select thread from telegram_topic where account = ${account} and room = ${room} and key = ${key}
      `.execute(db);
      return rows[0]?.thread;
    },
    remember: async (room, key, { thread, title }) => {
      await sql`
        insert into telegram_topic (account, room, key, thread, title)
        values (${account}, ${room}, ${key}, ${thread}, ${title})
        on conflict (account, room, key) do nothing
      `.execute(db);
    },
    noteLost: async (room, thread) => {
      const result = await sql`
        insert into telegram_lost_topic (account, room, thread) values (${account}, ${room}, ${thread})
        on conflict (account, room, thread) do update set told_at = clock_timestamp()
        where telegram_lost_topic.told_at < clock_timestamp() - make_interval(days => ${toldAgainDays})
      `.execute(db);
      return result.numAffectedRows === 1n;
    },
  };
}
