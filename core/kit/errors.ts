/** Who has to act on an error; decides who is told and whether a job is tried again. */
export type Blame = 'caller' | 'grant' | 'budget' | 'operator' | 'upstream' | 'sandbox' | 'bug';

interface ErrorRow {
  readonly blame: Blame;
  /** Whether the same work may succeed if it is simply tried again later. */
  readonly retry: boolean;
  /** Whether the message may be shown to a person in a chat. */
  readonly chat: boolean;
}

/**
 * The closed table of every error the product raises. `docs/errors.md` has one entry per code and a test holds the two
 * together.
 */
export const errorTable = {
  'agent.unknown': { blame: 'caller', retry: false, chat: true },
  'agent.invalid': { blame: 'operator', retry: false, chat: false },
  'approval.already_settled': { blame: 'caller', retry: false, chat: true },
  'approval.expired': { blame: 'caller', retry: false, chat: true },
  'approval.not_allowed': { blame: 'grant', retry: false, chat: true },
  'approval.unknown': { blame: 'caller', retry: false, chat: true },
  'budget.exhausted': { blame: 'budget', retry: false, chat: true },
  'channel.unavailable': { blame: 'upstream', retry: true, chat: false },
  'channel.rejected': { blame: 'upstream', retry: false, chat: false },
  'command.unknown': { blame: 'caller', retry: false, chat: true },
  'command.invalid': { blame: 'caller', retry: false, chat: true },
  'config.invalid': { blame: 'operator', retry: false, chat: false },
  'credential.invalid': { blame: 'caller', retry: false, chat: true },
  'credential.not_allowed': { blame: 'grant', retry: false, chat: true },
  'credential.unknown': { blame: 'caller', retry: false, chat: true },
  'database.unavailable': { blame: 'operator', retry: true, chat: false },
  'egress.refused': { blame: 'grant', retry: false, chat: true },
  'egress.timeout': { blame: 'upstream', retry: true, chat: true },
  'egress.too_large': { blame: 'upstream', retry: false, chat: true },
  'egress.unreachable': { blame: 'upstream', retry: true, chat: true },
  'file.gone': { blame: 'upstream', retry: false, chat: true },
  'file.too_large': { blame: 'caller', retry: false, chat: true },
  'file.unavailable': { blame: 'upstream', retry: true, chat: true },
  'grant.missing': { blame: 'grant', retry: false, chat: true },
  'grant.invalid': { blame: 'operator', retry: false, chat: false },
  'hook.invalid': { blame: 'operator', retry: false, chat: false },
  'image.invalid': { blame: 'operator', retry: false, chat: true },
  'image.missing': { blame: 'operator', retry: false, chat: true },
  'invariant.broken': { blame: 'bug', retry: false, chat: false },
  'mcp.login_needed': { blame: 'grant', retry: false, chat: true },
  'mcp.login_failed': { blame: 'upstream', retry: false, chat: true },
  'mcp.protocol': { blame: 'upstream', retry: false, chat: true },
  'mcp.timeout': { blame: 'upstream', retry: true, chat: true },
  'mcp.unavailable': { blame: 'upstream', retry: true, chat: true },
  'mcp.unknown': { blame: 'caller', retry: false, chat: true },
  'message.too_large': { blame: 'caller', retry: false, chat: true },
  'model.auth': { blame: 'operator', retry: false, chat: true },
  'model.billing': { blame: 'operator', retry: false, chat: true },
  'model.content': { blame: 'upstream', retry: false, chat: true },
  'model.context': { blame: 'upstream', retry: false, chat: true },
  'model.invalid': { blame: 'upstream', retry: false, chat: true },
  'model.overloaded': { blame: 'upstream', retry: true, chat: true },
  'model.protocol': { blame: 'upstream', retry: true, chat: true },
  'model.rate_limited': { blame: 'upstream', retry: true, chat: true },
  'model.timeout': { blame: 'upstream', retry: true, chat: true },
  'model.unavailable': { blame: 'upstream', retry: true, chat: true },
  'model.unknown': { blame: 'operator', retry: false, chat: true },
  'model.unpriced': { blame: 'operator', retry: false, chat: true },
  'person.unknown': { blame: 'caller', retry: false, chat: true },
  'person.unreachable': { blame: 'caller', retry: false, chat: true },
  'request.invalid': { blame: 'caller', retry: false, chat: false },
  'request.not_found': { blame: 'caller', retry: false, chat: false },
  'request.refused': { blame: 'caller', retry: false, chat: false },
  'request.too_many': { blame: 'caller', retry: false, chat: false },
  'request.unauthenticated': { blame: 'caller', retry: false, chat: false },
  'sandbox.disk_full': { blame: 'sandbox', retry: false, chat: true },
  'sandbox.full': { blame: 'operator', retry: true, chat: true },
  'sandbox.lost': { blame: 'sandbox', retry: true, chat: true },
  'sandbox.oom': { blame: 'sandbox', retry: false, chat: true },
  'sandbox.protocol': { blame: 'sandbox', retry: true, chat: true },
  'sandbox.timeout': { blame: 'sandbox', retry: false, chat: true },
  'sandbox.unavailable': { blame: 'operator', retry: false, chat: true },
  'skill.invalid': { blame: 'operator', retry: false, chat: false },
  'skill.suspended': { blame: 'operator', retry: false, chat: true },
  'skill.unknown': { blame: 'caller', retry: false, chat: true },
  'target.invalid': { blame: 'caller', retry: false, chat: true },
  'tool.invalid_arguments': { blame: 'caller', retry: false, chat: true },
  'tool.unknown': { blame: 'caller', retry: false, chat: true },
  'turn.cancelled': { blame: 'caller', retry: false, chat: true },
  'turn.crashed': { blame: 'bug', retry: false, chat: true },
  'turn.iterations': { blame: 'caller', retry: false, chat: true },
  'turn.loop': { blame: 'caller', retry: false, chat: true },
  'turn.timeout': { blame: 'caller', retry: false, chat: true },
  'vault.tampered': { blame: 'operator', retry: false, chat: true },
  'vault.unavailable': { blame: 'operator', retry: false, chat: true },
} as const satisfies Record<string, ErrorRow>;

