import { GrammyError, HttpError } from 'grammy';
import { AppError } from '#core/kit/errors.ts';
import type { SendFailure } from '#core/outbox/channel-sender.ts';
import { TransportError } from './telegram-fetch.ts';

const threadGone = /message thread not found|TOPIC_CLOSED|TOPIC_DELETED|TOPIC_ID_INVALID/i;
const parentGone = /message to (?:be replied|reply) not found|REPLY_MESSAGE_ID_INVALID/i;

/**
 * Descriptions of the Bot API and what they mean for a delivery, first match wins. Telegram does not promise to keep the
 * texts; what matches nothing is decided by the status code alone.
 */
const refusals: readonly (readonly [RegExp, SendFailure['kind']])[] = [
  [/message is not modified/i, 'no_op'],
  [
    /message to (?:edit|delete|forward|react) not found|MESSAGE_ID_INVALID|message can't be (?:edited|deleted)/i,
    'gone',
  ],
  [/no (?:text|media|caption) in the message to edit/i, 'gone'],
  [
    /message (?:caption )?is too long|MESSAGE_TOO_LONG|caption is too long|file is too big|request entity too large/i,
    'too_big',
  ],
  [/query is too old|query id is invalid/i, 'expired'],
  // Met only where there is no room to fall back to.
  [threadGone, 'unreachable'],
  [
    /chat not found|user not found|PEER_ID_INVALID|group chat was deactivated|CHAT_WRITE_FORBIDDEN|user is deactivated/i,
    'unreachable',
  ],
  [/not enough rights|have no rights|need administrator rights|CHAT_ADMIN_REQUIRED|CHAT_RESTRICTED/i, 'unreachable'],
];

/** Turns what the client library throws into our own error; neither the token nor the message text is in it. */
export function toChannelError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  const failure = classifyTelegramError(error);
  const canRetry = failure.kind === 'retry' || failure.kind === 'throttled' || failure.kind === 'unknown_outcome';
  return new AppError(canRetry ? 'channel.unavailable' : 'channel.rejected', `Telegram: ${failure.reason}.`, {
    cause: error,
    ...(failure.afterMs === undefined ? {} : { retryAfterMs: failure.afterMs }),
  });
}

/** How the delivery loop should take any thrown value of this channel. */
export function classifyTelegramError(error: unknown): SendFailure {
  for (let link: unknown = error, depth = 0; link !== undefined && link !== null && depth < 5; depth += 1) {
    if (link instanceof GrammyError) return classifyRefusal(link);
    if (link instanceof HttpError) {
      link = link.error;
      continue;
    }
    if (link instanceof TransportError) return classifyTransport(link);
    if (!(link instanceof Error)) break;
    if (link instanceof AppError && link.cause === undefined) return classifyOwn(link);
    link = link.cause;
  }
  return {
    kind: 'bad_format',
    reason: error instanceof Error ? `${error.name}: ${error.message}` : 'an unknown failure',
  };
}

/** The refusal of a thrown value, if the platform refused. */
export function refusalOf(error: unknown): GrammyError | undefined {
  if (error instanceof GrammyError) return error;
  return error instanceof AppError && error.cause instanceof GrammyError ? error.cause : undefined;
}

/** The topic a message was for is closed or deleted; its chat is still there. */
export function isThreadGone(error: unknown): boolean {
  return threadGone.test(refusalOf(error)?.description ?? '');
}

/** The message that was to be answered is deleted, and the platform refuses rather than leave it out. */
export function isParentGone(error: unknown): boolean {
  return parentGone.test(refusalOf(error)?.description ?? '');
}

/**
 * The server refuses what a call asks for, as one that is older than the feature does: the method is not there (404) or
 * its arguments make no sense to it (400). Everything that has a meaning of its own is not such a refusal.
 */
export function isNotOffered(error: unknown): boolean {
  const refusal = refusalOf(error);
  if (refusal === undefined) return false;
  if (refusal.error_code === 404) return true;
  return refusal.error_code === 400 && classifyTelegramError(error).kind === 'bad_format' && !isParentGone(error);
}

function classifyRefusal(refusal: GrammyError): SendFailure {
  const { error_code: code, description, parameters, method } = refusal;
  const reason = `${method} was refused: ${description} (${code})`;
  if (parameters.migrate_to_chat_id !== undefined) {
    return { kind: 'moved', newRoom: String(parameters.migrate_to_chat_id), reason };
  }
  if (code === 429) return { kind: 'throttled', afterMs: Math.max(1, parameters.retry_after ?? 3) * 1_000, reason };
  if (code === 401 || code === 404) return { kind: 'auth', reason };
  if (code === 409) return { kind: 'conflict', reason };
  if (code === 403) return { kind: 'unreachable', reason };
  if (code === 413) return { kind: 'too_big', reason };
  if (code === 504 && isPosting(method)) return { kind: 'unknown_outcome', reason };
  if (code >= 500) return { kind: 'retry', reason };
  const match = refusals.find(([pattern]) => pattern.test(description));
  return { kind: match?.[1] ?? 'bad_format', reason };
}

function classifyTransport(failure: TransportError): SendFailure {
  const isUnknown = failure.isSent && isPosting(failure.method);
  return { kind: isUnknown ? 'unknown_outcome' : 'retry', reason: failure.message };
}

function classifyOwn(error: AppError): SendFailure {
  const kind = error.code === 'message.too_large' ? 'too_big' : error.canRetry ? 'retry' : 'bad_format';
  return { kind, reason: error.message };
}

/** A second `send…` is a second message; every other method may be repeated. */
function isPosting(method: string): boolean {
  return /^send(?!ChatAction)(?!\w*Draft$)/.test(method);
}
