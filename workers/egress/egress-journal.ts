import { setTimeout as sleep } from 'node:timers/promises';
import type { EgressRecord } from '#core/egress/egress-record.ts';
import { egressBytesToday, recordEgress } from '#core/egress/record-egress.ts';
import type { Clock } from '#core/kit/clock.ts';
import type { Db } from '#core/kit/database.ts';
import type { Log } from '#core/kit/log.ts';

/** Bounds of one session, tools and sandbox together. */
export interface EgressBounds {
  readonly requestsPerMinute: number;
  /** Sent and received, per day in UTC. */
  readonly bytesPerDay: number;
  /** Sent and received for one turn; no bound unless told. */
  readonly bytesPerTurn?: number;
}

/** Whether a request may be made now. */
export type Admission =
  | { readonly ok: true; readonly bytesLeft: number }
  | { readonly ok: false; readonly reason: string; readonly retryAfterSeconds: number };

const batchMax = 50;
/** Records that may wait for the database. Beyond, nothing goes out: what is not recorded must not happen. */
const pendingMax = 2_000;
const retryMs = 1_000;
const minuteMs = 60_000;
/** Other workers may have worked for the session: the count is read again after this time. */
const countedMs = 60_000;
/** How long a stopping worker tries to write what is left. */
const closingMs = 5_000;

interface Account {
  /** Requests that may still be made in this minute, growing back evenly. */
  tokens: number;
  filledAt: number;
  /** Bytes of today that are in the database, and those that are on their way there or still moving. */
  stored: number;
  unsaved: number;
  countedAt: number;
  /** The reading of `stored` that is going on or was last. */
  counting: Promise<void>;
  day: string;
  turnId: string | undefined;
  turnBytes: number;
  /** A refusal for pace is on record in this minute: a loop must not fill the audit. */
  toldAt: number;
}

/** Keeps the record of all requests to the outside of one worker, and the bounds that are counted by it. */
export class EgressJournal implements AsyncDisposable {
  readonly #deps: { readonly db: Db; readonly log: Log; readonly clock: Clock };
  readonly #bounds: EgressBounds;
  readonly #accounts = new Map<string, Account>();
  #pending: EgressRecord[] = [];
  #writing: Promise<void> | undefined;
  readonly #closing = new AbortController();

  constructor(deps: { readonly db: Db; readonly log: Log; readonly clock: Clock }, bounds: EgressBounds) {
    this.#deps = deps;
    this.#bounds = bounds;
  }

  /** Takes one request into account and says whether it may be made. Refusals are put on record here. */
  async admit(
    record: Pick<EgressRecord, 'sessionId' | 'turnId' | 'agent' | 'from' | 'method' | 'host' | 'port' | 'path'>,
  ): Promise<Admission> {
    if (this.#pending.length >= pendingMax) {
      return {
        ok: false,
        reason: 'Requests cannot be put on record at the moment; try again soon.',
        retryAfterSeconds: 10,
      };
    }
    const account = await this.#accountOf(record.sessionId);
    const now = this.#deps.clock.now().getTime();
    const { requestsPerMinute, bytesPerDay } = this.#bounds;
    account.tokens = Math.min(
      requestsPerMinute,
      account.tokens + ((now - account.filledAt) / minuteMs) * requestsPerMinute,
    );
    account.filledAt = now;
    const refuse = (reason: string, retryAfterSeconds: number): Admission => {
      if (now - account.toldAt >= minuteMs) {
        account.toldAt = now;
        this.record({ ...record, verdict: 'refused', reason, sentBytes: 0, receivedBytes: 0, tookMs: 0 });
      }
      return { ok: false, reason, retryAfterSeconds };
    };
    if (account.tokens < 1) {
      return refuse(`More than ${requestsPerMinute} requests a minute; slow down.`, Math.ceil(60 / requestsPerMinute));
    }
    if (record.turnId !== undefined && record.turnId !== account.turnId) {
      account.turnId = record.turnId;
      account.turnBytes = 0;
    }
    const { bytesPerTurn = Number.POSITIVE_INFINITY } = this.#bounds;
    if (account.turnBytes >= bytesPerTurn) {
      return refuse(`The ${bytesPerTurn} bytes one turn may move are used up.`, 60);
    }
    const bytesLeft = bytesPerDay - account.stored - account.unsaved;
    if (bytesLeft <= 0) {
      return refuse(
        `The ${bytesPerDay} bytes a session may move in a day are used up; it goes on at midnight UTC.`,
        3600,
      );
    }
    account.tokens -= 1;
    return { ok: true, bytesLeft: Math.min(bytesLeft, bytesPerTurn - account.turnBytes) };
  }

