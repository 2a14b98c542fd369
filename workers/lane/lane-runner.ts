import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import type { Db } from '#core/kit/database.ts';
import { toAppError } from '#core/kit/errors.ts';
import { failpoint } from '#core/kit/failpoint.ts';
import type { Log } from '#core/kit/log.ts';
import { laneClaimer } from '#core/lanes/claim-turns.ts';
import { findOwnedLanes } from '#core/lanes/find-owned-lanes.ts';
import { turnFinisher } from '#core/lanes/finish-turns.ts';
import {
  type BoundaryRecord,
  type BoundaryVerdict,
  type Claim,
  type ClaimedTurn,
  type FinishRecord,
  type FinishVerdict,
  type LaneLease,
  TurnAbort,
  type TurnAbortKind,
  type TurnOutcome,
} from '#core/lanes/lane.ts';
import { boundaryReacher } from '#core/lanes/reach-boundary.ts';
import type { QueueBackend } from '#core/queue/queue-backend.ts';
import type { WorkerPresence } from './worker-presence.ts';

/** A lane is kept for further turns while less than this was used; then others get their chance. */
const sliceMs = 50;
/** How often a worker compares the lanes it runs with those it owns, and looks for cancels it did not hear. */
const auditMs = 1000;
/** How long a cancel is remembered for a turn whose claim is still on its way here. */
const cancelMemoryMs = 10_000;
/** How long a turn that was told to stop may take before its lane is handed back without it. */
const handBackMs = 1000;
const retryMaxMs = 1000;

/** What a running turn can do on its lane. */
export interface TurnContext {
  readonly lease: LaneLease;
  /** Aborted with a `TurnAbort` when the turn must end: cancelled, fenced off, or the worker's patience is over. */
  readonly signal: AbortSignal;
  /** Aborted when the worker stops: end with `released` at the next boundary that allows it. */
  readonly stopping: AbortSignal;
  /** Records what was done and asks how to go on; `fenced` and `cancelled` also abort `signal`. */
  reachBoundary(record: Omit<BoundaryRecord, 'lease'>): Promise<BoundaryVerdict>;
}

/** The work of one turn, given by the composition. What it throws fails the turn, unless its signal was aborted. */
export type RunTurn = (turn: ClaimedTurn, context: TurnContext) => Promise<TurnOutcome>;

export interface LaneRunnerDeps {
  readonly db: Db;
  readonly log: Log;
  readonly wakes: QueueBackend['wakes'];
  readonly presence: WorkerPresence;
  readonly runTurn: RunTurn;
  /** Told when the end of a turn is on record; `outcome` is what was recorded. Must neither throw nor take long. */
  readonly onEnded?: (turn: ClaimedTurn, outcome: Pick<TurnOutcome, 'state' | 'errorCode'>) => void;
}

export interface LaneRunnerOptions {
  /** Turns at the same time in this process. */
  readonly slots: number;
  /** How long running turns may go on after the stop before their signals abort, in milliseconds. */
  readonly drainMs: number;
}

interface ActiveTurn {
  readonly lease: LaneLease;
  /** Tells the turn to end. One that has lost its lane is not waited for much longer. */
  end(kind: TurnAbortKind): void;
}

const cancelSchema = z.object({ sessionId: z.string(), seq: z.int(), signal: z.literal('cancel') });

/** Takes lanes when the bell rings, runs their turns in order and hands them back. */
export class LaneRunner {
  readonly #deps: LaneRunnerDeps;
  readonly #options: LaneRunnerOptions;
  readonly #claim: (sessionId: string) => Promise<Claim>;
  readonly #finish: (record: FinishRecord) => Promise<FinishVerdict>;
  readonly #reachBoundary: (record: BoundaryRecord) => Promise<BoundaryVerdict>;
  readonly #active = new Map<string, ActiveTurn>();
  /** Cancels heard for turns that are not running here (yet): seq by session. */
  readonly #heardCancels = new Map<string, number>();
  readonly #stopping = new AbortController();

  constructor(deps: LaneRunnerDeps, options: LaneRunnerOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#claim = laneClaimer({ db: deps.db, ownerId: deps.presence.id });
    this.#finish = turnFinisher(deps);
    this.#reachBoundary = boundaryReacher(deps);
  }

  /** Turns running here now. */
  get activeTurns(): number {
    return this.#active.size;
  }

