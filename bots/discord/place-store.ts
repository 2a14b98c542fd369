import { sql } from 'kysely';
import { z } from 'zod';
import type { Db } from '#core/kit/database.ts';

/** A Discord channel, thread or private conversation, and how far it was received. */
export interface Place {
  readonly channelId: string;
  readonly guildId: string | undefined;
  /** The channel a thread belongs to. */
  readonly parentId: string | undefined;
  /** A thread the bot opened or was spoken to in. */
  readonly isOurs: boolean;
  readonly isLeft: boolean;
  readonly lastMessageId: string;
}

/** Remembers places over restarts. */
export interface PlaceStore {
  /** The most recently used places of an account, at most `placesMax`. */
  load(account: string): Promise<readonly Place[]>;
  /** Writes places as they are now; a stored last message never moves back. */
  save(account: string, places: readonly Place[]): Promise<void>;
}

/** More than this would be a bot in thousands of servers; the least recently used ones start afresh. */
const placesMax = 20_000;

const rowSchema = z.object({
  channel_id: z.string(),
  guild_id: z.string().nullable(),
  parent_id: z.string().nullable(),
  is_ours: z.boolean(),
  is_left: z.boolean(),
  last_message_id: z.string(),
});

export function createPlaceStore(deps: { readonly db: Db }): PlaceStore {
  return {
    load: async (account) => {
      const { rows } = await sql`
        select channel_id, guild_id, parent_id, is_ours, is_left, last_message_id from discord_place
        where account = ${account} order by updated_at desc limit ${placesMax}
      `.execute(deps.db);
      return rows.map((row) => {
        const parsed = rowSchema.parse(row);
        return {
          channelId: parsed.channel_id,
          guildId: parsed.guild_id ?? undefined,
          parentId: parsed.parent_id ?? undefined,
          isOurs: parsed.is_ours,
          isLeft: parsed.is_left,
          lastMessageId: parsed.last_message_id,
        };
      });
    },
    save: async (account, places) => {
      if (places.length === 0) return;
      const items = places.map((place) => ({
        channel: place.channelId,
        guild: place.guildId ?? null,
        parent: place.parentId ?? null,
        ours: place.isOurs,
        left: place.isLeft,
        last: place.lastMessageId,
      }));
      await sql`
        insert into discord_place as known (account, channel_id, guild_id, parent_id, is_ours, is_left, last_message_id)
        select ${account}, item.channel, item.guild, item.parent, item.ours, item."left", item.last
        from jsonb_to_recordset(${JSON.stringify(items)}::jsonb)
          as item(channel text, guild text, parent text, ours boolean, "left" boolean, last text)
        on conflict (account, channel_id) do update set
          guild_id = excluded.guild_id,
          parent_id = excluded.parent_id,
          is_ours = known.is_ours or excluded.is_ours,
          is_left = excluded.is_left,
          last_message_id = greatest(known.last_message_id::numeric, excluded.last_message_id::numeric)::text,
          updated_at = clock_timestamp()
      `.execute(deps.db);
    },
  };
}
