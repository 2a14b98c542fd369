import { AppError } from '#core/kit/errors.ts';
import type { SendFailure } from '#core/outbox/channel-sender.ts';

/** A call that Slack answered with `ok: false`. */
export class SlackRefusal extends Error {
  readonly method: string;
  /** The error string of Slack, such as `not_in_channel`. */
  readonly code: string;

  constructor(method: string, code: string, detail = '') {
    super(`${method} was refused: ${code}${detail === '' ? '' : ` (${detail})`}`);
    this.name = 'SlackRefusal';
    this.method = method;
    this.code = code;
  }
}

/** A call that Slack put off. */
export class SlackThrottle extends Error {
  readonly afterMs: number;

  constructor(method: string, afterMs: number) {
    super(`${method} was throttled for ${afterMs / 1_000} s`);
    this.name = 'SlackThrottle';
    this.afterMs = afterMs;
  }
}

/** A call without a usable answer. `isSent` tells whether Slack may have carried it out all the same. */
export class SlackSilence extends Error {
  readonly method: string;
  readonly isSent: boolean;

  constructor(method: string, isSent: boolean, problem: string) {
    super(`${method} got no answer: ${problem}`);
    this.name = 'SlackSilence';
    this.method = method;
    this.isSent = isSent;
  }
}

/** Refusals that end the account's work until a person sets other credentials. */
const haltingCodes: ReadonlySet<string> = new Set([
  'account_inactive',
  'invalid_auth',
  'not_authed',
  'not_allowed_token_type',
  'org_login_required',
  'team_access_not_granted',
  'token_expired',
  'token_revoked',
  'user_removed_from_team',
]);

const kinds: Readonly<Record<string, SendFailure['kind']>> = {
  fatal_error: 'retry',
  internal_error: 'retry',
  request_timeout: 'retry',
  service_unavailable: 'retry',
  team_added_to_org: 'retry',
  rate_limited: 'throttled',
  ratelimited: 'throttled',
  message_limit_exceeded: 'throttled',
  cant_delete_message: 'gone',
  cant_update_message: 'gone',
  edit_window_closed: 'gone',
  file_deleted: 'gone',
  file_not_found: 'gone',
  message_not_found: 'gone',
  message_not_in_streaming_state: 'gone',
  message_not_owned_by_app: 'gone',
  thread_not_found: 'gone',
  access_denied: 'unreachable',
  as_user_not_supported: 'unreachable',
  cannot_dm_bot: 'unreachable',
  cannot_reply_to_message: 'unreachable',
  channel_not_found: 'unreachable',
  is_archived: 'unreachable',
  is_inactive: 'unreachable',
  messages_tab_disabled: 'unreachable',
  method_not_supported_for_channel_type: 'unreachable',
  no_permission: 'unreachable',
  not_in_channel: 'unreachable',
  posting_to_general_channel_denied: 'unreachable',
  team_not_found: 'unreachable',
  user_disabled: 'unreachable',
  user_not_found: 'unreachable',
  user_not_in_channel: 'unreachable',
  user_not_visible: 'unreachable',
  file_upload_size_restricted: 'too_big',
  msg_blocks_too_long: 'too_big',
  msg_too_long: 'too_big',
  too_many_attachments: 'too_big',
  expired_trigger_id: 'expired',
  expired_url: 'expired',
  exchanged_trigger_id: 'expired',
  invalid_trigger_id: 'expired',
  no_active_hooks: 'expired',
  used_url: 'expired',
  hash_conflict: 'conflict',
  missing_scope: 'auth',
};

/** Methods of which a second call is a second message. */
const postingMethods: ReadonlySet<string> = new Set([
  'chat.appendStream',
  'chat.postEphemeral',
  'chat.postMessage',
  'chat.startStream',
  'files.completeUploadExternal',
  'response_url',
]);

/** How the delivery loop should take any thrown value of this channel. */
export function classifySlackError(error: unknown): SendFailure {
  const cause = slackCauseOf(error);
  if (cause instanceof SlackThrottle) return { kind: 'throttled', afterMs: cause.afterMs, reason: cause.message };
  if (cause instanceof SlackSilence) {
    const isUnknown = cause.isSent && postingMethods.has(cause.method);
    return { kind: isUnknown ? 'unknown_outcome' : 'retry', reason: cause.message };
  }
  if (cause instanceof SlackRefusal) {
    const kind = kinds[cause.code] ?? (haltingCodes.has(cause.code) ? 'auth' : undefined);
    // Administrators' restrictions come in a dozen spellings.
    const restricted = cause.code.startsWith('restricted_action') ? 'unreachable' : 'bad_format';
    return {
      kind: kind ?? restricted,
      reason: cause.message,
      ...(kind === 'throttled' ? { afterMs: unnamedWaitMs } : {}),
    };
  }
  if (error instanceof AppError) {
    const kind = error.code === 'message.too_large' ? 'too_big' : error.canRetry ? 'retry' : 'bad_format';
    return { kind, reason: error.message };
  }
  return {
    kind: 'bad_format',
    reason: error instanceof Error ? `${error.name}: ${error.message}` : 'an unknown failure',
  };
}

/** A throttle without a time, which only the body of an answer can be. */
const unnamedWaitMs = 5_000;

/** Slack's error string of a thrown value, if Slack refused. */
export function slackCodeOf(error: unknown): string | undefined {
  const cause = slackCauseOf(error);
  return cause instanceof SlackRefusal ? cause.code : undefined;
}

/** Whether the refusal concerns the token itself, so that nothing else will work either. */
export function isHalting(error: unknown): boolean {
  const code = slackCodeOf(error);
  return code !== undefined && haltingCodes.has(code);
}

/** Turns what a call throws into our own error; neither the token nor the message text is in it. */
export function toChannelError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  const failure = classifySlackError(error);
  const canRetry = ['retry', 'throttled', 'unknown_outcome', 'conflict'].includes(failure.kind);
  return new AppError(canRetry ? 'channel.unavailable' : 'channel.rejected', `Slack: ${failure.reason}.`, {
    cause: error,
    ...(failure.afterMs === undefined ? {} : { retryAfterMs: failure.afterMs }),
  });
}

function slackCauseOf(error: unknown): unknown {
  for (let link: unknown = error, depth = 0; link instanceof Error && depth < 5; depth += 1) {
    if (link instanceof SlackRefusal || link instanceof SlackThrottle || link instanceof SlackSilence) return link;
    link = link.cause;
  }
  return undefined;
}
