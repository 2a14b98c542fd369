import { ModelError, type ModelErrorKind } from '#core/models/model-port.ts';
import { fieldOf, textOf } from './read-json.ts';

/** What is known of a failure, from an HTTP answer, an error event or a thrown value. */
export interface WireFailure {
  readonly status?: number | undefined;
  /** The provider's machine-readable code, or its error type where it has no code. */
  readonly code?: string | undefined;
  readonly type?: string | undefined;
  readonly message: string;
  readonly requestId?: string | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly cause?: unknown;
}

/** Sentences in which vendors and servers say that a prompt is too long; none has a code for it everywhere. */
const contextPatterns = [
  /prompt is too long/i,
  /exceeds? the (available )?context (window|size|length)/i,
  /maximum context length/i,
  /context[_ ]length[_ ]exceeded/i,
  /input token count .*exceeds/i,
  /reduce the length of the (messages|input|prompt)/i,
  /too many (input )?tokens/i,
  /input (is )?too long/i,
  /request_too_large|request too large/i,
  /exceeds the model'?s? (maximum )?(context|input)/i,
];
const limitPatterns = /rate.?limit|too many requests|tokens per (minute|day)|\btpm\b|\brpm\b/i;
const billingPatterns =
  /insufficient_quota|billing|credit balance|spend(ing)? limit|payment required|insufficient (credits|balance)/i;
const contentPatterns =
  /content_filter|content_policy|moderation|bio_policy|misalignment_policy|policy_violation|invalid_prompt/i;

/** Reads an error the openai SDK threw. Its `code` may be a number when a router forwards an HTTP status. */
export function readOpenAiError(err: unknown): WireFailure {
  const body = fieldOf(err, 'error');
  const code = fieldOf(err, 'code') ?? fieldOf(body, 'code');
  const codeStatus = typeof code === 'number' ? code : /^[45]\d\d$/.test(String(code)) ? Number(code) : undefined;
  const bodyMessage = textOf(body, 'message');
  return {
    status: statusOf(err) ?? codeStatus,
    code: typeof code === 'string' && code !== '' ? code : undefined,
    type: textOf(err, 'type') || textOf(body, 'type') || undefined,
    message: bodyMessage || messageOf(err),
    requestId: textOf(err, 'requestID') || undefined,
    retryAfterMs: retryAfterOf(fieldOf(err, 'headers')),
    cause: err,
  };
}

/** Reads an error the Anthropic SDK threw; its `message` holds the whole JSON body, `apiMessage` only the sentence. */
export function readAnthropicError(err: unknown): WireFailure {
  return {
    status: statusOf(err),
    code: textOf(err, 'errorCode') || undefined,
    type: textOf(err, 'type') || undefined,
    message: textOf(err, 'apiMessage') || messageOf(err),
    requestId: textOf(err, 'requestID') || undefined,
    retryAfterMs: retryAfterOf(fieldOf(err, 'headers')),
    cause: err,
  };
}

/**
 * Decides what a failure means (models.md 9 in one place). Billing comes before rate: both are 429 at OpenAI, and
 * waiting does not fill an account. Context comes before invalid: both are 400.
 */
export function classifyFailure(failure: WireFailure): ModelErrorKind {
  const { status, message } = failure;
  const words = `${failure.code ?? ''} ${failure.type ?? ''}`;
  if (status === 401 || /authentication_error|invalid_api_key/.test(words)) return 'auth';
  if (status === 402 || billingPatterns.test(words) || (isClientError(status) && billingPatterns.test(message))) {
    return 'billing';
  }
  if (contentPatterns.test(words) || (status === 403 && contentPatterns.test(message))) return 'content';
  if (status === 403 || /permission_error/.test(words)) return 'auth';
  if (status === 413) return 'context';
  if (!limitPatterns.test(message) && contextPatterns.some((pattern) => pattern.test(`${words} ${message}`))) {
    return 'context';
  }
  // 498 is Groq's "flex capacity exceeded".
  if (status === 429 || status === 498 || /rate_limit/.test(words)) return 'rate';
  if (status === 529 || status === 503 || /overloaded/.test(words)) return 'overloaded';
  // The model, not the request, wrote an unusable call; asking again usually helps.
  if (/tool_use_failed/.test(words)) return 'protocol';
  if (status === 408 || status === 504 || /timeout_error/.test(words)) return 'timeout';
  if (status === 409 || (status !== undefined && status >= 500)) return 'transient';
  if (/server_error|api_error|internal_error|upstream/i.test(words)) return 'transient';
  if (isClientError(status) || /invalid_request|not_found/.test(words)) return 'invalid';
  return 'transient';
}

