import type { Clock } from '#core/kit/clock.ts';
import { AppError } from '#core/kit/errors.ts';
import type { Log } from '#core/kit/log.ts';
import type { Micros } from '#core/kit/money.ts';
import type { Cooldowns } from '#core/models/cooldown.ts';
import {
  ModelError,
  type ModelEvent,
  type ModelMessage,
  type ModelRequest,
  type Part,
  type StopReason,
  type Usage,
} from '#core/models/model-port.ts';
import type { ModelRef } from '#core/models/model-ref.ts';
import { prepareMessages, stripForeignNative } from '#core/models/prepare-messages.ts';
import { type PriceAnswer, worstCase } from '#core/models/price.ts';
import type { PriceBook } from '#core/models/price-book.ts';
import type { ModelDelta } from './accumulator.ts';
import { modelFailure } from './model-failure.ts';
import type { PortFor } from './model-ports.ts';
import { planAfterFailure } from './retry-plan.ts';

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
interface CallTimeouts {
  readonly headerMs: number;
  readonly idleMs: number;
  readonly totalMs: number;
}

export interface CallModelResult {
  readonly message: ModelMessage;
  readonly stop: Exclude<StopReason, 'continue'>;
  /** Of the whole call: continuations and charged failures included. */
  readonly usage: Usage;
  readonly costMicros: Micros;
  /** The model that answered. */
  readonly ref: ModelRef;
  readonly attempts: number;
}

/**
 * Headers of a large prompt take vendors up to a minute; reasoning models can be silent for minutes between two events
 * although all vendors send keep-alives; ten minutes is what both SDKs allow a call.
 */
const defaultTimeouts: CallTimeouts = { headerMs: 120_000, idleMs: 120_000, totalMs: 600_000 };
/** How often a paused answer is continued before we call it stuck (Anthropic `pause_turn`). */
const continuationsMax = 5;
const nudge: ModelMessage = {
  role: 'user',
  parts: [{ type: 'text', text: '(Your last answer was empty. Answer the message above, or call a tool.)' }],
};

/**
 * Calls a model until it has answered, or nothing more can be done: bounded retries, waits the provider asks for,
 * fallbacks, shared cool-downs, continuation of paused answers, one nudge for an empty one; all within one deadline.
 * @returns an answer that says or does something, never an empty one.
 * @throws AppError `model.*`, `turn.cancelled`, or what `beforeAttempt` threw.
 */
export async function callModel(deps: CallModelDeps, input: CallModelInput): Promise<CallModelResult> {
  const call: Call = {
    deps,
    input,
    messages: prepareMessages(input.request.messages),
    deadlineAt: deps.clock.now().getTime() + input.deadlineMs,
    attempts: 0,
    usage: { input: 0, cacheRead: 0, cacheWrite: 0, output: 0, reasoning: 0, source: 'provider' },
    costMicros: 0n,
  };
  const failures: { ref: ModelRef; error: ModelError }[] = [];
  for (const ref of await awakeRefs(call)) {
    try {
      const answer = await answerFrom(call, ref);
      await deps.cooldowns.succeeded(ref);
      return { ...answer, usage: call.usage, costMicros: call.costMicros, ref, attempts: call.attempts };
    } catch (err) {
      if (!(err instanceof ModelError)) throw err;
      failures.push({ ref, error: err });
      // A key missing here may be present in another worker, so that failure is not shared.
      if (err.code !== 'key_missing') await deps.cooldowns.failed(ref, err.kind, err.retryAfterMs);
      if (!mayFallBack(call, err)) break;
      deps.log.warn({ model: ref.text, kind: err.kind, status: err.status, err }, 'model failed');
    }
  }
  const [first] = failures;
  if (first === undefined) throw new AppError('model.unknown', 'No model is configured for this agent.');
  // The first model is the one the operator chose, but a cancelled call or an unfit prompt is told as such.
  const last = failures.at(-1) ?? first;
  const { ref, error } = mayFallBack(call, last.error) ? first : last;
  throw modelFailure(
    ref,
    error,
    failures.map((failure) => failure.ref.text),
  );
}

interface Call {
  readonly deps: CallModelDeps;
  readonly input: CallModelInput;
  readonly messages: readonly ModelMessage[];
  readonly deadlineAt: number;
  attempts: number;
  usage: Usage;
  costMicros: Micros;
}

type Answer = Pick<CallModelResult, 'message' | 'stop'>;
type End = Extract<ModelEvent, { type: 'end' }>;

/** Longest wait for a model that rests because of a rate limit, when nothing else can answer. */
const restWaitMaxMs = 30_000;

