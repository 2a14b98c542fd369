import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import type { Clock } from '#core/kit/clock.ts';
import type { Log } from '#core/kit/log.ts';
import type { Ingest, RawEvent } from '../channel.ts';
import type { DiscordApi } from './discord-api.ts';
import { classifyDiscordError, DiscordFailure } from './discord-errors.ts';
import type { Dispatch, DispatchReader, ReadEvent } from './dispatch-reader.ts';
import { idAt } from './interaction-ref.ts';
import { channelSchema, type PlaceBook, type SeenChannel } from './place-book.ts';
import type { Place } from './place-store.ts';

/** Events stored at once. */
const batchMax = 500;
const waitingMaxDefault = 20_000;
const retryMinMs = 100;
const retryMaxMs = 5_000;
const flushMs = 1_000;
/** What was missed is asked for as far back as this, and no more pages of 100 of one channel than this. */
const missedMs = 24 * 3_600_000;
const pagesMax = 10;
/** Private conversations and threads of ours that are asked about after a restart, the latest first. */
const placesAskedMax = 200;
const roomsAtOnce = 8;

/** Kinds of channels in which messages are written. */
const textTypes: ReadonlySet<number> = new Set([0, 2, 5, 10, 11, 12, 13]);

const guildSchema = z.object({
  id: z.string(),
  unavailable: z.boolean().optional(),
  joined_at: z.string().optional(),
  channels: z.array(z.unknown()).default([]),
  threads: z.array(z.unknown()).default([]),
});
const readySchema = z.object({ guilds: z.array(z.object({ id: z.string() })).default([]) });
const idSchema = z.object({ id: z.string(), guild_id: z.string().optional() });

export interface FeedDeps {
  readonly api: DiscordApi;
  readonly places: PlaceBook;
  readonly reader: DispatchReader;
  readonly log: Log;
  readonly clock: Clock;
  /** Beyond this many waiting events messages are left to be asked for again: an outage must not fill the memory. */
  readonly waitingMax?: number | undefined;
  /** Says that events arrive and cannot be stored, or can again. */
  readonly reportStoring: (isStoring: boolean) => void;
}

/**
 * Stores what the gateway says, in its order. Discord takes no receipt and sends nothing twice, so an event that cannot
 * be stored is kept here until it can; what was said while nobody listened is asked for by REST, before anything newer
 * is stored.
 */
export class GatewayFeed {
  readonly #deps: FeedDeps;
  #waiting: Dispatch[] = [];
  #urgent: { readonly event: RawEvent; readonly stored: () => void }[] = [];
  #wakeWaiting: (() => void) | undefined;
  #wakeUrgent: (() => void) | undefined;
  #hasDropped = false;
  #flushedAt = 0;

  constructor(deps: FeedDeps) {
    this.#deps = deps;
  }

  /** Takes a dispatch; it is stored behind those before it. */
  push(dispatch: Dispatch): void {
    if (
      dispatch.t === 'MESSAGE_CREATE' &&
      (this.#hasDropped || this.#waiting.length >= (this.#deps.waitingMax ?? waitingMaxDefault))
    ) {
      // Once one is left out, the newer ones are too: each stored message says that all before it are.
      this.#hasDropped = true;
      return;
    }
    this.#waiting.push(dispatch);
    this.#wakeWaiting?.();
  }

  /** Takes an event somebody waits for, which must not stand behind a long catch-up. `stored` is called after commit. */
  pushUrgent(event: RawEvent, stored: () => void): void {
    this.#urgent.push({ event, stored });
    this.#wakeUrgent?.();
  }

  /** Stores until the signal aborts. What waits then is lost with this process, or asked for again by the next one. */
  async run(ingest: Ingest, signal: AbortSignal): Promise<void> {
    const wake = (): void => {
      this.#wakeWaiting?.();
      this.#wakeUrgent?.();
    };
    signal.addEventListener('abort', wake);
    this.#waiting = [];
    this.#urgent = [];
    try {
      await this.#patiently('places could not be read', async () => await this.#deps.places.load(), signal);
      await Promise.all([this.#drainWaiting(ingest, signal), this.#drainUrgent(ingest, signal)]);
    } finally {
      signal.removeEventListener('abort', wake);
      await this.#deps.places.flush();
    }
  }

  async #drainUrgent(ingest: Ingest, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const batch = this.#urgent.splice(0, batchMax);
      if (batch.length === 0) {
        await new Promise<void>((resolve) => {
          this.#wakeUrgent = resolve;
          if (signal.aborted) resolve();
        });
        continue;
      }
      const isStored = await this.#store(
        ingest,
        batch.map(({ event }) => event),
        signal,
      );
      if (isStored) for (const { stored } of batch) stored();
    }
  }

