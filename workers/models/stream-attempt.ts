import { estimateRequestTokens, estimateTextTokens } from '#core/models/estimate-tokens.ts';
import {
  type ModelCallOptions,
  ModelError,
  type ModelEvent,
  type ModelRequest,
  type Usage,
  type Wire,
} from '#core/models/model-port.ts';
import type { Accumulator } from './accumulator.ts';
import { failureToModelError, type WireFailure } from './classify-model-error.ts';
import { Guard } from './guard.ts';

/** What differs between the wires; everything else of an attempt is the same. */
export interface Attempt {
  readonly wire: Wire;
  /** `provider:model`, under which native blocks may be replayed. */
  readonly nativeModel: string;
  readonly request: ModelRequest;
  readonly options: ModelCallOptions;
  readonly accumulator: Accumulator;
  /** Sends the request; resolves once headers are in. */
  open(signal: AbortSignal): Promise<AsyncIterable<unknown>>;
  /** Reads what the SDK of this wire threw. */
  readError(err: unknown): WireFailure;
}

/**
 * One attempt from request to terminal event. An answer counts only when its wire said that it is complete; a stream that
 * merely ends, an HTML page, an error inside a 200 and a silent abort are all errors here.
 * @throws ModelError with what was received so far.
 */
export async function* streamAttempt(attempt: Attempt): AsyncGenerator<ModelEvent> {
  const { accumulator, request } = attempt;
  using guard = new Guard(attempt.options);
  let emitted = false;
  try {
    if (guard.failure !== undefined) throw guard.failure;
    const events = await guard.run(() => attempt.open(guard.signal));
    for await (const event of events) {
      for (const delta of accumulator.push(event)) {
        if (delta.type !== 'reasoning') emitted = true;
        yield delta;
      }
      if (accumulator.isComplete()) guard.drain(accumulator.drainMs());
    }
  } catch (err) {
    // Once the answer is complete a reset connection takes nothing from it; an error the server reports still counts.
    if (!accumulator.isComplete() || (err instanceof ModelError && guard.failure === undefined)) {
      throw describeFailure(err, attempt, guard, emitted);
    }
  }
  if (!accumulator.isComplete()) {
    throw describeFailure(guard.failure ?? finishError(accumulator), attempt, guard, emitted);
  }
  const answer = accumulator.finish();
  yield {
    type: 'end',
    stop: answer.stop,
    message: {
      role: 'assistant',
      parts: answer.parts,
      ...(answer.native === undefined
        ? {}
        : { native: { wire: attempt.wire, model: attempt.nativeModel, blocks: answer.native } }),
    },
    usage: answer.usage ?? estimateUsage(request, accumulator),
    model: answer.model === '' ? request.model : answer.model,
    ...(guard.requestId === undefined ? {} : { requestId: guard.requestId }),
  };
}

/** `finish` of an incomplete answer always throws; its error says what is missing. */
function finishError(accumulator: Accumulator): unknown {
  try {
    accumulator.finish();
    return new ModelError('protocol', 'The answer broke off before its end.');
  } catch (err) {
    return err;
  }
}

function describeFailure(err: unknown, attempt: Attempt, guard: Guard, emitted: boolean): ModelError {
  const { accumulator } = attempt;
  // The guard's own reason comes first: the SDKs wrap it, or hide it as a normal end.
  const known = guard.failure ?? classify(err, attempt);
  return new ModelError(known.kind, known.message, {
    status: known.status,
    code: known.code,
    requestId: known.requestId ?? guard.requestId,
    retryAfterMs: known.retryAfterMs,
    emitted,
    partialText: accumulator.written.text,
    usage: usageOfBroken(attempt.request, accumulator, guard.isAccepted),
    cause: known.cause ?? err,
  });
}

function classify(err: unknown, attempt: Attempt): ModelError {
  if (err instanceof ModelError) return err;
  // Both SDKs parse each event with JSON.parse and let its error through.
  if (err instanceof SyntaxError) {
    return new ModelError('protocol', 'The model sent an event that is not JSON.', {
      code: 'event_invalid',
      cause: err,
    });
  }
  return failureToModelError(attempt.readError(err));
}

/**
 * What a broken call probably cost. A server that never took the request has charged nothing; figures that came early
 * count the input but only the beginning of the output.
 */
function usageOfBroken(request: ModelRequest, accumulator: Accumulator, isAccepted: boolean): Usage | undefined {
  if (!isAccepted) return undefined;
  const known = accumulator.usageSoFar();
  const estimate = estimateUsage(request, accumulator);
  return known === undefined
    ? estimate
    : { ...known, output: Math.max(known.output, estimate.output), source: 'estimated' };
}

/** For streams that ended without figures: what was sent and what arrived, by the estimator. */
function estimateUsage(request: ModelRequest, accumulator: Accumulator): Usage {
  const { written } = accumulator;
  const text = estimateTextTokens(written.text) + estimateTextTokens(written.reasoning);
  const rest = Math.max(0, written.length - written.text.length - written.reasoning.length);
  return {
    input: estimateRequestTokens(request),
    cacheRead: 0,
    cacheWrite: 0,
    output: text + Math.ceil(rest / 3),
    reasoning: estimateTextTokens(written.reasoning),
    source: 'estimated',
  };
}
