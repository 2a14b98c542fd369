import type { Channel } from '#bots/channel.ts';
import { type AccountHealth, noteAccount } from '#core/channels/note-account.ts';
import type { Clock } from '#core/kit/clock.ts';
import type { Db } from '#core/kit/database.ts';
import type { Log } from '#core/kit/log.ts';

const lookMs = 1000;
/** Written again although nothing changed, so that a reader can tell an old state from one of a dead gateway. */
const againMs = 15_000;

interface Written {
  health: AccountHealth | undefined;
  at: number;
}

/** Writes how the accounts do that this process holds; those of other gateways are theirs to write. */
export class ChannelHealthBook {
  readonly #deps: { readonly db: Db; readonly clock: Clock; readonly log: Log };
  readonly #held = new Map<Channel, Written>();

  constructor(deps: { readonly db: Db; readonly clock: Clock; readonly log: Log }) {
    this.#deps = deps;
  }

  /** Writes the health of a channel from now on, until the result is disposed of. */
  write(channel: Channel): Disposable {
    this.#held.set(channel, { health: undefined, at: 0 });
    return {
      [Symbol.dispose]: () => {
        this.#held.delete(channel);
      },
    };
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      for (const [channel, written] of this.#held) await this.#note(channel, written);
      await this.#deps.clock.sleep(lookMs, signal).catch(() => undefined);
    }
  }

  async #note(channel: Channel, written: Written): Promise<void> {
    const { clock, log } = this.#deps;
    const health = channel.health();
    const isSame = health.state === written.health?.state && health.detail === written.health.detail;
    if (isSame && clock.now().getTime() - written.at < againMs) return;
    try {
      await noteAccount(this.#deps, { channel: channel.channel, account: channel.account }, health);
      written.health = health;
      written.at = clock.now().getTime();
    } catch (err) {
      log.warn({ err, channel: channel.channel }, 'channel health could not be written');
    }
  }
}
