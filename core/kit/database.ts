import { Kysely, PostgresDialect, type Transaction } from 'kysely';
import pg from 'pg';
import type { Log } from './log.ts';

/**
 * A connection pool without table types. A store adds its own with `db.withTables<...>()`, so that no room sees
 * another's tables.
 */
export type Db = Kysely<Record<never, never>>;

/** An open transaction, passed between rooms when two writes must succeed or fail together. */
export type Tx = Transaction<Record<never, never>>;

export interface DatabaseOptions {
  readonly url: string;
  /** Upper bound of open connections of this pool. */
  readonly connectionsMax: number;
  /** Shown in pg_stat_activity, so that an operator sees who holds a lock. */
  readonly applicationName: string;
  readonly log: Log;
}

/** No transaction of ours waits for anything but the database; this allows for a very busy process. */
const idleInTransactionMs = 15_000;

/** A `pg` pool with our type parsers: int8 arrives as bigint, because money must not pass through a float. */
export function createPool(options: DatabaseOptions): pg.Pool {
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.connectionsMax,
    application_name: options.applicationName,
    // A process that freezes inside a transaction must not keep its locks from everyone else.
    idle_in_transaction_session_timeout: idleInTransactionMs,
    types: {
      getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
        oid === pg.types.builtins.INT8 && format !== 'binary'
          ? BigInt
          : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
    },
  });
  // Without a listener, a server that restarts (57P01) would end this process.
  pool.on('error', (err) => options.log.warn({ err }, 'database connection lost'));
  // The pool listens only while a connection is idle; one that is lost between two statements of a transaction is not.
  pool.on('connect', (client) =>
    client.on('error', (err) => options.log.debug({ err }, 'database connection lost in use')),
  );
  return pool;
}

/** Opens the query builder over a pool; destroying it ends the pool. */
export function openDatabase(pool: pg.Pool): Db {
  return new Kysely<Record<never, never>>({ dialect: new PostgresDialect({ pool }) });
}