  async #drainWaiting(ingest: Ingest, signal: AbortSignal): Promise<void> {
    let batch: ReadEvent[] = [];
    while (!signal.aborted) {
      const next = this.#waiting[0];
      if (batch.length >= batchMax || (batch.length > 0 && (next === undefined || isTurningPoint(next.t)))) {
        await this.#storeRead(ingest, batch, signal);
        batch = [];
        continue;
      }
      if (next === undefined) {
        await this.#rest(ingest, signal);
        continue;
      }
      this.#waiting.shift();
      try {
        if (isTurningPoint(next.t)) await this.#turn(next, ingest, signal);
        else batch.push(...(await this.#deps.reader.read(next)));
      } catch (err) {
        // One event in a shape nobody foresaw must not end the feed.
        this.#deps.log.error({ err, dispatch: next.t }, 'discord event could not be read');
      }
    }
  }

  /** Nothing waits: catches up with what was dropped, writes how far we are, and sleeps. */
  async #rest(ingest: Ingest, signal: AbortSignal): Promise<void> {
    if (this.#hasDropped) {
      this.#hasDropped = false;
      await this.#catchUpAll(latest(this.#deps.places.all()), ingest, signal);
      return;
    }
    if (this.#deps.places.hasUrgent || performance.now() - this.#flushedAt > flushMs) await this.#flush();
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#wakeWaiting = resolve;
      timer = setInterval(() => void this.#flush(), flushMs);
      if (signal.aborted || this.#waiting.length > 0) resolve();
    });
    clearInterval(timer);
  }

  async #flush(): Promise<void> {
    this.#flushedAt = performance.now();
    await this.#deps.places.flush();
  }

