import { z } from 'zod';
import type { RawEvent } from '../channel.ts';
import { interactionSchema, messageSchema, reactionSchema, type StoredEvent } from './event-schema.ts';
import { addressedOf, isSpoken } from './normalise-dispatch.ts';
import type { PlaceBook } from './place-book.ts';

/** A dispatch of the gateway: its name, its place in the session's order, its data. */
export interface Dispatch {
  readonly t: string;
  readonly s: number;
  readonly d: unknown;
  /** Of the session it came by; repeats within one carry the same number. */
  readonly session: string;
  readonly at: number;
}

/** An event to be stored, and how far its channel is received once it is. */
export interface ReadEvent {
  readonly event?: RawEvent;
  readonly seen?: { readonly channelId: string; readonly messageId: string };
}

const deleteSchema = z.object({ id: z.string(), channel_id: z.string(), guild_id: z.string().optional() });
const bulkSchema = z.object({ ids: z.array(z.string()), channel_id: z.string(), guild_id: z.string().optional() });

/** Turns dispatches into what is stored of them. Bots, web hooks and our own messages are left out here already. */
export class DispatchReader {
  readonly #places: PlaceBook;
  readonly #me: string;

  constructor(places: PlaceBook, me: string) {
    this.#places = places;
    this.#me = me;
  }

  async read(dispatch: Dispatch): Promise<readonly ReadEvent[]> {
    switch (dispatch.t) {
      case 'MESSAGE_CREATE':
        return await this.message(dispatch.d, dispatch.at);
      case 'MESSAGE_UPDATE':
        return await this.#edit(dispatch);
      case 'MESSAGE_DELETE':
      case 'MESSAGE_DELETE_BULK':
        return await this.#deletes(dispatch);
      case 'MESSAGE_REACTION_ADD':
      case 'MESSAGE_REACTION_REMOVE':
        return await this.#reaction(dispatch, dispatch.t);
      default:
        return [];
    }
  }

  /** @param roles the author's, for a message that was asked for: it comes without them. */
  async message(
    raw: unknown,
    at: number,
    rolesOf?: (guildId: string, userId: string) => Promise<readonly string[] | undefined>,
  ): Promise<readonly ReadEvent[]> {
    const parsed = messageSchema.safeParse(raw);
    if (!parsed.success) return [];
    const message = parsed.data;
    const place = await this.#places.resolve(message.channel_id, message.guild_id, message.channel_type);
    const seen = { channelId: message.channel_id, messageId: message.id };
    if (!isSpoken(message, this.#me)) return [{ seen }];
    const addressed = addressedOf(message, place, this.#me);
    // Once spoken to in a thread, the bot takes part in it, and catches up with it even when it is archived.
    if (addressed === 'mention' || addressed === 'reply') this.#places.markOurs(message.channel_id);
    const roles =
      place.guild !== undefined && addressed !== 'none' && message.member === undefined
        ? await rolesOf?.(place.guild, message.author.id)
        : undefined;
    const stored: StoredEvent = {
      t: 'MESSAGE_CREATE',
      me: this.#me,
      at,
      place,
      d: message,
      ...(roles === undefined ? {} : { roles: [...roles] }),
    };
    return [{ event: { dedupKey: `message:${message.id}`, raw: stored }, seen }];
  }

  /** @param order names of the command's options as they stand in its text. */
  interaction(raw: unknown, at: number, order: readonly string[] | undefined): RawEvent | undefined {
    const parsed = interactionSchema.safeParse(raw);
    if (!parsed.success || parsed.data.type === 4) return undefined;
    const stored: StoredEvent = {
      t: 'INTERACTION_CREATE',
      me: this.#me,
      at,
      d: parsed.data,
      ...(order === undefined ? {} : { order: [...order] }),
    };
    return { dedupKey: `interaction:${parsed.data.id}`, raw: stored };
  }

  /** The bot came to or left a room. */
  room(channelId: string, guildId: string | undefined, change: 'joined' | 'left', key: string, at: number): RawEvent {
    const stored: StoredEvent = {
      t: 'ROOM',
      me: this.#me,
      at,
      d: { change },
      place: { room: channelId, kind: 'channel', ...(guildId === undefined ? {} : { guild: guildId }) },
    };
    return { dedupKey: `room:${channelId}:${change}:${key}`, raw: stored };
  }

  async #edit({ d, at }: Dispatch): Promise<readonly ReadEvent[]> {
    const parsed = messageSchema.safeParse(d);
    if (!parsed.success || !isSpoken(parsed.data, this.#me)) return [];
    const { id, channel_id: channel, guild_id: guild, channel_type: kind, edited_timestamp: editedAt } = parsed.data;
    if (editedAt === undefined || editedAt === null) return [];
    const place = await this.#places.resolve(channel, guild, kind);
    const stored: StoredEvent = { t: 'MESSAGE_UPDATE', me: this.#me, at, place, d: parsed.data };
    return [{ event: { dedupKey: `edit:${id}:${editedAt}`, raw: stored } }];
  }

  async #deletes({ d, at }: Dispatch): Promise<readonly ReadEvent[]> {
    const one = deleteSchema.safeParse(d);
    const many = one.success ? { ...one.data, ids: [one.data.id] } : bulkSchema.safeParse(d).data;
    if (many === undefined) return [];
    const { channel_id: channelId, guild_id: guildId, ids } = many;
    const place = await this.#places.resolve(channelId, guildId, undefined);
    return ids.map((id): ReadEvent => {
      const data = { id, channel_id: channelId, ...(guildId === undefined ? {} : { guild_id: guildId }) };
      const stored: StoredEvent = { t: 'MESSAGE_DELETE', me: this.#me, at, place, d: data };
      return { event: { dedupKey: `delete:${id}`, raw: stored } };
    });
  }

  async #reaction(
    { d, s, session, at }: Dispatch,
    t: 'MESSAGE_REACTION_ADD' | 'MESSAGE_REACTION_REMOVE',
  ): Promise<readonly ReadEvent[]> {
    const parsed = reactionSchema.safeParse(d);
    if (!parsed.success || parsed.data.user_id === this.#me || parsed.data.member?.user?.bot === true) return [];
    const place = await this.#places.resolve(parsed.data.channel_id, parsed.data.guild_id, undefined);
    // It has no id of its own; within a session its number is as good.
    return [{ event: { dedupKey: `reaction:${session}:${s}`, raw: { t, me: this.#me, at, place, d: parsed.data } } }];
  }
}
