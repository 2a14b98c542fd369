/** A refusal of the Web API: `ok: false` with its error string and whatever else the answer holds. */
export class SlackError extends Error {
  readonly extra: Readonly<Record<string, unknown>>;

  constructor(error: string, extra: Readonly<Record<string, unknown>> = {}) {
    super(error);
    this.extra = extra;
  }
}

/** HTTP 429 with the seconds to wait. */
export class SlackThrottled extends Error {
  readonly retryAfter: number;

  constructor(retryAfter: number) {
    super('ratelimited');
    this.retryAfter = retryAfter;
  }
}
