import { setTimeout as delay } from 'node:timers/promises';
import type { InboundEvent } from '#core/inbox/inbound.ts';
import {
  findPendingEvents,
  type InboxRow,
  insertRawEvents,
  markAttemptFailed,
  markEvent,
} from '#core/inbox/inbox-store.ts';
import type { Db } from '#core/kit/database.ts';
import { failpoint } from '#core/kit/failpoint.ts';
import type { Log } from '#core/kit/log.ts';
import { threadKey } from '#core/sessions/origin.ts';
import type { Channel, Ingest } from './channel.ts';

/** Tries before an event that cannot be routed is set aside for the operator. */
const attemptsMax = 5;
/** An event still pending after this long was left behind by a crash or failed; the sweep takes it up. */
const pendingMs = 3000;
const sweepMs = 1000;
const rowsMax = 200;
const retryBaseMs = 200;
const retryMaxMs = 2000;

export interface ReceiveDeps {
  readonly db: Db;
  readonly log: Log;
  readonly route: (inboxId: string, event: InboundEvent) => Promise<void>;
}

/** One channel's way in: store, confirm, route; in order within a thread, side by side between threads. */
export class EventReceiver {
  readonly #deps: ReceiveDeps;
  readonly #channel: Channel;
  /** The last routing of each thread; the next one of that thread waits for it. */
  readonly #tails = new Map<string, Promise<void>>();
  readonly #taken = new Set<string>();
  readonly #stopping = new AbortController();
  #recovered: Promise<void> = Promise.resolve();

  constructor(deps: ReceiveDeps, channel: Channel) {
    this.#deps = deps;
    this.#channel = channel;
  }

  /** Resolves when the events are committed; routing goes on behind it. */
  readonly ingest: Ingest = async (events) => {
    failpoint('inbox.before');
    const rows = await insertRawEvents(this.#deps.db, this.#channel, events);
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
    await Promise.allSettled(this.#tails.values());
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
    const events = this.#normalise(row);
    const key = events[0] === undefined ? row.id : threadKey(events[0].conversation);
    const before = this.#tails.get(key) ?? Promise.resolve();
    const work = before.then(async () => await this.#route(row, events));
    this.#tails.set(key, work);
    void work.finally(() => {
      this.#taken.delete(row.id);
      if (this.#tails.get(key) === work) this.#tails.delete(key);
    });
  }

  #normalise(row: InboxRow): readonly InboundEvent[] {
    try {
      return this.#channel.normalise(row.raw);
    } catch (err) {
      this.#deps.log.error({ err, inboxId: row.id }, 'event could not be read');
      return [];
    }
  }

  /** Tries in place until the event is routed or given up: those behind it in its thread must not overtake it. */
  async #route(row: InboxRow, events: readonly InboundEvent[]): Promise<void> {
    const { db, log, route } = this.#deps;
    const { signal } = this.#stopping;
    for (let retryMs = retryBaseMs; !signal.aborted; retryMs = Math.min(retryMs * 2, retryMaxMs)) {
      try {
        const event = events[0];
        if (event === undefined) await markEvent(db, row.id, 'ignored');
        else await route(row.id, event);
        failpoint('inbox.routed');
        return;
      } catch (err) {
        log.warn({ err, inboxId: row.id }, 'event could not be routed');
        if (!(await this.#countFailure(row, err))) return;
        await pause(retryMs, signal);
      }
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

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined);
}
