import { z } from 'zod';
import type { Log } from '#core/kit/log.ts';
import type { DiscordApi } from './discord-api.ts';
import { classifyDiscordError } from './discord-errors.ts';
import { dmType, type EventPlace, groupDmType, threadTypes } from './event-schema.ts';
import type { Place, PlaceStore } from './place-store.ts';

/** What a dispatch says of a channel or thread. */
export const channelSchema = z.object({
  id: z.string().regex(/^\d{1,20}$/),
  type: z.number(),
  guild_id: z.string().optional(),
  parent_id: z.string().nullish(),
  owner_id: z.string().optional(),
  last_message_id: z
    .string()
    .regex(/^\d{1,20}$/)
    .nullish()
    .catch(undefined),
  newly_created: z.boolean().optional(),
});
export type SeenChannel = z.infer<typeof channelSchema>;

/** Which channel ids are threads of which rooms, and how far each was received. */
export class PlaceBook {
  readonly #store: PlaceStore;
  readonly #api: DiscordApi;
  readonly #log: Log;
  readonly #account: string;
  readonly #places = new Map<string, Place>();
  readonly #dirty = new Set<string>();
  #isLoaded = false;
  #hasUrgent = false;

  constructor(deps: {
    readonly store: PlaceStore;
    readonly api: DiscordApi;
    readonly log: Log;
    readonly account: string;
  }) {
    this.#store = deps.store;
    this.#api = deps.api;
    this.#log = deps.log;
    this.#account = deps.account;
  }

  async load(): Promise<void> {
    if (this.#isLoaded) return;
    for (const place of await this.#store.load(this.#account)) this.#places.set(place.channelId, place);
    this.#isLoaded = true;
  }

  get(channelId: string): Place | undefined {
    return this.#places.get(channelId);
  }

  all(): readonly Place[] {
    return [...this.#places.values()];
  }

  inGuild(guildId: string): readonly Place[] {
    return this.all().filter((place) => place.guildId === guildId);
  }

  /** Takes up a channel as a dispatch describes it. A new one counts as received up to `receivedTo`. */
  note(channel: SeenChannel, guildId: string | undefined, receivedTo?: string): Place {
    const known = this.#places.get(channel.id);
    const guild = channel.guild_id ?? guildId ?? known?.guildId;
    const parent = threadTypes.has(channel.type) ? (channel.parent_id ?? known?.parentId) : undefined;
    const isOurs = known?.isOurs === true || (parent !== undefined && channel.owner_id === this.#account);
    const next: Place = {
      channelId: channel.id,
      guildId: guild,
      parentId: parent,
      isOurs,
      isLeft: false,
      lastMessageId: known?.lastMessageId ?? receivedTo ?? channel.last_message_id ?? channel.id,
    };
    if (known === undefined || !isSame(known, next)) this.#put(next);
    return next;
  }

  /** The bot takes part in this thread from now on. */
  markOurs(channelId: string): void {
    const place = this.#places.get(channelId);
    if (place === undefined || place.parentId === undefined || place.isOurs) return;
    this.#put({ ...place, isOurs: true });
    this.#hasUrgent = true;
  }

  markLeft(channelId: string): void {
    const place = this.#places.get(channelId);
    if (place !== undefined && !place.isLeft) this.#put({ ...place, isLeft: true });
  }

  /** A message is stored or was not for us. */
  saw(channelId: string, messageId: string): void {
    const place = this.#places.get(channelId);
    if (place === undefined || BigInt(messageId) <= BigInt(place.lastMessageId)) return;
    this.#put({ ...place, lastMessageId: messageId });
  }

  /** Where a channel id stands; asks Discord about one that no dispatch has described. */
  async resolve(channelId: string, guildId: string | undefined, kind: number | undefined): Promise<EventPlace> {
    let place = this.#places.get(channelId);
    if (place === undefined) {
      const isThread = kind !== undefined && threadTypes.has(kind);
      const needsAsking = guildId !== undefined && (kind === undefined || isThread);
      const channel = needsAsking ? await this.#ask(channelId) : undefined;
      // Received up to just before now: the caller says what it saw.
      place = this.note(channel ?? { id: channelId, type: kind ?? (guildId === undefined ? dmType : 0) }, guildId, '0');
    }
    return {
      ...(place.guildId === undefined ? {} : { guild: place.guildId }),
      room: place.parentId ?? channelId,
      ...(place.parentId === undefined ? {} : { thread: channelId }),
      kind: place.guildId !== undefined ? 'channel' : kind === groupDmType ? 'group' : 'dm',
    };
  }

  /** Whether something should be written soon, because a crash would lose what cannot be found out again. */
  get hasUrgent(): boolean {
    return this.#hasUrgent;
  }

  /** Writes what changed; what fails is written the next time. */
  async flush(): Promise<void> {
    if (this.#dirty.size === 0) return;
    const ids = [...this.#dirty];
    this.#dirty.clear();
    this.#hasUrgent = false;
    try {
      await this.#store.save(
        this.#account,
        ids.flatMap((id) => this.#places.get(id) ?? []),
      );
    } catch (err) {
      for (const id of ids) this.#dirty.add(id);
      this.#hasUrgent = true;
      this.#log.warn({ err }, 'discord places could not be written');
    }
  }

  async #ask(channelId: string): Promise<SeenChannel | undefined> {
    try {
      return await this.#api.channel(channelId);
    } catch (err) {
      this.#log.warn({ reason: classifyDiscordError(err).reason, channelId }, 'discord channel could not be read');
      return undefined;
    }
  }

  #put(place: Place): void {
    // A place nobody has written down is one nobody asks about after a crash; an old position only costs repeats.
    if (!this.#places.has(place.channelId)) this.#hasUrgent = true;
    this.#places.set(place.channelId, place);
    this.#dirty.add(place.channelId);
  }
}

function isSame(a: Place, b: Place): boolean {
  return (
    a.guildId === b.guildId &&
    a.parentId === b.parentId &&
    a.isOurs === b.isOurs &&
    a.isLeft === b.isLeft &&
    a.lastMessageId === b.lastMessageId
  );
}