  /** Counts bytes as they move, so that requests side by side share the bounds of turn and day. @returns whether more may move. */
  spend(sessionId: string, bytes: number): boolean {
    const account = this.#accounts.get(sessionId);
    if (account === undefined) return true;
    account.unsaved += bytes;
    account.turnBytes += bytes;
    const { bytesPerDay, bytesPerTurn = Number.POSITIVE_INFINITY } = this.#bounds;
    return account.stored + account.unsaved <= bytesPerDay && account.turnBytes <= bytesPerTurn;
  }

  /**
   * Puts a request on record, whose bytes were spent before; it is in the database soon after, in the order of the
   * calls.
   */
  record(record: EgressRecord): void {
    this.#pending.push(record);
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
    });
  }

  /** Resolves when everything on record so far is in the database. */
  async settled(): Promise<void> {
    await this.#writing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const timer = setTimeout(() => this.#closing.abort(), closingMs);
    await this.#writing;
    clearTimeout(timer);
    this.#closing.abort();
  }

  async #write(): Promise<void> {
    while (this.#pending.length > 0) {
      const batch = this.#pending.slice(0, batchMax);
      try {
        await recordEgress(this.#deps, batch);
        this.#pending = this.#pending.slice(batch.length);
        for (const { sessionId, sentBytes, receivedBytes } of batch) {
          const account = this.#accounts.get(sessionId);
          if (account === undefined) continue;
          account.stored += sentBytes + receivedBytes;
          account.unsaved -= sentBytes + receivedBytes;
        }
      } catch (err) {
        this.#deps.log.error({ err, waiting: this.#pending.length }, 'requests to the outside could not be recorded');
        if (this.#closing.signal.aborted) {
          // The log is the last place that can have them.
          for (const record of this.#pending)
            this.#deps.log.error({ record }, 'request to the outside without a record');
          this.#pending = [];
          return;
        }
        await sleep(retryMs, undefined, { signal: this.#closing.signal }).catch(() => undefined);
      }
    }
  }

  async #accountOf(sessionId: string): Promise<Account> {
    const at = this.#deps.clock.now();
    const now = at.getTime();
    const day = at.toISOString().slice(0, 10);
    const known = this.#accounts.get(sessionId);
    if (known !== undefined && now - known.countedAt < countedMs && known.day === day) {
      await known.counting;
      return known;
    }
    for (const [id, account] of this.#accounts) {
      if (account.unsaved <= 0 && now - account.filledAt > 2 * countedMs) this.#accounts.delete(id);
    }
    const account: Account = known ?? {
      tokens: this.#bounds.requestsPerMinute,
      filledAt: now,
      stored: 0,
      unsaved: 0,
      countedAt: now,
      counting: Promise.resolve(),
      day,
      turnId: undefined,
      turnBytes: 0,
      toldAt: 0,
    };
    this.#accounts.set(sessionId, account);
    account.countedAt = now;
    account.day = day;
    account.counting = egressBytesToday(this.#deps, sessionId).then((bytes) => {
      account.stored = bytes;
    });
    try {
      await account.counting;
    } catch (err) {
      // The next one asks again.
      account.countedAt = 0;
      throw err;
    }
    return account;
  }
}
