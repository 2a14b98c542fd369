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
const sweepRowsMax = 200;

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

  constructor(deps: ReceiveDeps, channel: Channel) {
    this.#deps = deps;
    this.#channel = channel;
  }

  /** Resolves when the events are committed; routing goes on behind it. */
  readonly ingest: Ingest = async (events) => {
    failpoint('inbox.before');
    const rows = await insertRawEvents(this.#deps.db, this.#channel, events);
    failpoint('inbox.committed');
    for (const row of rows) this.#take(row);
  };

  /** Takes up what a crash left behind, until the signal aborts. */
  async sweep(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#sweepOnce().catch((err: unknown) => this.#deps.log.warn({ err }, 'inbox could not be swept'));
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, sweepMs);
        signal.addEventListener(
          'abort',
          () => {
            clearTimeout(timer);
            resolve();
          },
          { once: true },
        );
      });
    }
    await this.drain();
  }

  /** Waits for every routing that has begun. */
  async drain(): Promise<void> {
    await Promise.allSettled(this.#tails.values());
  }

  async #sweepOnce(): Promise<void> {
    const { db } = this.#deps;
    const limits = { olderThanMs: pendingMs, attemptsMax, rowsMax: sweepRowsMax };
    for (const row of await findPendingEvents(db, this.#channel, limits)) this.#take(row);
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

  async #route(row: InboxRow, events: readonly InboundEvent[]): Promise<void> {
    const { db, log, route } = this.#deps;
    try {
      const event = events[0];
      if (event === undefined) await markEvent(db, row.id, 'ignored');
      else await route(row.id, event);
      failpoint('inbox.routed');
    } catch (err) {
      log.warn({ err, inboxId: row.id, attempts: row.attempts + 1 }, 'event could not be routed');
      const text = err instanceof Error ? err.message : String(err);
      await markAttemptFailed(db, row.id, text, attemptsMax).catch((failure: unknown) =>
        log.warn({ err: failure, inboxId: row.id }, 'failed routing could not be recorded'),
      );
    }
  }
}
