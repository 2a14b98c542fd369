/** Something that shows its latest state when it is its turn. */
export interface Painter {
  /** Whether a person still sees nothing of it: such painters go first. */
  readonly isFirst: boolean;
  /** Shows the latest state; never rejects. */
  paint(): Promise<void>;
}

/** Platform calls for previews in flight at once; more would only queue at the platform or in our own process. */
const inFlightMax = 48;
/**
 * Previews per second of one process: as many as its time allows. A timer that fires late says that the machine is busy,
 * and then fewer previews leave it time to read the words they show.
 */
const perSecondMax = 400;
const perSecondMin = 60;
const lateMs = 25;
const burst = 80;
/** Shortest time between two looks at what is due. */
const tickMs = 10;

/**
 * Decides when the previews of a process are shown: one timer for all of them, a bound on calls, and those nobody has
 * seen anything of before those that only grow. What is asked for while it waits is shown once, in its latest state.
 */
export class PreviewPump {
  readonly #dueAt = new Map<Painter, number>();
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #inFlight = 0;
  #tokens = burst;
  #perSecond = perSecondMax;
  #filledAt = performance.now();

  /** Shows the painter in `ms` milliseconds, or soon after; replaces what was asked for it before. */
  ask(painter: Painter, ms: number): void {
    // The first words of an answer do not wait for a timer while there is room.
    if (ms <= 0 && painter.isFirst && this.#hasRoom()) {
      this.#tokens -= 1;
      this.#start(painter);
      return;
    }
    const at = performance.now() + Math.max(0, ms);
    this.#dueAt.set(painter, at);
    this.#wakeAt(at);
  }

  /** Forgets what was asked for a painter. */
  forget(painter: Painter): void {
    this.#dueAt.delete(painter);
  }

  #hasRoom(): boolean {
    this.#refill(performance.now());
    return this.#tokens >= 1 && this.#inFlight < inFlightMax;
  }

  #refill(now: number): void {
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#filledAt) * this.#perSecond) / 1000);
    this.#filledAt = now;
  }

  #wakeAt(at: number): void {
    if (at >= this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = at;
    this.#timer = setTimeout(() => this.#tick(), Math.max(0, at - performance.now()));
  }

  #tick(): void {
    const now = performance.now();
    const isLate = now - this.#timerAt > lateMs;
    this.#perSecond = isLate
      ? Math.max(perSecondMin, this.#perSecond * 0.9)
      : Math.min(perSecondMax, this.#perSecond + 2);
    this.#timerAt = Number.POSITIVE_INFINITY;
    this.#refill(now);
    const due: { readonly painter: Painter; readonly at: number }[] = [];
    let nextAt = Number.POSITIVE_INFINITY;
    for (const [painter, at] of this.#dueAt) {
      if (at <= now) due.push({ painter, at });
      else if (at < nextAt) nextAt = at;
    }
    due.sort((a, b) => Number(b.painter.isFirst) - Number(a.painter.isFirst) || a.at - b.at);
    for (const { painter } of due) {
      // A first sign is worth going over the bound a little: what follows waits longer for it.
      const isAllowed = this.#tokens >= 1 || (painter.isFirst && this.#tokens > -burst);
      if (this.#inFlight >= inFlightMax || !isAllowed) {
        nextAt = Math.min(nextAt, now + tickMs);
        break;
      }
      this.#tokens -= 1;
      this.#start(painter);
    }
    if (nextAt < Number.POSITIVE_INFINITY) this.#wakeAt(nextAt);
  }

  #start(painter: Painter): void {
    this.#dueAt.delete(painter);
    this.#inFlight += 1;
    void painter.paint().finally(() => {
      this.#inFlight -= 1;
    });
  }
}
