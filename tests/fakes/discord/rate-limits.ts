/** What one call may cost: as the headers of the answer say, or how long to wait. */
export interface Allowance {
  readonly headers: Readonly<Record<string, string>>;
  /** Seconds to wait; the call was not made. */
  readonly retryAfter?: number;
  readonly isGlobal?: boolean;
}

interface Bucket {
  left: number;
  resetAt: number;
}

interface Rate {
  readonly count: number;
  readonly perMs: number;
}

const globalRate: Rate = { count: 50, perMs: 1_000 };
const ordinary: Rate = { count: 50, perMs: 1_000 };
/** What is known of the real server's buckets; each counts per channel. */
const rates: Readonly<Record<string, Rate>> = {
  createMessage: { count: 5, perMs: 5_000 },
  editMessage: { count: 5, perMs: 5_000 },
  deleteMessage: { count: 5, perMs: 1_000 },
  createReaction: { count: 1, perMs: 250 },
  deleteReaction: { count: 1, perMs: 250 },
  typing: { count: 5, perMs: 5_000 },
};

/** Buckets per route and channel, and one for everything. Interactions have none. */
export class RateLimits {
  readonly #buckets = new Map<string, Bucket>();
  #isEnforced: boolean;
  readonly #stretch: number;
  /** Answers with 401, 403 and 429; ten thousand in ten minutes would bar the address. */
  invalidRequests = 0;

  /** With a `stretch` of 30 the same counts are allowed in thirty times the time, which no slow machine lets pass. */
  constructor(isEnforced: boolean, stretch = 1) {
    this.#isEnforced = isEnforced;
    this.#stretch = stretch;
  }

  enforce(isEnforced: boolean): void {
    this.#isEnforced = isEnforced;
    this.#buckets.clear();
  }

  take(method: string, channelId: string): Allowance {
    if (!this.#isEnforced || method === 'callback' || method.startsWith('webhook')) return { headers: {} };
    const now = Date.now();
    const whole = this.#bucket('global', globalRate, now);
    if (whole.left <= 0) {
      return { headers: { 'x-ratelimit-global': 'true' }, retryAfter: (whole.resetAt - now) / 1_000, isGlobal: true };
    }
    const rate = rates[method] ?? ordinary;
    const bucket = this.#bucket(`${method}:${channelId}`, rate, now);
    const isAllowed = bucket.left > 0;
    if (isAllowed) {
      bucket.left -= 1;
      whole.left -= 1;
    }
    const resetAfter = (bucket.resetAt - now) / 1_000;
    const headers = {
      'x-ratelimit-limit': String(rate.count),
      'x-ratelimit-remaining': String(bucket.left),
      'x-ratelimit-reset': String(bucket.resetAt / 1_000),
      'x-ratelimit-reset-after': String(resetAfter),
      'x-ratelimit-bucket': `bucket${method}`,
    };
    return isAllowed ? { headers } : { headers: { ...headers, 'x-ratelimit-scope': 'user' }, retryAfter: resetAfter };
  }

  #bucket(key: string, rate: Rate, now: number): Bucket {
    const known = this.#buckets.get(key);
    if (known !== undefined && known.resetAt > now) return known;
    const fresh = { left: rate.count, resetAt: now + rate.perMs * this.#stretch };
    this.#buckets.set(key, fresh);
    return fresh;
  }
}