/**
 * The chain without resting models. When all rest, the first that could recover by itself is tried anyway (a cool-down
 * must not turn one failure into an outage), after a short wait if it asked for one.
 */
async function awakeRefs(call: Call): Promise<readonly ModelRef[]> {
  const { chain } = call.input;
  const resting = await Promise.all(chain.map((ref) => call.deps.cooldowns.resting(ref)));
  const awake = chain.filter((_, index) => resting[index] === undefined);
  if (awake.length > 0) return awake;
  for (const [index, ref] of chain.entries()) {
    const rest = resting[index];
    if (rest === undefined || rest.reason === 'auth' || rest.reason === 'billing') continue;
    if (rest.reason !== 'rate') return [ref];
    if (rest.remainingMs <= restWaitMaxMs && rest.remainingMs < remainingMs(call)) {
      await waitForRest(call, ref, rest.remainingMs);
      return [ref];
    }
  }
  const [ref] = chain;
  const rest = resting[0];
  if (ref === undefined || rest === undefined) return [];
  const minutes = Math.ceil(rest.remainingMs / 60_000);
  const error = new ModelError(rest.reason, `It failed before and is left alone for another ${minutes} min.`, {
    retryAfterMs: rest.remainingMs,
  });
  throw modelFailure(ref, error);
}

async function waitForRest(call: Call, ref: ModelRef, ms: number): Promise<void> {
  try {
    await pause(call, ms, call.input.signal);
  } catch (err) {
    throw err instanceof ModelError ? modelFailure(ref, err) : err;
  }
}

/** Failures of the request itself, or of the caller, are the same at every model. */
function mayFallBack(call: Call, error: ModelError): boolean {
  if (error.emitted && call.input.restartAfterOutput !== true) return false;
  if (remainingMs(call) <= 0) return false;
  return error.kind !== 'aborted' && error.kind !== 'context' && error.kind !== 'content';
}

/** One model to a full answer: paused answers are continued, an empty one is asked for once more. */
async function answerFrom(call: Call, ref: ModelRef): Promise<Answer> {
  const messages = stripForeignNative(call.messages, ref.text);
  const done: End[] = [];
  for (let continuations = 0; ; continuations += 1) {
    const shown = done.map((end) => textOf(end.message)).join('');
    const end = await attemptWithRetries(call, ref, [...messages, ...done.map((part) => part.message)], shown);
    done.push(end);
    if (end.stop !== 'continue') break;
    if (continuations >= continuationsMax) {
      throw new ModelError('protocol', `The model paused its answer ${continuations + 1} times without an end.`);
    }
  }
  let answer = joined(done);
  if (!saysSomething(answer.message) && answer.stop === 'stop') {
    call.deps.log.warn({ model: ref.text }, 'model answered nothing, asking once more');
    answer = joined([await attemptWithRetries(call, ref, [...messages, nudge], '')]);
  }
  return checkedAnswer(call, ref, answer);
}

function checkedAnswer(call: Call, ref: ModelRef, answer: Answer): Answer {
  const { message, stop } = answer;
  if (stop === 'other') call.deps.log.warn({ model: ref.text }, 'model stopped for an unknown reason');
  if (saysSomething(message)) return answer;
  switch (stop) {
    case 'refused':
      return {
        stop,
        message: {
          ...message,
          parts: [...message.parts, { type: 'refusal', text: 'The model declined to answer this.' }],
        },
      };
    case 'length':
      throw new ModelError(
        'invalid',
        `It used its whole limit of ${call.input.request.outputTokensMax} tokens before it said anything; a higher output_tokens_max helps.`,
        { code: 'answer_empty' },
      );
    case 'context_full':
      throw new ModelError('context', 'The context window is full.', { code: 'answer_empty' });
    case 'stop':
    case 'tools':
    case 'other':
      throw new ModelError('protocol', 'It answered nothing, twice.', { code: 'answer_empty' });
  }
}

