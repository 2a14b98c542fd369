/** How long an event waits for those before it; retries of a platform take longer and are not waited for. */
const windowMs = 150;

/**
 * Says how long an event must wait so that one the platform sent earlier, but over another connection, can still be
 * put before it. While the platform's count has no gap nothing waits.
 */
export class ArrivalOrder {
  #highest: number | undefined;
  #gapUntil = 0;

  /** @param now milliseconds, monotonic. @returns when the event may be routed, on the same clock. */
  readyAt(sequence: number, now: number): number {
    const highest = this.#highest;
    if (highest !== undefined && sequence <= highest) return now;
    if (highest === undefined || sequence > highest + 1) this.#gapUntil = now + windowMs;
    this.#highest = sequence;
    return Math.max(now, this.#gapUntil);
  }
}
