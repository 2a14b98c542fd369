import pg from 'pg';
import type { Log } from './log.ts';

/** Runs a statement on one certain connection. */
export type RunSql = (text: string, values?: readonly unknown[]) => Promise<Record<string, unknown>[]>;

export interface SteadyConnectionOptions {
  readonly url: string;
  readonly applicationName: string;
  readonly log: Log;
  /** Called for every new connection before it counts as open; what it sets up is lost with the connection. */
  readonly onConnect: (run: RunSql) => Promise<void>;
  readonly onNotify: (channel: string, payload: string) => void;
}

/** Time between two attempts to connect. */
const reconnectMs = 200;
/** A connection whose server does not answer a short statement in this time is given up. */
const answerMs = 3000;

/**
 * One database connection of its own that is opened again whenever it is lost: for session locks and LISTEN, which a
 * pool cannot hold.
 */
export class SteadyConnection implements AsyncDisposable {
  readonly #options: SteadyConnectionOptions;
  #client: pg.Client | undefined;
  #runOnClient: RunSql | undefined;
  #timer: NodeJS.Timeout | undefined;
  #connecting: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(options: SteadyConnectionOptions) {
    this.#options = options;
  }

  /** Connects for the first time. @throws when that fails; later losses are mended silently. */
  async open(): Promise<void> {
    await this.#connect();
  }

  /** Runs a statement; undefined while there is no connection. A failed statement gives the connection up. */
  async run(text: string, values: readonly unknown[] = []): Promise<Record<string, unknown>[] | undefined> {
    const client = this.#client;
    if (client === undefined || this.#runOnClient === undefined) return undefined;
    try {
      return await this.#runOnClient(text, values);
    } catch (err) {
      this.#lose(client, err);
      return undefined;
    }
  }

  /** Gives the present connection up; a new one follows. */
  reset(reason: string): void {
    if (this.#client !== undefined) this.#lose(this.#client, new Error(reason));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#connecting.catch(() => {});
    const client = this.#client;
    this.#client = undefined;
    await client?.end().catch(() => {});
  }

  async #connect(): Promise<void> {
    const { url, applicationName, onConnect, onNotify } = this.#options;
    const client = new pg.Client({
      connectionString: url,
      application_name: applicationName,
      keepAlive: true,
      query_timeout: answerMs,
      connectionTimeoutMillis: answerMs,
    });
    const run = runOn(client);
    client.on('error', (err) => this.#lose(client, err));
    client.on('end', () => this.#lose(client, new Error('the server closed the connection')));
    client.on('notification', (message) => onNotify(message.channel, message.payload ?? ''));
    try {
      await client.connect();
      await onConnect(run);
    } catch (err) {
      void client.end().catch(() => {});
      throw err;
    }
    this.#client = client;
    this.#runOnClient = run;
  }

  #lose(client: pg.Client, err: unknown): void {
    if (this.#client !== client) return;
    this.#client = undefined;
    void client.end().catch(() => {});
    if (this.#isClosed) return;
    this.#options.log.warn({ err }, 'steady database connection lost');
    this.#reconnect();
  }

  #reconnect(): void {
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => {
      this.#connecting = this.#connect().catch((err: unknown) => {
        this.#options.log.debug({ err }, 'steady database connection not back yet');
        this.#reconnect();
      });
    }, reconnectMs);
  }
}

/** One statement after the other: the driver warns about, and will refuse, a second one while the first runs. */
function runOn(client: pg.Client): RunSql {
  let last: Promise<unknown> = Promise.resolve();
  return (text, values = []) => {
    const result = last.then(async () => (await client.query<Record<string, unknown>>(text, [...values])).rows);
    last = result.catch(() => undefined);
    return result;
  };
}
