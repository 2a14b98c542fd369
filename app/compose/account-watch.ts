import { listAccounts } from '#core/channels/switch-channel.ts';
import type { Clock } from '#core/kit/clock.ts';
import type { Db } from '#core/kit/database.ts';
import type { Log } from '#core/kit/log.ts';

const lookMs = 1000;

/** What a part of the product needs to know of one of our accounts. */
interface Account {
  readonly channel: string;
  readonly account: string;
}

/** Which of our accounts a person has switched off, read once a second for all of them. */
export class AccountWatch {
  readonly #deps: { readonly db: Db; readonly clock: Clock; readonly log: Log };
  #disabled: ReadonlySet<string> = new Set();
  #hasLooked = false;
  readonly #listeners = new Set<() => void>();

  constructor(deps: { readonly db: Db; readonly clock: Clock; readonly log: Log }) {
    this.#deps = deps;
  }

  /** Reads along until the signal aborts. While the database is away everything stays as it was. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#deps;
    while (!signal.aborted) {
      await this.look().catch((err: unknown) => log.warn({ err }, 'accounts could not be read'));
      await clock.sleep(lookMs, signal).catch(() => undefined);
    }
  }

  /** Reads once; a process calls it before it begins, so that nothing is connected for a moment by mistake. */
  async look(): Promise<void> {
    const accounts = await listAccounts(this.#deps.db);
    this.#hasLooked = true;
    this.#disabled = new Set(accounts.filter(({ isEnabled }) => !isEnabled).map(keyOf));
    for (const tell of this.#listeners) tell();
  }

  isEnabled(account: Account): boolean {
    return !this.#disabled.has(keyOf(account));
  }

  /**
   * Runs `work` while the account is switched on, again whenever it is switched on again, until the signal aborts. Its
   * signal aborts when it is switched off; work that ends by itself meanwhile ends the whole.
   */
  async whileEnabled(
    account: Account,
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<void>,
  ): Promise<void> {
    const { log } = this.#deps;
    if (!this.#hasLooked) await this.look().catch((err: unknown) => log.warn({ err }, 'accounts could not be read'));
    while (!signal.aborted) {
      await this.#until(() => this.isEnabled(account), signal);
      if (signal.aborted) return;
      const off = new AbortController();
      const watched = this.#until(() => !this.isEnabled(account), AbortSignal.any([signal, off.signal])).then(() =>
        off.abort(),
      );
      let wasSwitchedOff = false;
      try {
        await work(AbortSignal.any([signal, off.signal]));
      } finally {
        wasSwitchedOff = off.signal.aborted && !signal.aborted;
        off.abort();
        await watched;
      }
      if (!wasSwitchedOff) return;
      log.info({ channel: account.channel, account: account.account }, 'channel switched off');
    }
  }

  async #until(holds: () => boolean, signal: AbortSignal): Promise<void> {
    if (signal.aborted || holds()) return;
    const done = Promise.withResolvers<void>();
    const look = (): void => {
      if (holds()) done.resolve();
    };
    const stop = (): void => done.resolve();
    this.#listeners.add(look);
    signal.addEventListener('abort', stop, { once: true });
    await done.promise;
    this.#listeners.delete(look);
    signal.removeEventListener('abort', stop);
  }
}

function keyOf({ channel, account }: Account): string {
  return `${channel}:${account}`;
}
