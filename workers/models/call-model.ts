import { AppError } from '#core/kit/errors.ts';
import { ModelError } from '#core/models/model-port.ts';
import type { ModelRef } from '#core/models/model-ref.ts';
import { prepareMessages } from '#core/models/prepare-messages.ts';
import { answerFrom } from './answer-from.ts';
import { type Call, pause, remainingMs, takeBack } from './attempt-model.ts';
import type { CallModelDeps, CallModelInput, CallModelResult } from './model-call.ts';
import { modelFailure } from './model-failure.ts';

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
    hasShown: false,
  };
  const failures: { ref: ModelRef; error: ModelError }[] = [];
  for (const ref of await awakeRefs(call)) {
    await takeBack(call);
    try {
      const answer = await answerFrom(call, ref);
      await deps.cooldowns.succeeded(ref);
      return { ...answer, usage: call.usage, costMicros: call.costMicros, ref, attempts: call.attempts };
    } catch (err) {
      if (!(err instanceof ModelError)) throw err;
      failures.push({ ref, error: err });
      // A key missing here may be present in another worker, and our own deadline says nothing about the model.
      const isOurs = err.code === 'key_missing' || err.code === 'deadline';
      if (!isOurs) await deps.cooldowns.failed(ref, err.kind, err.retryAfterMs);
      if (!mayFallBack(call, err)) break;
      deps.log.warn({ model: ref.text, kind: err.kind, status: err.status, reason: err.message }, 'model failed');
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
  if (call.hasShown && call.input.restartAfterOutput !== true) return false;
  if (remainingMs(call) <= 0) return false;
  return error.kind !== 'aborted' && error.kind !== 'context' && error.kind !== 'content';
}
