import { setTimeout as delay } from 'node:timers/promises';
import { ignoreEvent } from '#core/inbox/ignore-event.ts';
import type { InboundEvent } from '#core/inbox/inbound.ts';
import { findPendingEvents, type InboxRow, insertRawEvents, markAttemptFailed } from '#core/inbox/inbox-store.ts';
import { joinEvents, rawsOf } from '#core/inbox/join-store.ts';
import { coalesce } from '#core/kit/coalesce.ts';
import type { Db } from '#core/kit/database.ts';
import { failpoint } from '#core/kit/failpoint.ts';
import { toWellFormed } from '#core/kit/json.ts';
import type { Log } from '#core/kit/log.ts';
import type { Channel, Ingest, RawEvent } from './channel.ts';
import { addressedOf, mergeAlbum } from './merge-album.ts';
import { ThreadLines, type Waiting } from './thread-lines.ts';

/** Tries before an event that cannot be routed is set aside for the operator. */
const attemptsMax = 5;
/** An event still pending after this long was left behind by a crash or failed; the sweep takes it up. */
const pendingMs = 3000;
const sweepMs = 1000;
const rowsMax = 200;
const retryBaseMs = 200;
const retryMaxMs = 2000;
/** Arrivals that share a commit. */
const callsMax = 200;
/** A piece that comes later than its album is still addressed as the album was, for this long. */
const albumKnownMs = 60_000;

export interface ReceiveDeps {
  readonly db: Db;
  readonly log: Log;
  readonly route: (inboxId: string, event: InboundEvent) => Promise<void>;
}

/** One channel's way in: store, confirm, route; in order within a thread, side by side between threads. */
export class EventReceiver {
  readonly #deps: ReceiveDeps;
  readonly #channel: Channel;
  readonly #lines: ThreadLines;
  /** Albums that were routed lately, and how they addressed us; keys are of thread and album. */
  readonly #albums = new Map<string, { readonly addressed: ReturnType<typeof addressedOf>; readonly until: number }>();
  readonly #taken = new Set<string>();
  /** Stores events together with those that arrive at the same time; one batch after the other, to keep their order. */
  readonly #store: (events: readonly RawEvent[]) => Promise<InboxRow[]>;
  readonly #stopping = new AbortController();
  #recovered: Promise<void> = Promise.resolve();