  /** Works until the signal aborts, then until every turn has ended or was handed back. */
  async run(signal: AbortSignal): Promise<void> {
    const { wakes, presence } = this.#deps;
    const stopListening = await presence.listen('lane_ctl', (payload) => this.#hear(payload));
    const ended = new AbortController();
    const drain = () => void this.#drain(ended.signal);
    if (signal.aborted) drain();
    signal.addEventListener('abort', drain, { once: true });
    const audits = this.#audit(ended.signal);
    try {
      await wakes.consume((wake) => this.#answer(wake.sessionId), { concurrency: this.#options.slots, signal });
    } finally {
      stopListening();
      signal.removeEventListener('abort', drain);
      ended.abort();
      await audits;
    }
  }

  async #drain(ended: AbortSignal): Promise<void> {
    this.#stopping.abort();
    await delay(this.#options.drainMs, undefined, { signal: ended }).catch(() => {});
    for (const active of this.#active.values()) active.end('stopping');
  }

  async #answer(sessionId: string): Promise<{ delayMs: number } | undefined> {
    // A wake that was fetched just before the stop goes back for the others.
    if (this.#stopping.signal.aborted) return { delayMs: 1 };
    const claim = await this.#claim(sessionId);
    if (claim.state === 'early') return { delayMs: claim.waitMs };
    if (claim.state === 'turn') await this.#drainLane(claim.turn);
    return undefined;
  }

  async #drainLane(first: ClaimedTurn): Promise<void> {
    const sliceEnd = performance.now() + sliceMs;
    let turn: ClaimedTurn | undefined = first;
    while (turn !== undefined) {
      const outcome = await this.#runTurn(turn);
      if (outcome === undefined) return;
      const keepRunning = performance.now() < sliceEnd && !this.#stopping.signal.aborted;
      const verdict = await this.#finishSurely({ lease: leaseOf(turn), outcome, keepRunning });
      if (verdict !== undefined && verdict.state !== 'fenced') this.#tellEnd(turn, outcome, verdict.outcome);
      turn = verdict?.state === 'running' ? verdict.next : undefined;
      if (verdict?.state === 'ready') {
        await this.#deps.wakes.ring([verdict.wake]);
        failpoint('wake.readded');
      }
    }
  }

  /** A pending cancel, or a database that refuses the content, puts another end in the place of the one that was meant. */
  #tellEnd(turn: ClaimedTurn, meant: TurnOutcome, state: TurnOutcome['state']): void {
    const errorCode = state === meant.state ? meant.errorCode : state === 'failed' ? 'invariant.broken' : undefined;
    this.#deps.onEnded?.(turn, { state, ...(errorCode === undefined ? {} : { errorCode }) });
  }

  /** @returns undefined when the lane was fenced off: nothing is to be recorded. */
  async #runTurn(turn: ClaimedTurn): Promise<TurnOutcome | undefined> {
    const lease = leaseOf(turn);
    const abort = new AbortController();
    const abandoned = Promise.withResolvers<never>();
    const active: ActiveTurn = {
      lease,
      end: (kind) => {
        const reason = new TurnAbort(kind);
        abort.abort(reason);
        // A cancelled turn may still have something to say and is waited for.
        if (kind !== 'cancelled') setTimeout(() => abandoned.reject(reason), handBackMs);
      },
    };
    this.#active.set(turn.sessionId, active);
    if (turn.isCancelled || (this.#heardCancels.get(turn.sessionId) ?? 0) >= turn.seq) active.end('cancelled');
    const context: TurnContext = {
      lease,
      signal: abort.signal,
      stopping: this.#stopping.signal,
      reachBoundary: async (record) => {
        const verdict = await this.#reachBoundary({ lease, ...record });
        if (verdict.state !== 'go') active.end(verdict.state);
        return verdict;
      },
    };
    try {
      return await Promise.race([this.#deps.runTurn(turn, context), abandoned.promise]);
    } catch (err) {
      return this.#outcomeOfThrow(turn, abort.signal, err);
    } finally {
      if (this.#active.get(turn.sessionId) === active) this.#active.delete(turn.sessionId);
    }
  }

  #outcomeOfThrow(turn: ClaimedTurn, signal: AbortSignal, err: unknown): TurnOutcome | undefined {
    const reason: unknown = err instanceof TurnAbort || !signal.aborted ? err : signal.reason;
    if (reason instanceof TurnAbort) {
      switch (reason.kind) {
        case 'fenced':
          return undefined;
        case 'cancelled':
          return { state: 'cancelled', errorCode: 'turn.cancelled' };
        case 'stopping':
          return { state: 'released' };
      }
    }
    const { code } = toAppError(err);
    this.#deps.log.error({ err, turnId: turn.id, sessionId: turn.sessionId, code }, 'turn failed');
    return { state: 'failed', errorCode: code };
  }

  /**
   * Records the end however long the database is away: a lane whose end is not recorded would stay with this living
   * worker for ever. What the database refuses is replaced by a bare failure.
   * @returns undefined only when the worker stops meanwhile; the lane is then reaped.
   */
  async #finishSurely(record: FinishRecord): Promise<FinishVerdict | undefined> {
    const { log } = this.#deps;
    let attempt = record;
    for (let retryMs = 50; ; retryMs = Math.min(retryMs * 2, retryMaxMs)) {
      try {
        return await this.#finish(attempt);
      } catch (err) {
        log.error({ err, turnId: record.lease.id }, 'end of turn could not be recorded');
        if (isRefusal(err)) {
          attempt = { ...record, outcome: { state: 'failed', errorCode: 'invariant.broken' } };
        }
        if (this.#stopping.signal.aborted && retryMs === retryMaxMs) return undefined;
        await delay(retryMs);
      }
    }
  }

  #hear(payload: string): void {
    const parsed = cancelSchema.safeParse(parseJson(payload));
    if (!parsed.success) return;
    const { sessionId, seq } = parsed.data;
    const active = this.#active.get(sessionId);
    if (active?.lease.seq === seq) {
      active.end('cancelled');
      return;
    }
    this.#heardCancels.set(sessionId, seq);
    setTimeout(() => {
      if (this.#heardCancels.get(sessionId) === seq) this.#heardCancels.delete(sessionId);
    }, cancelMemoryMs).unref();
  }

  /**
   * Finds what got lost between this process and the database: lanes owned but not run (the answer to a claim never
   * came) are handed back, turns run but not owned are ended, cancels not heard are obeyed.
   */
  async #audit(ended: AbortSignal): Promise<void> {
    let strays = new Set<string>();
    while (!ended.aborted) {
      await delay(auditMs, undefined, { signal: ended }).catch(() => {});
      if (ended.aborted) return;
      try {
        strays = await this.#auditOnce(strays);
      } catch (err) {
        this.#deps.log.warn({ err }, 'lanes could not be audited');
      }
    }
  }

  /** @returns the lanes that look stray; one that still does at the next audit is handed back. */
  async #auditOnce(before: ReadonlySet<string>): Promise<Set<string>> {
    const running = new Map([...this.#active].map(([sessionId, { lease }]) => [sessionId, lease.fence]));
    const owned = await findOwnedLanes(this.#deps.db, this.#deps.presence.id);
    const strays = new Set<string>();
    for (const lane of owned) {
      const active = this.#active.get(lane.sessionId);
      if (active?.lease.fence === lane.fence) {
        if (lane.isCancelled) active.end('cancelled');
        continue;
      }
      const key = `${lane.sessionId}/${lane.fence}`;
      if (!before.has(key)) strays.add(key);
      else {
        this.#deps.log.warn({ sessionId: lane.sessionId, turnId: lane.id }, 'lane was owned but not run; handed back');
        const verdict = await this.#finish({ lease: lane, outcome: { state: 'released' } });
        if (verdict.state === 'ready') await this.#deps.wakes.ring([verdict.wake]);
      }
    }
    const fences = new Map(owned.map((lane) => [lane.sessionId, lane.fence]));
    for (const [sessionId, fence] of running) {
      const active = this.#active.get(sessionId);
      if (active?.lease.fence === fence && fences.get(sessionId) !== fence) active.end('fenced');
    }
    return strays;
  }
}

function leaseOf({ id, sessionId, seq, fence }: ClaimedTurn): LaneLease {
  return { id, sessionId, seq, fence };
}

/** Whether the database said no to the content (data, constraint, syntax) rather than being away. */
function isRefusal(err: unknown): boolean {
  const code = err instanceof Error && 'code' in err ? err.code : undefined;
  return typeof code === 'string' && /^(22|23|42|P0)/.test(code);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
