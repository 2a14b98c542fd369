import { DiscordAPIError, HTTPError, RateLimitError } from 'discord.js';
import { AppError } from '#core/kit/errors.ts';
import type { SendFailure } from '#core/outbox/channel-sender.ts';

/**
 * A failed call to Discord, without the address, which may carry an interaction's token, and without what was to be
 * sent: only this leaves the channel.
 */
export class DiscordFailure extends Error {
  /** What was tried, in words. */
  readonly what: string;
  /** HTTP status; undefined when there was no answer. */
  readonly status: number | undefined;
  /** Discord's own error code; 0 when it gave none. */
  readonly code: number;
  readonly afterMs: number | undefined;
  /** The limit is the whole bot's, not one route's. */
  readonly isGlobal: boolean;
  /** There was no answer, but Discord may have got the call. */
  readonly isSent: boolean;
  /** The fields Discord found fault with, such as `content: BASE_TYPE_MAX_LENGTH`. */
  readonly faults: readonly string[];

  constructor(
    what: string,
    options: {
      readonly reason: string;
      readonly status?: number;
      readonly code?: number;
      readonly afterMs?: number;
      readonly isGlobal?: boolean;
      readonly isSent?: boolean;
      readonly faults?: readonly string[];
    },
  ) {
    super(`${what} failed: ${options.reason}`);
    this.name = 'DiscordFailure';
    this.what = what;
    this.status = options.status;
    this.code = options.code ?? 0;
    this.afterMs = options.afterMs;
    this.isGlobal = options.isGlobal ?? false;
    this.isSent = options.isSent ?? false;
    this.faults = options.faults ?? [];
  }
}

/** What a failure to post a message says was tried. */
export const sending = 'sending';

/** Error codes with a meaning beyond their HTTP status. */
export const codes = {
  unknownMessage: 10_008,
  unknownWebhook: 10_015,
  unknownInteraction: 10_062,
  invalidWebhookToken: 50_027,
  alreadyAcknowledged: 40_060,
  invalidBody: 50_035,
  threadArchived: 50_083,
  threadExists: 160_004,
  replyNotAllowed: 160_002,
} as const;

const waitMs = 10_000;

/** What Discord's codes mean for a delivery; what is not here is decided by the HTTP status. */
const meanings: Readonly<Record<number, { readonly kind: SendFailure['kind']; readonly afterMs?: number }>> = {
  10003: { kind: 'unreachable' },
  10004: { kind: 'unreachable' },
  10008: { kind: 'gone' },
  10013: { kind: 'unreachable' },
  10015: { kind: 'expired' },
  10062: { kind: 'expired' },
  20016: { kind: 'throttled', afterMs: waitMs },
  20028: { kind: 'throttled', afterMs: waitMs },
  30046: { kind: 'throttled', afterMs: 60_000 },
  40001: { kind: 'auth' },
  40005: { kind: 'too_big' },
  40060: { kind: 'expired' },
  40062: { kind: 'retry' },
  40094: { kind: 'expired' },
  50001: { kind: 'unreachable' },
  50006: { kind: 'bad_format' },
  50007: { kind: 'unreachable' },
  50008: { kind: 'unreachable' },
  50013: { kind: 'unreachable' },
  50014: { kind: 'auth' },
  50027: { kind: 'expired' },
  50083: { kind: 'unreachable' },
  50278: { kind: 'unreachable' },
  130000: { kind: 'retry', afterMs: waitMs },
  160002: { kind: 'bad_format' },
  160005: { kind: 'unreachable' },
  160006: { kind: 'unreachable' },
  200000: { kind: 'bad_format' },
  200001: { kind: 'bad_format' },
  240000: { kind: 'bad_format' },
};

/** Words for codes whose own message says too little to an operator. */
const words: Readonly<Record<number, string>> = {
  50001: 'the bot cannot see this channel (View Channel)',
  50013: 'the bot lacks a permission in this channel (Send Messages, Send Messages in Threads or Attach Files)',
  50007: 'this person does not take private messages from the bot',
  50278: 'this person does not take private messages from the bot',
  200000: 'the server’s AutoMod blocked the message',
  200001: 'the server’s AutoMod blocked the title',
  240000: 'the message holds a link the server’s AutoMod blocks',
};

/** Turns what the client library throws into a failure that is safe to log. */
export function toDiscordFailure(what: string, error: unknown): DiscordFailure {
  if (error instanceof DiscordFailure) return error;
  if (error instanceof RateLimitError) {
    const afterMs = Math.max(1, Math.ceil(error.retryAfter > 0 ? error.retryAfter : error.timeToReset));
    const reason = error.global ? 'the bot has used up its calls' : 'this route has used up its calls';
    return new DiscordFailure(what, { reason, status: 429, afterMs, isGlobal: error.global });
  }
  if (error instanceof DiscordAPIError) {
    const code = typeof error.code === 'number' ? error.code : 0;
    const reason = `${words[code] ?? plainMessage(error)} (${error.status}${code === 0 ? '' : `, code ${code}`})`;
    const afterMs = retryAfterOf(error.rawError);
    return new DiscordFailure(what, {
      reason,
      status: error.status,
      code,
      faults: faultsOf(error.rawError),
      ...(afterMs === undefined ? {} : { afterMs }),
    });
  }
  if (error instanceof HTTPError) {
    return new DiscordFailure(what, { reason: `Discord answered ${error.status}`, status: error.status });
  }
  const trouble = networkTrouble(error);
  return new DiscordFailure(what, { reason: `there was no answer (${trouble})`, isSent: !neverSent.has(trouble) });
}