  /** Dispatches that change what is known of rooms; they are taken one by one, between the messages around them. */
  async #turn(dispatch: Dispatch, ingest: Ingest, signal: AbortSignal): Promise<void> {
    const { places } = this.#deps;
    switch (dispatch.t) {
      case 'READY':
        return await this.#onReady(dispatch, ingest, signal);
      case 'GUILD_CREATE':
        return await this.#onGuild(dispatch, ingest, signal);
      case 'GUILD_DELETE': {
        const guild = guildSchema.safeParse(dispatch.d).data;
        // An outage of the server is not the end of our membership.
        if (guild === undefined || guild.unavailable === true) return;
        return await this.#leave(places.inGuild(guild.id), dispatch, ingest, signal);
      }
      case 'CHANNEL_DELETE':
      case 'THREAD_DELETE': {
        const gone = idSchema.safeParse(dispatch.d).data;
        const place = gone === undefined ? undefined : places.get(gone.id);
        if (place !== undefined) await this.#leave([place], dispatch, ingest, signal);
        return;
      }
      case 'THREAD_LIST_SYNC': {
        const threads: unknown = z.object({ threads: z.array(z.unknown()) }).safeParse(dispatch.d).data?.threads;
        for (const thread of channelsOf(threads)) this.#noteChannel(thread, undefined);
        return;
      }
      default: {
        const [channel] = channelsOf([dispatch.d]);
        if (channel !== undefined) this.#noteChannel(channel, undefined);
      }
    }
  }

  #noteChannel(channel: SeenChannel, guildId: string | undefined): void {
    if (!textTypes.has(channel.type)) return;
    // What a thread that was just opened begins with may be for us.
    if (channel.newly_created === true) this.#deps.places.note(channel, guildId, '0');
    else this.#deps.places.note(channel, guildId);
  }

  async #onReady(dispatch: Dispatch, ingest: Ingest, signal: AbortSignal): Promise<void> {
    const { places } = this.#deps;
    const ready = readySchema.safeParse(dispatch.d).data;
    if (ready === undefined) return;
    const guilds = new Set(ready.guilds.map(({ id }) => id));
    const lost = places.all().filter(({ guildId }) => guildId !== undefined && !guilds.has(guildId));
    await this.#leave(lost, dispatch, ingest, signal);
    // Nobody says in which private conversations something was said.
    const dms = places.all().filter(({ guildId, isLeft }) => guildId === undefined && !isLeft);
    await this.#catchUpAll(latest(dms), ingest, signal);
  }

  async #onGuild(dispatch: Dispatch, ingest: Ingest, signal: AbortSignal): Promise<void> {
    const { places, reader } = this.#deps;
    const guild = guildSchema.safeParse(dispatch.d).data;
    if (guild === undefined || guild.unavailable === true) return;
    const known = places.inGuild(guild.id);
    const newest = known.reduce((max, { channelId }) => (BigInt(channelId) > max ? BigInt(channelId) : max), 0n);
    const returned = known.filter(({ isLeft, parentId }) => isLeft && parentId === undefined);
    const listed = channelsOf([...guild.channels, ...guild.threads]).filter(({ type }) => textTypes.has(type));
    const missed: Place[] = [];
    for (const channel of listed) {
      // A channel made after every one we knew was made while we were away: all that is in it was missed.
      const isMadeSince = known.length > 0 && BigInt(channel.id) > newest;
      const place = places.note(channel, guild.id, isMadeSince ? '0' : (channel.last_message_id ?? channel.id));
      const last = channel.last_message_id ?? '0';
      if (/^\d+$/.test(last) && BigInt(last) > BigInt(place.lastMessageId)) missed.push(place);
    }
    // Archived threads are not listed, and one of ours may have been written in before it was archived.
    const ids = new Set(listed.map(({ id }) => id));
    missed.push(...latest(known.filter(({ channelId, isOurs, isLeft }) => isOurs && !isLeft && !ids.has(channelId))));
    await this.#catchUpAll(missed, ingest, signal);
    const joined = returned
      .filter(({ channelId }) => ids.has(channelId))
      .map(({ channelId }) =>
        reader.room(channelId, guild.id, 'joined', guild.joined_at ?? dispatch.session, dispatch.at),
      );
    if (joined.length > 0) await this.#store(ingest, joined, signal);
  }

  async #leave(left: readonly Place[], dispatch: Dispatch, ingest: Ingest, signal: AbortSignal): Promise<void> {
    const { places, reader } = this.#deps;
    const gone = left.filter(({ isLeft }) => !isLeft);
    // Only rooms are left; a thread has no state of its own.
    const rooms = gone.filter(({ parentId }) => parentId === undefined);
    const key = `${dispatch.session}:${dispatch.s}`;
    const events = rooms.map(({ channelId, guildId }) => reader.room(channelId, guildId, 'left', key, dispatch.at));
    if (events.length > 0 && !(await this.#store(ingest, events, signal))) return;
    for (const { channelId } of gone) places.markLeft(channelId);
  }

  /** Several rooms side by side; within one, in order. */
  async #catchUpAll(missed: readonly Place[], ingest: Ingest, signal: AbortSignal): Promise<void> {
    const left = [...missed];
    const work = async (): Promise<void> => {
      for (let place = left.shift(); place !== undefined; place = left.shift()) {
        await this.#catchUp(place, ingest, signal);
      }
    };
    await Promise.all(Array.from({ length: roomsAtOnce }, work));
  }

  /** Asks for the messages after the last one we have, and stores them. */
  async #catchUp(place: Place, ingest: Ingest, signal: AbortSignal): Promise<void> {
    const { api, places, reader, clock, log } = this.#deps;
    const { channelId, guildId } = place;
    const oldest = idAt(clock.now().getTime() - missedMs);
    let after = BigInt(place.lastMessageId) > BigInt(oldest) ? place.lastMessageId : oldest;
    for (let page = 0; page < pagesMax && !signal.aborted; page += 1) {
      const messages = await this.#patiently(
        'missed messages could not be asked for',
        async () => await this.#askFor(channelId, after, signal),
        signal,
      );
      if (messages === undefined || messages.length === 0) return;
      const read: ReadEvent[] = [];
      for (const message of messages) {
        const full =
          typeof message === 'object' && message !== null && guildId !== undefined
            ? { ...message, guild_id: guildId }
            : message;
        const rolesOf = async (guild: string, user: string) => await api.rolesOf(guild, user).catch(() => undefined);
        read.push(...(await reader.message(full, clock.now().getTime(), rolesOf)));
      }
      await this.#storeRead(ingest, read, signal);
      const last = read.at(-1)?.seen?.messageId;
      log.info({ channelId, messages: messages.length }, 'missed messages were fetched');
      if (messages.length < 100 || last === undefined) return;
      after = last;
    }
    if (!signal.aborted) log.warn({ channelId, places: places.all().length }, 'more was missed than is fetched');
  }

  /** @returns nothing for a channel that is gone or closed to us; @throws what may heal by itself. */
  async #askFor(channelId: string, after: string, signal: AbortSignal): Promise<readonly unknown[] | undefined> {
    try {
      return await this.#deps.api.messagesAfter(channelId, after, signal);
    } catch (err) {
      const { kind, reason } = classifyDiscordError(err);
      if (kind === 'retry' || kind === 'throttled') throw err;
      this.#deps.log.debug({ channelId, reason }, 'channel cannot be read');
      return undefined;
    }
  }

  async #storeRead(ingest: Ingest, read: readonly ReadEvent[], signal: AbortSignal): Promise<void> {
    const events = read.flatMap(({ event }) => event ?? []);
    // First the place, then what was said there: a crash in between leaves something to ask about.
    if (this.#deps.places.hasUrgent) await this.#flush();
    if (events.length > 0 && !(await this.#store(ingest, events, signal))) return;
    for (const { seen } of read) if (seen !== undefined) this.#deps.places.saw(seen.channelId, seen.messageId);
    if (performance.now() - this.#flushedAt > flushMs) await this.#flush();
  }

  /** @returns false only when the signal aborted before it was possible. */
  async #store(ingest: Ingest, events: readonly RawEvent[], signal: AbortSignal): Promise<boolean> {
    for (let waitMs = retryMinMs; ; waitMs = Math.min(waitMs * 2, retryMaxMs)) {
      try {
        await ingest(events);
        this.#deps.reportStoring(true);
        return true;
      } catch (err) {
        this.#deps.reportStoring(false);
        this.#deps.log.warn({ err, events: events.length }, 'discord events could not be stored');
        if (signal.aborted) return false;
        await pause(waitMs, signal);
      }
    }
  }

  async #patiently<T>(trouble: string, work: () => Promise<T>, signal: AbortSignal): Promise<T | undefined> {
    for (let waitMs = retryMinMs; !signal.aborted; waitMs = Math.min(waitMs * 2, retryMaxMs)) {
      try {
        return await work();
      } catch (err) {
        const throttleMs = err instanceof DiscordFailure ? err.afterMs : undefined;
        if (throttleMs === undefined) this.#deps.log.warn({ err }, trouble);
        await pause(throttleMs ?? waitMs, signal);
      }
    }
    return undefined;
  }
}

const turningPoints: ReadonlySet<string> = new Set([
  'READY',
  'GUILD_CREATE',
  'GUILD_DELETE',
  'CHANNEL_CREATE',
  'CHANNEL_UPDATE',
  'CHANNEL_DELETE',
  'THREAD_CREATE',
  'THREAD_UPDATE',
  'THREAD_DELETE',
  'THREAD_LIST_SYNC',
]);

function isTurningPoint(name: string): boolean {
  return turningPoints.has(name);
}

function channelsOf(list: unknown): SeenChannel[] {
  if (!Array.isArray(list)) return [];
  return list.flatMap((item) => channelSchema.safeParse(item).data ?? []);
}

function latest(places: readonly Place[]): Place[] {
  return [...places]
    .sort((a, b) => (BigInt(a.lastMessageId) < BigInt(b.lastMessageId) ? 1 : -1))
    .slice(0, placesAskedMax);
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined);
}
