import type { Logger } from 'pino';

/** The logger every part takes: object first, constant message second, ids under the glossary's keys. */
export type Log = Pick<Logger, 'trace' | 'debug' | 'info' | 'warn' | 'error'> & {
  child(bindings: Record<string, unknown>): Log;
};