/** Attempts on one model until one ends or the plan says to give it up. */
async function attemptWithRetries(
  call: Call,
  ref: ModelRef,
  messages: readonly ModelMessage[],
  shown: string,
): Promise<End> {
  for (let failures = 0; ; ) {
    try {
      return await attemptOnce(call, ref, messages);
    } catch (err) {
      if (!(err instanceof ModelError)) throw err;
      failures += 1;
      if (err.emitted && call.input.restartAfterOutput !== true) throw err;
      const waitMs = planAfterFailure(err, failures, call.deps.random);
      const canGoOn = waitMs !== undefined && waitMs < remainingMs(call);
      const canFallBack = mayFallBack(call, err);
      if (err.emitted && (canGoOn || canFallBack)) {
        await call.input.onEvent({ type: 'restart' });
        // What earlier parts of this answer said stays valid.
        if (canGoOn && shown !== '') await call.input.onEvent({ type: 'text', delta: shown });
      }
      if (!canGoOn) throw err;
      call.deps.log.warn(
        { model: ref.text, kind: err.kind, status: err.status, failures, waitMs },
        'model call is retried',
      );
      await pause(call, waitMs, call.input.signal);
    }
  }
}

async function attemptOnce(call: Call, ref: ModelRef, messages: readonly ModelMessage[]): Promise<End> {
  const { deps, input } = call;
  const leftMs = remainingMs(call);
  if (input.signal.aborted) throw new ModelError('aborted', 'The call was cancelled.');
  if (leftMs <= 0) throw new ModelError('timeout', 'The time for this answer is used up.', { code: 'deadline' });
  const port = await deps.portFor(ref);
  const price = await deps.prices.priceOf(ref);
  const request: ModelRequest = { ...input.request, model: ref.model, messages };
  call.attempts += 1;
  const attempt: ModelAttempt = {
    ref,
    request,
    attemptNumber: call.attempts,
    worstCaseMicros: price === 'unpriced' ? 'unpriced' : worstCase(price, request),
  };
  await input.beforeAttempt(attempt);
  let usage: Usage | undefined;
  try {
    const timeouts = { ...defaultTimeouts, ...input.timeouts };
    const options = { ...timeouts, totalMs: Math.min(timeouts.totalMs, leftMs), signal: input.signal };
    for await (const event of port.stream(request, options)) {
      if (event.type === 'end') {
        usage = event.usage;
        return event;
      }
      const shown = input.onEvent(event);
      if (shown !== undefined) await shown;
    }
    throw new ModelError('protocol', 'The model answered with an empty stream.');
  } catch (err) {
    if (err instanceof ModelError) usage = err.usage;
    throw err;
  } finally {
    await input.afterAttempt(attempt, settle(call, price, usage));
  }
}

function settle(call: Call, price: PriceAnswer, usage: Usage | undefined): AttemptOutcome {
  if (usage === undefined) return { state: 'released' };
  const costMicros = price === 'unpriced' ? 0n : price.cost(usage);
  call.costMicros += costMicros;
  call.usage = {
    input: call.usage.input + usage.input,
    cacheRead: call.usage.cacheRead + usage.cacheRead,
    cacheWrite: call.usage.cacheWrite + usage.cacheWrite,
    output: call.usage.output + usage.output,
    reasoning: call.usage.reasoning + usage.reasoning,
    source: usage.source === 'estimated' ? 'estimated' : call.usage.source,
  };
  return { state: 'settled', usage, costMicros };
}

/** One message from an answer that came in several parts; their native blocks belong together too. */
function joined(ends: readonly End[]): Answer {
  const last = ends.at(-1);
  if (last === undefined || last.stop === 'continue') throw new ModelError('protocol', 'The answer has no end.');
  if (ends.length === 1) return { message: last.message, stop: last.stop };
  const parts = ends.flatMap((end): readonly Part[] => end.message.parts);
  const natives = ends.map((end) => end.message.native);
  const blocks = natives.flatMap((native) => (Array.isArray(native?.blocks) ? native.blocks : []));
  const native = natives[0];
  // Blocks are complete only if every part brought its own; a plain last part is rebuilt from the neutral form.
  const isWhole = native !== undefined && natives.every((part) => Array.isArray(part?.blocks));
  return {
    stop: last.stop,
    message: { role: 'assistant', parts, ...(isWhole ? { native: { ...native, blocks } } : {}) },
  };
}

function saysSomething(message: ModelMessage): boolean {
  return message.parts.some((part) => {
    if (part.type === 'tool_call') return true;
    return (part.type === 'text' || part.type === 'refusal') && part.text.trim() !== '';
  });
}

function textOf(message: ModelMessage): string {
  return message.parts.map((part) => (part.type === 'text' ? part.text : '')).join('');
}

function remainingMs(call: Call): number {
  return call.deadlineAt - call.deps.clock.now().getTime();
}

async function pause(call: Call, ms: number, signal: AbortSignal): Promise<void> {
  try {
    await call.deps.clock.sleep(ms, signal);
  } catch (err) {
    throw new ModelError('aborted', 'The call was cancelled.', { cause: err });
  }
}