  constructor(deps: ReceiveDeps, channel: Channel) {
    this.#deps = deps;
    this.#channel = channel;
    this.#lines = new ThreadLines({
      settle: async (item, where) => await this.#settle(item, where),
      signal: this.#stopping.signal,
    });
    this.#store = coalesce(async (calls) => splitRows(calls, await insertRawEvents(deps.db, channel, calls.flat())), {
      batchMax: callsMax,
    });
  }

  /** Resolves when the events are committed; routing goes on behind it. */
  readonly ingest: Ingest = async (events) => {
    failpoint('inbox.before');
    const rows = await this.#store(events);
    failpoint('inbox.committed');
    await this.#recovered;
    for (const row of rows) this.#take(row);
  };

  /**
   * To be called before a channel is connected: everything an earlier process stored and did not route is taken up
   * first. What comes in next would otherwise overtake the older events of its thread.
   */
  open(signal: AbortSignal): void {
    this.#recovered = this.#recover(signal);
  }

  /** Takes up what other processes left behind, until the signal aborts. */
  async sweep(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        for (const row of await this.#pending({ olderThanMs: pendingMs })) this.#take(row);
      } catch (err) {
        this.#deps.log.warn({ err }, 'inbox could not be swept');
      }
      await pause(sweepMs, signal);
    }
    // What is stored and not begun is the next process's to route, in the same order.
    this.#stopping.abort();
    await this.#lines.idle();
  }

  async #recover(signal: AbortSignal): Promise<void> {
    let afterId: string | undefined;
    while (!signal.aborted) {
      try {
        const page = await this.#pending({ olderThanMs: 0, ...(afterId === undefined ? {} : { afterId }) });
        for (const row of page) this.#take(row);
        if (page.length < rowsMax) return;
        afterId = page.at(-1)?.id;
      } catch (err) {
        this.#deps.log.warn({ err }, 'inbox could not be read');
        await pause(sweepMs, signal);
      }
    }
  }

  async #pending(which: { readonly olderThanMs: number; readonly afterId?: string }): Promise<InboxRow[]> {
    return await findPendingEvents(this.#deps.db, this.#channel, { attemptsMax, rowsMax, ...which });
  }

  #take(row: InboxRow): void {
    if (this.#taken.has(row.id)) return;
    this.#taken.add(row.id);
    this.#lines.add(row, this.#normalise(row.id, rawsOf(row.raw))[0]);
  }

  #normalise(inboxId: string, raws: readonly unknown[]): readonly InboundEvent[] {
    try {
      return mergeAlbum(raws.flatMap((raw) => this.#channel.normalise(raw)));
    } catch (err) {
      this.#deps.log.error({ err, inboxId }, 'event could not be read');
      return [];
    }
  }

  /** Tries in place until the item is routed or given up: those behind it in its thread must not overtake it. */
  async #settle(item: Waiting, where: { readonly key: string; readonly isLate: boolean }): Promise<void> {
    const [row] = item.rows;
    if (row !== undefined) await this.#routeSurely(row, item, where);
    for (const { id } of item.rows) this.#taken.delete(id);
  }

  async #routeSurely(
    row: InboxRow,
    { rows, event, albumId }: Waiting,
    { key, isLate }: { readonly key: string; readonly isLate: boolean },
  ): Promise<void> {
    const { log } = this.#deps;
    const { signal } = this.#stopping;
    for (let retryMs = retryBaseMs; !signal.aborted; retryMs = Math.min(retryMs * 2, retryMaxMs)) {
      try {
        if (albumId !== undefined) await this.#routeAlbum(`${key} ${albumId}`, rows);
        else await this.#route(row.id, isLate && event !== undefined ? { ...event, isLate } : event);
        failpoint('inbox.routed');
        return;
      } catch (err) {
        log.warn({ err, inboxId: row.id }, 'event could not be routed');
        if (!(await this.#countFailure(row, err))) return;
        await pause(retryMs, signal);
      }
    }
  }

  async #route(inboxId: string, event: InboundEvent | undefined): Promise<void> {
    if (event === undefined) await ignoreEvent(this.#deps.db, inboxId);
    else await this.#deps.route(inboxId, event);
  }

  /** Routes the pieces that are pending as one; a piece that comes after its album follows as its own message. */
  async #routeAlbum(albumKey: string, rows: readonly InboxRow[]): Promise<void> {
    const joined = await joinEvents(
      this.#deps.db,
      rows.map(({ id }) => id),
    );
    if (joined === undefined) return;
    failpoint('inbox.joined');
    const [event] = this.#normalise(joined.id, joined.raws);
    const now = performance.now();
    for (const [known, { until }] of this.#albums) if (until <= now) this.#albums.delete(known);
    const earlier = this.#albums.get(albumKey);
    const isLate = event?.type === 'message' && event.addressed === 'none' && earlier !== undefined;
    await this.#route(joined.id, isLate ? { ...event, addressed: earlier.addressed } : event);
    if (event !== undefined && !isLate) {
      this.#albums.set(albumKey, { addressed: addressedOf([event]), until: now + albumKnownMs });
    }
  }

  /** @returns whether to try again. While the database is away nothing is counted. */
  async #countFailure(row: InboxRow, err: unknown): Promise<boolean> {
    const { db, log } = this.#deps;
    try {
      const text = err instanceof Error ? err.message : String(err);
      const hasTries = await markAttemptFailed(db, row.id, text, attemptsMax);
      if (!hasTries) log.error({ err, inboxId: row.id }, 'event was set aside');
      return hasTries;
    } catch (failure) {
      log.warn({ err: failure, inboxId: row.id }, 'failed routing could not be recorded');
      return true;
    }
  }
}

/** The new rows of each call; of a key that two brought, the first has it. */
function splitRows(calls: readonly (readonly RawEvent[])[], rows: readonly InboxRow[]): InboxRow[][] {
  const byKey = new Map(rows.map((row) => [row.dedupKey, row]));
  return calls.map((events) =>
    events.flatMap(({ dedupKey }) => {
      const key = toWellFormed(dedupKey);
      const row = byKey.get(key);
      byKey.delete(key);
      return row === undefined ? [] : [row];
    }),
  );
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined);
}
