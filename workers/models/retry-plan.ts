import type { ModelError, ModelErrorKind } from '#core/models/model-port.ts';

/** Longest wait a provider may ask for before we rather use another model. */
const retryAfterMaxMs = 30_000;
const backoffBaseMs = 500;
const backoffMaxMs = 8_000;

/** How often one model is asked again. A timeout has cost minutes already; the rest usually passes within seconds. */
const retriesMax: Record<ModelErrorKind, number> = {
  rate: 2,
  overloaded: 2,
  transient: 2,
  protocol: 2,
  timeout: 1,
  aborted: 0,
  auth: 0,
  billing: 0,
  context: 0,
  content: 0,
  invalid: 0,
};

/**
 * Milliseconds to wait before the same model is asked again, or undefined to give it up. A wait the provider asks for is
 * kept (up to 30 s) with a little jitter on top; otherwise full jitter over a doubling back-off, so that many workers do
 * not come back at once.
 * @param failures failures of this model in this call, this one included.
 * @param random in [0, 1).
 */
export function planAfterFailure(error: ModelError, failures: number, random: () => number): number | undefined {
  if (failures > retriesMax[error.kind] || isHopeless(error)) return undefined;
  if (error.retryAfterMs !== undefined) {
    return error.retryAfterMs > retryAfterMaxMs ? undefined : error.retryAfterMs + Math.floor(random() * 250);
  }
  return Math.floor(random() * Math.min(backoffMaxMs, backoffBaseMs * 2 ** (failures - 1)));
}

/** Already asked twice, or sure to fail the same way. */
function isHopeless(error: ModelError): boolean {
  return error.code === 'answer_empty' || error.code === 'answer_too_large' || error.code === 'deadline';
}