/** A classified error from what is known; HTML becomes its title, keys are removed, the text is cut by `ModelError`. */
export function failureToModelError(failure: WireFailure): ModelError {
  return new ModelError(classifyFailure(failure), describe(failure), {
    status: failure.status,
    code: failure.code ?? failure.type,
    requestId: failure.requestId,
    retryAfterMs: failure.retryAfterMs,
    cause: failure.cause,
  });
}

/**
 * Milliseconds a server asks to wait, from `retry-after-ms` or `retry-after` (seconds or an HTTP date). Nonsense,
 * negative values and times past are undefined, so that the caller's own back-off applies.
 */
export function parseRetryAfter(headers: Headers, nowMs: number = Date.now()): number | undefined {
  const precise = headers.get('retry-after-ms');
  if (precise !== null && /^\d+(\.\d+)?$/.test(precise)) return positive(Number(precise));
  const plain = headers.get('retry-after');
  if (plain === null) return undefined;
  if (/^-?\d+(\.\d+)?$/.test(plain)) return positive(Number(plain) * 1000);
  return positive(Date.parse(plain) - nowMs);
}

/** Removes what looks like a credential from a text that may be logged or shown. */
export function redact(text: string): string {
  return text
    .replaceAll(/\b(sk|pk|gsk|key|xai|AIza)[-_]?[A-Za-z0-9_*-]{12,}/g, '[key]')
    .replaceAll(/\b(bearer|x-api-key:?)\s+\S+/gi, '$1 [key]');
}

function describe(failure: WireFailure): string {
  const title = /<title[^>]*>([^<]{1,200})/i.exec(failure.message)?.[1]?.trim();
  const isHtml = /<(!doctype|html|head|body)\b/i.test(failure.message);
  const text = isHtml ? `an HTML page${title === undefined ? '' : ` titled "${title}"`}` : failure.message.trim();
  const status = failure.status === undefined ? '' : `${failure.status} `;
  const hasStatus = failure.status !== undefined && text.startsWith(String(failure.status));
  return redact(`${hasStatus ? '' : status}${text === '' ? 'no message' : text}`);
}

function isClientError(status: number | undefined): boolean {
  return status !== undefined && status >= 400 && status < 500;
}

function statusOf(err: unknown): number | undefined {
  const status = fieldOf(err, 'status');
  return typeof status === 'number' ? status : undefined;
}

function messageOf(err: unknown): string {
  if (!(err instanceof Error)) return String(err);
  // fetch says only "fetch failed" or "terminated"; the reason is in the chain of causes.
  const cause = err.cause;
  const deeper = cause instanceof Error ? messageOf(cause) : '';
  const code = textOf(err, 'code');
  const own = code === '' || err.message.includes(code) ? err.message : `${err.message} (${code})`;
  return deeper === '' || own.includes(deeper) ? own : `${own}: ${deeper}`;
}

function retryAfterOf(headers: unknown): number | undefined {
  return headers instanceof Headers ? parseRetryAfter(headers) : undefined;
}

function positive(ms: number): number | undefined {
  return Number.isFinite(ms) && ms > 0 ? Math.ceil(ms) : undefined;
}
