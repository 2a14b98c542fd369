import { BotApiError } from './bot-api-error.ts';

export interface Update extends Record<string, unknown> {
  readonly update_id: number;
}

interface Waiter {
  readonly limit: number;
  readonly allowed: readonly string[] | undefined;
  readonly resolve: (updates: Update[]) => void;
  readonly reject: (err: Error) => void;
  readonly timer: NodeJS.Timeout;
}

/**
 * Updates waiting for the bot. As on the real server, `offset` confirms everything below it, everything from it on is
 * delivered again, and a second poller ends the first with 409.
 */
export class UpdateQueue {
  #updates: Update[] = [];
  readonly #repeats: Update[] = [];
  #lastDelivered: Update[] = [];
  #nextId: number;
  #waiter: Waiter | undefined;
  #isHeld = false;
  /** Called after each new update, for a web hook. */
  onAdd: () => void = () => undefined;
  /** Whether a web hook takes the updates. */
  hasWebhook: () => boolean = () => false;
  /** When each update was handed out first, in milliseconds since the epoch. */
  readonly deliveredAt = new Map<number, number>();
  /** From its beginning to the poll that confirmed it, of each update, in milliseconds. */
  readonly confirmDelays: number[] = [];
  readonly #addedAt = new Map<number, number>();

  constructor(firstId = 1_000) {
    this.#nextId = firstId;
  }

  /** Updates the bot has not confirmed. */
  get pending(): number {
    return this.#updates.length;
  }

  get lastId(): number {
    return this.#nextId - 1;
  }

  add(content: Record<string, unknown>): number {
    const update = { update_id: this.#nextId, ...content };
    this.#nextId += 1;
    this.#updates.push(update);
    this.#addedAt.set(update.update_id, performance.now());
    this.#wake();
    this.onAdd();
    return update.update_id;
  }

  /** Hands out what `work` adds in one answer, as the server does with what comes in one go. */
  together<T>(work: () => T): T {
    this.#isHeld = true;
    try {
      return work();
    } finally {
      this.#isHeld = false;
      this.#wake();
    }
  }

  /** What a web hook has still to deliver; kinds that are not asked for are dropped. */
  waiting(allowed: readonly string[] | undefined): readonly Update[] {
    this.#dropUnasked(allowed);
    return this.#updates;
  }

  confirm(updateId: number): void {
    this.#updates = this.#updates.filter((update) => update.update_id !== updateId);
  }

  #confirmBelow(offset: number): void {
    const now = performance.now();
    for (const { update_id: id } of this.#updates) {
      const at = this.#addedAt.get(id);
      if (id >= offset || at === undefined) continue;
      this.confirmDelays.push(now - at);
      this.#addedAt.delete(id);
    }
    this.#updates = this.#updates.filter((update) => update.update_id >= offset);
  }

  confirmAll(): void {
    this.#updates = [];
  }

  /** The newest delivered updates come again, whatever the bot has confirmed. */
  repeat(count = 1): void {
    this.#repeats.push(...this.#lastDelivered.slice(-count));
    this.#wake();
  }

  /** Ends a held poll, as the real server does when a connection goes away. */
  async poll(params: Record<string, unknown>, signal: AbortSignal): Promise<Update[]> {
    if (this.hasWebhook()) {
      throw new BotApiError(
        409,
        "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first",
      );
    }
    const offset = typeof params['offset'] === 'number' ? params['offset'] : 0;
    const limit = typeof params['limit'] === 'number' ? Math.min(Math.max(params['limit'], 1), 100) : 100;
    const timeoutMs = (typeof params['timeout'] === 'number' ? params['timeout'] : 0) * 1_000;
    const allowed = Array.isArray(params['allowed_updates']) ? params['allowed_updates'].map(String) : undefined;
    this.#waiter?.reject(
      new BotApiError(
        409,
        'Conflict: terminated by other getUpdates request; make sure that only one bot instance is running',
      ),
    );
    this.#waiter = undefined;
    if (offset > 0) this.#confirmBelow(offset);
    const ready = this.#take(limit, allowed);
    if (ready.length > 0 || timeoutMs === 0) return ready;
    return new Promise((resolve, reject) => {
      const finish = (): void => {
        clearTimeout(waiter.timer);
        if (this.#waiter === waiter) this.#waiter = undefined;
      };
      const waiter: Waiter = {
        limit,
        allowed,
        resolve: (updates) => {
          finish();
          resolve(updates);
        },
        reject: (err) => {
          finish();
          reject(err);
        },
        timer: setTimeout(() => waiter.resolve([]), timeoutMs),
      };
      this.#waiter = waiter;
      signal.addEventListener('abort', () => waiter.resolve([]), { once: true });
    });
  }

  /** Ends a held poll with nothing, for shutdown. */
  close(): void {
    this.#waiter?.resolve([]);
  }

  #wake(): void {
    const waiter = this.#waiter;
    if (waiter === undefined || this.#isHeld) return;
    const ready = this.#take(waiter.limit, waiter.allowed);
    if (ready.length > 0) waiter.resolve(ready);
  }

  #take(limit: number, allowed: readonly string[] | undefined): Update[] {
    if (this.#repeats.length > 0) return this.#repeats.splice(0, limit);
    this.#dropUnasked(allowed);
    const ready = this.#updates.slice(0, limit);
    const now = performance.timeOrigin + performance.now();
    for (const { update_id: id } of ready) if (!this.deliveredAt.has(id)) this.deliveredAt.set(id, now);
    if (ready.length > 0) this.#lastDelivered = ready;
    return ready;
  }

  #dropUnasked(allowed: readonly string[] | undefined): void {
    if (allowed === undefined || allowed.length === 0) return;
    this.#updates = this.#updates.filter((update) => allowed.some((type) => type in update));
  }
}
