/**
 * What one sandbox may make its worker read on average. A hundred busy containers still leave a worker responsive, and
 * no honest toolbox comes near it: command output is cut inside, and files come in frames of 4 MiB.
 */
const bytesPerMs = 64 * 1024;
const framesPerMs = 20;
/** How far a burst may go above it. */
const burstMs = 1_000;

/** Meters bytes and frames of a peer that nobody trusts. */
export class ReadBudget {
  #spentMs = 0;
  #at = performance.now();

  /** Notes what came and returns how many milliseconds to read nothing; 0 within the budget. */
  spend(bytes: number, frames: number): number {
    const now = performance.now();
    this.#spentMs = Math.max(0, this.#spentMs - (now - this.#at));
    this.#at = now;
    this.#spentMs += Math.max(bytes / bytesPerMs, frames / framesPerMs);
    return this.#spentMs > burstMs ? Math.ceil(this.#spentMs - burstMs) : 0;
  }
}
