import type { Log } from '#core/kit/log.ts';
import type { Hook } from './hook.ts';
import type { HookNews } from './hook-news.ts';

/** News a hook may be behind; further ones are dropped until it has caught up. */
const waitingMax = 1_000;
/** How long a worker that stops waits for hooks to take what is left. */
const drainMs = 2_000;

/**
 * Tells one hook what happened, one thing after the other, in the order it happened. Whoever has news is never held up:
 * a hook that is too slow loses news, and the log says how many.
 */
export class NewsQueue implements AsyncDisposable {
  readonly #log: Log;
  readonly #hook: Hook;
  readonly #tell: (news: HookNews) => Promise<void>;
  #waiting: HookNews[] = [];
  #droppedCount = 0;
  #running: Promise<void> | undefined;
  #isClosed = false;

  /** @param tell gives the hook its time and no more, and never rejects. */
  constructor(deps: { readonly log: Log }, hook: Hook, tell: (news: HookNews) => Promise<void>) {
    this.#log = deps.log;
    this.#hook = hook;
    this.#tell = tell;
  }

  push(news: HookNews): void {
    if (this.#isClosed) return;
    if (this.#waiting.length >= waitingMax) {
      this.#droppedCount++;
      if (this.#droppedCount === 1) {
        this.#log.warn({ hook: this.#hook.name, waitingMax }, 'hook is too slow: news for it are dropped');
      }
      return;
    }
    this.#waiting.push(news);
    this.#running ??= this.#run();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, drainMs);
    await Promise.race([this.#running, late.promise]);
    clearTimeout(timer);
    this.#isClosed = true;
    const lost = this.#waiting.length;
    this.#waiting = [];
    if (lost > 0) this.#log.warn({ hook: this.#hook.name, lost }, 'worker stopped before a hook had taken all news');
  }

  async #run(): Promise<void> {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) await this.#tell(next);
    this.#running = undefined;
    if (this.#droppedCount === 0) return;
    this.#log.warn({ hook: this.#hook.name, dropped: this.#droppedCount }, 'hook has caught up; news were dropped');
    this.#droppedCount = 0;
  }
}
