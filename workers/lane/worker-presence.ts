import { hostname } from 'node:os';
import { newId } from '#core/kit/ids.ts';
import type { Log } from '#core/kit/log.ts';
import { type RunSql, SteadyConnection } from '#core/kit/steady-connection.ts';
import { beatWorker, dischargeWorker, enlistWorker } from '#core/lanes/worker-store.ts';

/** Well under the second of silence after which a worker without its lock counts as killed. */
const beatMs = 400;

/** A channel name is part of the statement, so it is held to plain words. */
const channelPattern = /^[a-z_]+$/;

/**
 * That this process lives, for everyone who may have to take over its work: one row that beats, one session lock, and
 * the ear for notifications, all on one connection.
 */
export class WorkerPresence implements AsyncDisposable {
  /** The owner id under which this process leases lanes and deliveries. */
  readonly id = newId();
  readonly #connection: SteadyConnection;
  readonly #listeners = new Map<string, Set<(payload: string) => void>>();
  #timer: NodeJS.Timeout | undefined;

  private constructor(options: { readonly databaseUrl: string; readonly log: Log }) {
    this.#connection = new SteadyConnection({
      url: options.databaseUrl,
      applicationName: 'switchyard-presence',
      log: options.log,
      onConnect: async (run) => {
        await enlistWorker(run, this.id, hostname());
        for (const channel of this.#listeners.keys()) await run(`listen ${channel}`);
      },
      onNotify: (channel, payload) => {
        for (const listener of this.#listeners.get(channel) ?? []) listener(payload);
      },
    });
  }

  /** Enlists this process and keeps it enlisted. @throws when the database cannot be reached now. */
  static async open(options: { readonly databaseUrl: string; readonly log: Log }): Promise<WorkerPresence> {
    const presence = new WorkerPresence(options);
    await presence.#connection.open();
    presence.#beatLater();
    return presence;
  }

  /**
   * Hears notifications of a channel, best effort: those sent while the connection is away are lost.
   * @returns a function that stops listening.
   */
  async listen(channel: string, listener: (payload: string) => void): Promise<() => void> {
    if (!channelPattern.test(channel)) throw new TypeError(`${channel} is not a channel name`);
    const listeners = this.#listeners.get(channel) ?? new Set();
    this.#listeners.set(channel, listeners.add(listener));
    await this.#connection.run(`listen ${channel}`);
    return () => {
      listeners.delete(listener);
    };
  }

  /** Says good-bye, so that nobody waits for a sign of life. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await dischargeWorker(this.#run, this.id);
    await this.#connection[Symbol.asyncDispose]();
  }

  readonly #run: RunSql = async (text, values) => (await this.#connection.run(text, values)) ?? [];

  #beatLater(): void {
    this.#timer = setTimeout(() => void this.#beat(), beatMs);
  }

  async #beat(): Promise<void> {
    const isKnown = await beatWorker(this.#run, this.id);
    if (this.#timer === undefined) return;
    if (!isKnown) this.#connection.reset('this worker was forgotten');
    this.#beatLater();
  }
}
