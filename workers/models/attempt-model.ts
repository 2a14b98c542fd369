import type { Micros } from '#core/kit/money.ts';
import {
  ModelError,
  type ModelEvent,
  type ModelMessage,
  type ModelRequest,
  type Usage,
} from '#core/models/model-port.ts';
import type { ModelRef } from '#core/models/model-ref.ts';
import { type PriceAnswer, worstCase } from '#core/models/price.ts';
import type { ModelDelta } from './accumulator.ts';
import type { AttemptOutcome, CallModelDeps, CallModelInput, CallTimeouts, ModelAttempt } from './model-call.ts';
import { planAfterFailure } from './retry-plan.ts';

/** One call of `callModel` while it runs, over all its attempts. */
export interface Call {
  readonly deps: CallModelDeps;
  readonly input: CallModelInput;
  readonly messages: readonly ModelMessage[];
  readonly deadlineAt: number;
  attempts: number;
  usage: Usage;
  costMicros: Micros;
  /** Whether the caller shows something of this call that a fallback would make void. */
  hasShown: boolean;
}

/** The last event of an attempt. */
export type End = Extract<ModelEvent, { type: 'end' }>;

/**
 * Headers of a large prompt take vendors up to a minute; reasoning models can be silent for minutes between two events
 * although all vendors send keep-alives; ten minutes is what both SDKs allow a call.
 */
const defaultTimeouts: CallTimeouts = { headerMs: 120_000, idleMs: 120_000, totalMs: 600_000 };
/**
 * Attempts on one model until one ends or the plan says to give it up.
 * @param shown text of earlier parts of the same answer, said again when a broken attempt is taken back.
 * @throws ModelError of the last attempt.
 */
export async function attemptModel(
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
      if (waitMs === undefined || waitMs >= remainingMs(call)) throw err;
      if (err.emitted) {
        await takeBack(call);
        // What earlier parts of this answer said stays valid.
        if (shown !== '') await show(call, { type: 'text', delta: shown });
      }
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
      const shown = show(call, event);
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

function show(call: Call, delta: ModelDelta): void | Promise<void> {
  if (delta.type !== 'reasoning') call.hasShown = true;
  return call.input.onEvent(delta);
}

/** Before an answer begins anew: what was shown of the broken one is void. */
export async function takeBack(call: Call): Promise<void> {
  if (!call.hasShown) return;
  call.hasShown = false;
  await call.input.onEvent({ type: 'restart' });
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

/** Milliseconds left of the whole call. */
export function remainingMs(call: Call): number {
  return call.deadlineAt - call.deps.clock.now().getTime();
}

/** @throws ModelError `aborted` when the call is cancelled meanwhile. */
export async function pause(call: Call, ms: number, signal: AbortSignal): Promise<void> {
  try {
    await call.deps.clock.sleep(ms, signal);
  } catch (err) {
    throw new ModelError('aborted', 'The call was cancelled.', { cause: err });
  }
}
