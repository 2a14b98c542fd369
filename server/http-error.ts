import type { FastifyReply, FastifyRequest } from 'fastify';
import { AppError, type Blame, type ErrorCode, isAppError } from '#core/kit/errors.ts';
import type { Log } from '#core/kit/log.ts';

const statusByCode: Partial<Record<ErrorCode, number>> = {
  'message.too_large': 413,
  'request.not_found': 404,
  'request.refused': 403,
  'request.too_many': 429,
  'request.unauthenticated': 401,
  'channel.unavailable': 503,
  'database.unavailable': 503,
};

const statusByBlame: Record<Blame, number> = {
  caller: 400,
  grant: 403,
  budget: 402,
  operator: 500,
  upstream: 502,
  sandbox: 502,
  bug: 500,
};

/** The body of every failed request. */
interface ErrorBody {
  readonly error: { readonly code: string; readonly message: string; readonly mend?: string };
}

/** An error as an answer. */
export interface ErrorAnswer {
  readonly status: number;
  readonly body: ErrorBody;
  readonly retryAfterMs: number | undefined;
}

/** Turns anything thrown into an answer. What callers may not see is logged, and they get the number of the request. */
export function toAnswer(log: Log, thrown: unknown, requestId: string): ErrorAnswer {
  const error = fromThrown(thrown);
  const status = error === undefined ? 500 : (statusByCode[error.code] ?? statusByBlame[error.blame]);
  if (status >= 500) log.error({ err: thrown, requestId }, 'request failed');
  return { status, body: toBody(error, requestId, status), retryAfterMs: error?.retryAfterMs };
}

/** Answers a request with an error as JSON. */
export function sendError(log: Log, request: FastifyRequest, reply: FastifyReply, thrown: unknown): FastifyReply {
  const { status, body, retryAfterMs } = toAnswer(log, thrown, request.id);
  if (retryAfterMs !== undefined) void reply.header('retry-after', Math.ceil(retryAfterMs / 1000));
  return reply.code(status).send(body);
}

/** The pattern of the matched route: unlike the URL it never holds a token. */
export function routeOf(request: FastifyRequest): string {
  return request.routeOptions.url ?? 'unknown';
}

function fromThrown(thrown: unknown): AppError | undefined {
  if (isAppError(thrown)) return thrown;
  if (!(thrown instanceof Error)) return undefined;
  const code = 'code' in thrown ? String(thrown.code) : '';
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    return new AppError('message.too_large', 'The request is too large.', {
      mend: 'Send at most 1 MB of text; put more into a file.',
    });
  }
  // Connection refused, shut down, or too many connections: classes 08, 53 and 57 of Postgres.
  if (/^(ECONNREFUSED|ECONNRESET|EPIPE|08...|53...|57...)$/.test(code)) {
    return new AppError('database.unavailable', 'The database is not reachable.', {
      mend: 'Nothing was accepted; try again shortly.',
      retryAfterMs: 1_000,
      cause: thrown,
    });
  }
  const status = 'statusCode' in thrown ? Number(thrown.statusCode) : 500;
  return status >= 400 && status < 500 ? new AppError('request.invalid', thrown.message) : undefined;
}

function toBody(error: AppError | undefined, requestId: string, status: number): ErrorBody {
  if (error === undefined || (status >= 500 && status !== 503)) {
    return {
      error: {
        code: error?.code ?? 'invariant.broken',
        message: 'Something went wrong on our side.',
        mend: `The log has the details under request ${requestId}.`,
      },
    };
  }
  const { code, message, mend } = error;
  return { error: { code, message, ...(mend === undefined ? {} : { mend }) } };
}
