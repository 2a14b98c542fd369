import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import type { InboundEvent } from '#core/inbox/inbound.ts';
import type { InboxRow } from '#core/inbox/inbox-store.ts';
import { type Conversation, threadKey } from '#core/sessions/origin.ts';
import { ArrivalOrder } from './arrival-order.ts';
import { albumIdOf } from './merge-album.ts';

/** An album is whole when no piece has come for this long; platforms send the pieces within a few hundred ms. */
const albumQuietMs = 1000;
/** No platform's album takes longer or has more pieces; whoever keeps one open would hold up their whole thread. */
const albumMaxMs = 10_000;
const albumPiecesMax = 100;
/** What is older than an event that was routed is known as such for this long. */
const routedKnownMs = 10 * 60_000;
const routedKnownMax = 10_000;

/** Something to be routed: one event, or the pieces of one album. */
export interface Waiting {
  readonly rows: InboxRow[];
  readonly event: InboundEvent | undefined;
  /** Of an album, unique within the thread. */
  readonly albumId: string | undefined;
  /** On the clock of `performance.now()`; an album's moves on with every piece. */
  readyAt: number;
  /** An album waits no longer than this, whatever still comes. */
  readonly latestAt: number;
  /** Lets what waits behind this item in another thread go on. */
  readonly onSettled?: () => void;
}

/** What waits in one thread, in the order in which it will be routed. */
interface Line {
  readonly waiting: Waiting[];
  work: Promise<void>;
}

export interface ThreadLinesOptions {
  /** Routes an item to the end. `isLate`: something that was sent after it has been routed before. */
  readonly settle: (item: Waiting, where: { readonly key: string; readonly isLate: boolean }) => Promise<void>;
  /** When it aborts, what has not begun is left alone. */
  readonly signal: AbortSignal;
}

/**
 * Events in line: one after the other within a thread, side by side between threads. An event waits for the pieces of its
 * album, for those the platform counted before it, and for its room's move to be done.
 */
export class ThreadLines {
  readonly #options: ThreadLinesOptions;
  readonly #lines = new Map<string, Line>();
  readonly #order = new ArrivalOrder();
  /** Rooms that are the new id of another, until the move is done; what is said there already must not overtake it. */
  readonly #moves = new Map<string, Promise<void>>();
  /** The highest count that was routed in each thread, oldest entry first. */
  readonly #routed = new Map<string, { readonly sequence: number; readonly until: number }>();

  constructor(options: ThreadLinesOptions) {
    this.#options = options;
  }

  /** Resolves when nothing is being routed any more. */
  async idle(): Promise<void> {
    await Promise.allSettled([...this.#lines.values()].map(({ work }) => work));
  }

  add(row: InboxRow, event: InboundEvent | undefined): void {
    const key = event === undefined ? row.id : threadKey(event.conversation);
    const line = this.#lines.get(key);
    const now = performance.now();
    const albumId = albumIdOf(event);
    const open = albumId === undefined ? undefined : line?.waiting.find((item) => isOpenFor(item, albumId));
    if (open !== undefined) {
      open.rows.push(row);
      open.readyAt = Math.min(now + albumQuietMs, open.latestAt);
      return;
    }
    const orderedAt = event?.sequence === undefined ? now : this.#order.readyAt(event.sequence, now);
    const readyAt = albumId === undefined ? orderedAt : now + albumQuietMs;
    const item = { rows: [row], event, albumId, readyAt, latestAt: now + albumMaxMs, ...this.#announceMove(event) };
    if (line !== undefined) {
      insertInOrder(line.waiting, item);
      return;
    }
    const opened: Line = { waiting: [item], work: Promise.resolve() };
    this.#lines.set(key, opened);
    opened.work = this.#empty(key, opened);
  }

  async #empty(key: string, line: Line): Promise<void> {
    const { signal, settle } = this.#options;
    while (!signal.aborted) {
      const head = line.waiting[0];
      if (head === undefined) break;
      const waitMs = head.readyAt - performance.now();
      if (waitMs > 0) {
        // What comes meanwhile may belong to the head or before it.
        await delay(waitMs, undefined, { signal }).catch(() => undefined);
        // After a pause of the whole process the timer is due before what has come meanwhile is read.
        await nextTurn();
        continue;
      }
      const move = head.event === undefined ? undefined : this.#moves.get(roomKey(head.event.conversation));
      if (move !== undefined) {
        await move;
        continue;
      }
      line.waiting.shift();
      await settle(head, { key, isLate: this.#isLate(key, head.event?.sequence) });
      head.onSettled?.();
    }
    for (const item of line.waiting) item.onSettled?.();
    this.#lines.delete(key);
  }

  #announceMove(event: InboundEvent | undefined): Pick<Waiting, 'onSettled'> {
    if (event?.type !== 'membership' || event.newRoom === undefined) return {};
    const room = roomKey({ ...event.conversation, room: event.newRoom });
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#moves.set(room, promise);
    return {
      onSettled: () => {
        if (this.#moves.get(room) === promise) this.#moves.delete(room);
        resolve();
      },
    };
  }

  #isLate(key: string, sequence: number | undefined): boolean {
    if (sequence === undefined) return false;
    const now = performance.now();
    for (const [known, { until }] of this.#routed) {
      if (until > now && this.#routed.size <= routedKnownMax) break;
      this.#routed.delete(known);
    }
    const highest = this.#routed.get(key)?.sequence ?? sequence;
    this.#routed.delete(key);
    this.#routed.set(key, { sequence: Math.max(highest, sequence), until: now + routedKnownMs });
    return sequence < highest;
  }
}

function isOpenFor({ albumId, rows }: Waiting, wanted: string): boolean {
  return albumId === wanted && rows.length < albumPiecesMax;
}

function roomKey({ channel, account, room }: Conversation): string {
  return `${channel}:${account}:${room}`;
}

/** Before the first that the platform counted later; what is not counted keeps its place of arrival. */
function insertInOrder(waiting: Waiting[], item: Waiting): void {
  const { sequence } = item.event ?? {};
  const later =
    sequence === undefined
      ? -1
      : waiting.findIndex(({ event }) => (event?.sequence ?? Number.NEGATIVE_INFINITY) > sequence);
  waiting.splice(later === -1 ? waiting.length : later, 0, item);
}
