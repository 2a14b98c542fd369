import { AppError, type ErrorCode } from '#core/kit/errors.ts';
import type { ModelError, ModelErrorKind } from '#core/models/model-port.ts';
import type { ModelRef } from '#core/models/model-ref.ts';
import { providerOf } from '#core/models/providers.ts';

const codes: Record<ModelErrorKind, ErrorCode> = {
  aborted: 'turn.cancelled',
  auth: 'model.auth',
  billing: 'model.billing',
  rate: 'model.rate_limited',
  overloaded: 'model.overloaded',
  transient: 'model.unavailable',
  timeout: 'model.timeout',
  context: 'model.context',
  content: 'model.content',
  invalid: 'model.invalid',
  protocol: 'model.protocol',
};

/** The error a person sees when a call, with all its retries and fallbacks, came to nothing. */
export function modelFailure(ref: ModelRef, error: ModelError, tried: readonly string[] = []): AppError {
  const { title, keyEnv } = providerOf(ref.provider);
  const others = tried.filter((text) => text !== ref.text);
  const also = others.length === 0 ? '' : ` ${others.join(', ')} could not answer either.`;
  const { said, mend } = words(error, `${title} (${ref.model})`, keyEnv);
  return new AppError(codes[error.kind], `${said}${also}`, {
    mend,
    cause: error,
    ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }),
    details: {
      model: ref.text,
      ...(error.status === undefined ? {} : { status: error.status }),
      ...(error.code === undefined ? {} : { providerCode: error.code }),
      ...(error.requestId === undefined ? {} : { requestId: error.requestId }),
    },
  });
}

function words(error: ModelError, who: string, keyEnv: string | undefined): { said: string; mend: string } {
  const key = keyEnv ?? 'the API key';
  switch (error.kind) {
    case 'aborted':
      return { said: 'The call to the model was cancelled.', mend: 'Send a new message to go on.' };
    case 'auth':
      return error.code === 'key_missing'
        ? { said: `${who} has no API key.`, mend: `Set ${key} and start again, or choose another model.` }
        : { said: `${who} refused the API key.`, mend: `An operator has to check ${key}.` };
    case 'billing':
      return {
        said: `${who} refused because of billing: ${sentence(error)}`,
        mend: 'An operator has to check the account and its limits.',
      };
    case 'rate':
      return { said: `${who} is limiting our requests.`, mend: `Try again${wait(error)}, or add a fallback model.` };
    case 'overloaded':
      return { said: `${who} is overloaded.`, mend: `Try again${wait(error)}, or add a fallback model.` };
    case 'transient':
      return {
        said: `${who} could not be reached: ${sentence(error)}`,
        mend: 'Try again in a minute, or add a fallback model.',
      };
    case 'timeout':
      return { said: `${who} took too long: ${sentence(error)}`, mend: 'Try again, or ask for less at once.' };
    case 'context':
      return { said: `The conversation is too long for ${who}.`, mend: 'Start a new one with /new.' };
    case 'content':
      return {
        said: `${who} refused this content: ${sentence(error)}`,
        mend: 'Put it differently, or choose another model.',
      };
    case 'invalid':
      return {
        said: `${who} did not accept the request: ${sentence(error)}`,
        mend: 'Check the model name and settings, or choose another model.',
      };
    case 'protocol':
      return { said: `${who} gave no usable answer: ${sentence(error)}`, mend: 'Try again, or choose another model.' };
  }
}

function sentence(error: ModelError): string {
  const text = error.message.trim();
  return /[.!?…]$/.test(text) ? text : `${text}.`;
}

function wait(error: ModelError): string {
  if (error.retryAfterMs === undefined) return ' in a minute';
  const seconds = Math.ceil(error.retryAfterMs / 1000);
  return seconds < 90 ? ` in ${seconds} s` : ` in ${Math.ceil(seconds / 60)} min`;
}
