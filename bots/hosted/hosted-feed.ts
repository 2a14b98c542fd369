import pg from 'pg';
import type { Clock } from '#core/kit/clock.ts';
import type { Log } from '#core/kit/log.ts';
import { type HostedNote, hostedNoteSchema, hostedNotifications, turnNotifications } from './hosted-event.ts';

/** What a follower of one conversation is told. `missed` means that notes may have been lost: read again. */
export type FeedNote = HostedNote | { readonly kind: 'missed' };

export interface HostedFeedOptions {
  /** The database; the feed holds one connection of its own, because LISTEN belongs to a connection. */
  readonly databaseUrl: string;
  readonly log: Log;
  readonly clock: Clock;
}

const reconnectMinMs = 100;
const reconnectMaxMs = 5_000;

/** Hands Postgres notifications to whoever follows a conversation in this process; reconnects on its own. */
export class HostedFeed {
  readonly #options: HostedFeedOptions;
  readonly #listeners = new Map<string, Set<(note: FeedNote) => void>>();
  #isListening = false;

  constructor(options: HostedFeedOptions) {
    this.#options = options;
  }

  /** Whether notes arrive right now. */
  get isListening(): boolean {
    return this.#isListening;
  }

  /** Calls `listener` with every note of one conversation until the returned function is called. */
  subscribe(threadKey: string, listener: (note: FeedNote) => void): () => void {
    const listeners = this.#listeners.get(threadKey) ?? new Set();
    this.#listeners.set(threadKey, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(threadKey) === listeners) this.#listeners.delete(threadKey);
    };
  }

  /** Listens until the signal aborts; a lost connection is made again, with growing pauses up to 5 s. */
  async run(signal: AbortSignal): Promise<void> {
    let pauseMs = reconnectMinMs;
    while (!signal.aborted) {
      const startedAt = this.#options.clock.now().getTime();
      try {
        await this.#listen(signal);
      } catch (err) {
        this.#options.log.warn({ err }, 'feed lost its database connection');
      }
      this.#isListening = false;
      if (signal.aborted) return;
      // A connection that held for a while was a good one: the next try starts at the shortest pause again.
      if (this.#options.clock.now().getTime() - startedAt > reconnectMaxMs) pauseMs = reconnectMinMs;
      await this.#options.clock.sleep(pauseMs, signal).catch(() => undefined);
      pauseMs = Math.min(pauseMs * 2, reconnectMaxMs);
    }
  }

  async #listen(signal: AbortSignal): Promise<void> {
    const client = new pg.Client({
      connectionString: this.#options.databaseUrl,
      application_name: 'switchyard feed',
      keepAlive: true,
    });
    const ended = Promise.withResolvers<void>();
    client.on('error', (err) => ended.reject(err));
    client.on('end', () => ended.resolve());
    client.on('notification', ({ channel, payload }) => this.#dispatch(channel, payload ?? ''));
    // A connection that is given up while it is made may never say so: whoever waits for it is let go here.
    const stop = (): void => {
      ended.resolve();
      void client.end().catch(() => undefined);
    };
    signal.addEventListener('abort', stop, { once: true });
    ended.promise.catch(() => undefined);
    try {
      await Promise.race([client.connect(), ended.promise]);
      if (signal.aborted) return;
      await Promise.race([client.query(`listen ${hostedNotifications}; listen ${turnNotifications}`), ended.promise]);
      this.#isListening = true;
      for (const listeners of this.#listeners.values()) for (const tell of listeners) tell({ kind: 'missed' });
      await ended.promise;
    } finally {
      signal.removeEventListener('abort', stop);
      stop();
    }
  }

  #dispatch(channel: string, payload: string): void {
    const note = parseNote(channel, payload);
    if (note === undefined) {
      this.#options.log.warn({ channel }, 'unreadable notification ignored');
      return;
    }
    for (const tell of this.#listeners.get(note.threadKey) ?? []) tell(note);
  }
}

function parseNote(channel: string, payload: string): HostedNote | undefined {
  try {
    const value: unknown = JSON.parse(payload);
    const kind = channel === turnNotifications ? { kind: 'turn' } : {};
    return hostedNoteSchema.safeParse({ ...(value as object), ...kind }).data;
  } catch {
    return undefined;
  }
}