/** Our own error for the delivery loop; it wraps the safe failure only. */
export function toChannelError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  const failure = classifyDiscordError(error);
  const canRetry = ['retry', 'throttled', 'unknown_outcome'].includes(failure.kind);
  return new AppError(canRetry ? 'channel.unavailable' : 'channel.rejected', `Discord: ${failure.reason}.`, {
    ...(error instanceof DiscordFailure ? { cause: error } : {}),
    ...(failure.afterMs === undefined ? {} : { retryAfterMs: failure.afterMs }),
  });
}

/** How the delivery loop should take any thrown value of this channel. */
export function classifyDiscordError(error: unknown): SendFailure {
  for (let link: unknown = error, depth = 0; depth < 5; depth += 1) {
    if (link instanceof DiscordFailure) return classifyFailure(link);
    if (!(link instanceof Error)) break;
    if (link instanceof AppError && link.cause === undefined) return classifyOwn(link);
    link = link.cause;
  }
  return {
    kind: 'bad_format',
    reason: error instanceof Error ? `${error.name}: ${error.message}` : 'an unknown failure',
  };
}

/** The code of a thrown value, if Discord gave one. */
export function codeOf(error: unknown): number {
  if (error instanceof DiscordFailure) return error.code;
  return error instanceof AppError && error.cause instanceof DiscordFailure ? error.cause.code : 0;
}

function classifyFailure(failure: DiscordFailure): SendFailure {
  const { status, code, afterMs, message: reason } = failure;
  const meaning = meanings[code];
  const wait = afterMs ?? meaning?.afterMs;
  const after = wait === undefined ? {} : { afterMs: wait };
  if (code === codes.invalidBody) {
    const isTooLong = failure.faults.some((fault) => /^(?:data\.)?content: BASE_TYPE_(?:BAD|MAX)_LENGTH/.test(fault));
    return { kind: isTooLong ? 'too_big' : 'bad_format', reason };
  }
  if (meaning !== undefined) return { kind: meaning.kind, ...after, reason };
  // The same call again may be a second message, once the nonce of the first is forgotten.
  if (status === undefined && failure.isSent && failure.what === sending) return { kind: 'unknown_outcome', reason };
  if (status === undefined || status >= 500) return { kind: 'retry', reason };
  if (status === 429) {
    return { kind: 'throttled', afterMs: wait ?? waitMs, scope: failure.isGlobal ? 'account' : 'room', reason };
  }
  if (status === 401) return { kind: 'auth', reason };
  if (status === 403) return { kind: 'unreachable', reason };
  if (status === 404) return { kind: 'gone', reason };
  if (status === 413) return { kind: 'too_big', reason };
  return { kind: 'bad_format', reason };
}

function classifyOwn(error: AppError): SendFailure {
  const kind = error.code === 'message.too_large' ? 'too_big' : error.canRetry ? 'retry' : 'bad_format';
  return { kind, reason: error.message };
}

/** The first line: what follows repeats values that were sent. */
function plainMessage(error: DiscordAPIError): string {
  const message: unknown = Reflect.get(error.rawError, 'message');
  return typeof message === 'string' && message !== '' ? (message.split('\n')[0] ?? '').slice(0, 200) : 'refused';
}

function retryAfterOf(raw: object): number | undefined {
  const seconds: unknown = Reflect.get(raw, 'retry_after');
  return typeof seconds === 'number' && seconds > 0 ? Math.ceil(seconds * 1_000) : undefined;
}

function faultsOf(raw: object): string[] {
  const faults: string[] = [];
  collectFaults(Reflect.get(raw, 'errors'), '', faults);
  return faults;
}

function collectFaults(node: unknown, path: string, faults: string[]): void {
  if (typeof node !== 'object' || node === null || faults.length >= 20 || path.length > 200) return;
  for (const [key, value] of Object.entries(node)) {
    if (key !== '_errors') collectFaults(value, path === '' ? key : `${path}.${key}`, faults);
    else if (Array.isArray(value)) {
      for (const item of value) {
        const code: unknown = typeof item === 'object' && item !== null ? Reflect.get(item, 'code') : undefined;
        faults.push(`${path}: ${String(code)}`);
      }
    }
  }
}

/** Troubles of a connection that was never made. */
const neverSent: ReadonlySet<string> = new Set([
  'EAI_AGAIN',
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'UND_ERR_CONNECT_TIMEOUT',
]);

function networkTrouble(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  if (error.name === 'AbortError') return 'it took too long';
  const inner = error.cause instanceof Error ? error.cause : error;
  const code: unknown = Reflect.get(inner, 'code');
  return typeof code === 'string' ? code : inner.name;
}
