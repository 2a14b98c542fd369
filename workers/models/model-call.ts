import type { Clock } from '#core/kit/clock.ts';
import type { Log } from '#core/kit/log.ts';
import type { Micros } from '#core/kit/money.ts';
import type { Cooldowns } from '#core/models/cooldown.ts';
import type { ModelMessage, ModelRequest, StopReason, Usage } from '#core/models/model-port.ts';
import type { ModelRef } from '#core/models/model-ref.ts';
import type { PriceBook } from '#core/models/price-book.ts';
import type { ModelDelta } from './accumulator.ts';
import type { PortFor } from './model-ports.ts';
import type { PictureRefusals } from './picture-refusals.ts';

/** What a caller sees while the model speaks. After `restart` everything shown of this call so far is void. */
export type CallEvent = ModelDelta | { readonly type: 'restart' };

/** One attempt about to be made, for the budget. */
export interface ModelAttempt {
  readonly ref: ModelRef;
  readonly request: ModelRequest;
  /** Counts from 1 over the whole call, fallbacks and continuations included. */
  readonly attemptNumber: number;
  /** The most this attempt can cost; `unpriced` when nobody knows, which a budget must refuse. */
  readonly worstCaseMicros: Micros | 'unpriced';
}

/** What became of an attempt's hold. `released` means that nothing was charged. */
export type AttemptOutcome =
  | { readonly state: 'settled'; readonly usage: Usage; readonly costMicros: Micros }
  | { readonly state: 'released' };

export interface CallModelDeps {
  readonly portFor: PortFor;
  readonly prices: PriceBook;
  readonly cooldowns: Cooldowns;
  readonly pictureRefusals: PictureRefusals;
  readonly clock: Clock;
  readonly log: Log;
  /** In [0, 1), for jitter. */
  readonly random: () => number;
}

export interface CallModelInput {
  /** The model to call, then its fallbacks. Never empty. */
  readonly chain: readonly ModelRef[];
  readonly request: Omit<ModelRequest, 'model'>;
  /** Milliseconds for the whole call: every attempt, wait and fallback. */
  readonly deadlineMs: number;
  readonly timeouts?: Partial<CallTimeouts>;
  readonly signal: AbortSignal;
  /**
   * Whether an answer that broke off after something was shown may be asked for again. The caller then gets `restart`
   * and must take back what it showed. Without it such a failure ends the call.
   */
  readonly restartAfterOutput?: boolean;
  onEvent(event: CallEvent): void | Promise<void>;
  /** Reserves money; an `AppError` thrown here ends the call. */
  beforeAttempt(attempt: ModelAttempt): Promise<void>;
  /** Called exactly once for every attempt whose `beforeAttempt` resolved, also when the attempt failed. */
  afterAttempt(attempt: ModelAttempt, outcome: AttemptOutcome): Promise<void>;
}

/** Bounds of one attempt, in milliseconds. */
export interface CallTimeouts {
  readonly headerMs: number;
  readonly idleMs: number;
  readonly totalMs: number;
}

/** A whole answer of one model. */
export interface Answer {
  readonly message: ModelMessage;
  readonly stop: Exclude<StopReason, 'continue'>;
}

export interface CallModelResult extends Answer {
  /** Of the whole call: continuations and charged failures included. */
  readonly usage: Usage;
  readonly costMicros: Micros;
  /** The model that answered. */
  readonly ref: ModelRef;
  readonly attempts: number;
}
