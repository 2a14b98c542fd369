import { AppError } from '#core/kit/errors.ts';
import type { LiveContainer } from './live-container.ts';
import type { withRoom } from './refusals.ts';
import type { SessionContainer } from './session-container.ts';
import type { CallOptions, CallResult } from './toolbox-connection.ts';
import type { ToolboxRequest } from './toolbox-protocol.ts';

/** Longest an operation without a time of its own may take; they are single system calls on local disk. */
const answerMs = 30_000;

export interface AskOptions extends CallOptions {
  readonly signal: AbortSignal;
  /** Time the toolbox was asked to wait, on top of what any answer may take. */
  readonly waitMs?: number;
  /** Whether a process is started, which the process limit may leave no room for. */
  readonly around?: typeof withRoom;
}

/** One request to the toolbox of the session's container. @throws ToolboxRefusal, AppError. */
export type AskToolbox = (request: ToolboxRequest, options: AskOptions) => Promise<CallResult>;

/**
 * Asks and waits, but neither for ever nor past the signal; a toolbox that does not answer loses its container.
 * @throws ToolboxRefusal, AppError `sandbox.timeout`, `sandbox.lost`, `sandbox.protocol`, the signal's reason.
 */
export async function askToolbox(
  hands: SessionContainer,
  live: LiveContainer,
  request: ToolboxRequest,
  options: AskOptions,
): Promise<CallResult> {
  const late = Promise.withResolvers<never>();
  const call = live.connection.call(request, options);
  const onAbort = () => {
    // Only what waits hears it; everything else is over before.
    if (options.waitMs !== undefined) live.connection.cancel(call.id);
    late.reject(options.signal.reason);
  };
  const mostMs = answerMs + (options.waitMs ?? 0);
  const timer = setTimeout(() => {
    const reason = new AppError('sandbox.timeout', `The sandbox did not answer within ${mostMs} ms and was replaced.`);
    void hands.discard(live, reason).finally(() => late.reject(reason));
  }, mostMs);
  options.signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([call.result, late.promise]);
  } finally {
    clearTimeout(timer);
    options.signal.removeEventListener('abort', onAbort);
  }
}