/** Every code an `AppError` may carry. */
export type ErrorCode = keyof typeof errorTable;

interface AppErrorOptions {
  /** What the reader does next: one sentence, no secrets. */
  readonly mend?: string;
  readonly cause?: unknown;
  /** For upstream errors: wait at least this long before trying again. */
  readonly retryAfterMs?: number;
  /** Values worth logging; never secrets, never whole prompts. */
  readonly details?: Readonly<Record<string, string | number | boolean>>;
}

/**
 * The one error class. `message` says what happened with the values, `mend` what to do next.
 * Match on `code`, never on text: after a queue or process border only the code survives.
 */
export class AppError extends Error {
  readonly code: ErrorCode;
  readonly mend: string | undefined;
  readonly retryAfterMs: number | undefined;
  readonly details: Readonly<Record<string, string | number | boolean>>;

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'AppError';
    this.code = code;
    this.mend = options.mend;
    this.retryAfterMs = options.retryAfterMs;
    this.details = options.details ?? {};
  }

  get blame(): Blame {
    return errorTable[this.code].blame;
  }

  get canRetry(): boolean {
    return errorTable[this.code].retry;
  }

  /** Whether `message` and `mend` may be shown to a person in a chat. */
  get isForChat(): boolean {
    return errorTable[this.code].chat;
  }

  /** Message and mend as one text, for a chat or a terminal. */
  get text(): string {
    return this.mend === undefined ? this.message : `${this.message} ${this.mend}`;
  }
}

/** Narrows an unknown thrown value to an `AppError`, optionally with one given code. */
export function isAppError(value: unknown, code?: ErrorCode): value is AppError {
  return value instanceof AppError && (code === undefined || value.code === code);
}

/** Turns any thrown value into an `AppError`; what nobody classified is a bug and stays one. */
export function toAppError(value: unknown): AppError {
  if (value instanceof AppError) return value;
  const message = value instanceof Error ? value.message : String(value);
  return new AppError('invariant.broken', message, { cause: value });
}

/**
 * Asserts what the surrounding code guarantees. A broken invariant fails the current turn, not the process.
 * @throws AppError `invariant.broken` with the reason why it was expected to hold.
 */
export function invariant(condition: unknown, why: string): asserts condition {
  if (!condition) throw new AppError('invariant.broken', `This should not happen: ${why}.`);
}
