import { isAppError } from './errors.ts';

/** Connection refused, lost, shut down, starting up, or too many of them: classes 08, 53 and 57P of Postgres. */
const codes = /^(ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|08...|53...|57P..)$/;
/** What the driver says without a code. */
const messages =
  /^(Connection terminated|Client has encountered a connection error|timeout e\w+( when trying to connect)?$)/;

/**
 * Whether a thrown value of a database call means that the server is away for now, as against a statement it refused.
 * To be asked only where nothing else that dials out can have thrown it raw.
 */
export function isDatabaseAway(err: unknown): boolean {
  if (isAppError(err)) return err.code === 'database.unavailable';
  if (!(err instanceof Error)) return false;
  if ('code' in err && typeof err.code === 'string') return codes.test(err.code);
  return messages.test(err.message);
}
