import { type App, type ReceiverEvent, SocketModeReceiver } from '@slack/bolt';
import { z } from 'zod';
import { clientOptions, silentLogger } from './slack-api.ts';

/** The library tells a dead connection by a missing pong after this long. */
const pongMs = 5_000;
const pingMs = 30_000;

const noteSchema = z.object({ type: z.literal('disconnect'), reason: z.string().default('') });

/**
 * One connection of Socket Mode that acknowledges an envelope only when it is stored. It never reconnects by itself:
 * the library's own way leaves seconds without any connection, and ends the process when a token was revoked meanwhile.
 */
export class DurableReceiver extends SocketModeReceiver {
  readonly #store: (body: unknown) => Promise<void>;
  readonly #inFlight = new Set<Promise<void>>();
  readonly #ended = Promise.withResolvers<string>();
  readonly #onFailure: (err: unknown) => void;

  constructor(options: {
    readonly appToken: string;
    readonly apiUrl: string;
    readonly store: (body: unknown) => Promise<void>;
    /** Told of an envelope that was not stored, and so will come again. */
    readonly onFailure: (err: unknown) => void;
    /** Slack is about to close this connection and wants another one. */
    readonly onDisconnectAsked: (reason: string) => void;
  }) {
    super({
      appToken: options.appToken,
      logger: silentLogger,
      autoReconnectEnabled: false,
      clientPingTimeout: pongMs,
      serverPingTimeout: pingMs,
      installerOptions: { clientOptions: clientOptions(options.apiUrl) },
      // False leaves the envelope without an acknowledgement.
      processEventErrorHandler: async () => false,
    });
    this.#store = options.store;
    this.#onFailure = options.onFailure;
    // Only the one method of an app that a receiver calls.
    this.init({ processEvent: async (event: ReceiverEvent) => await this.#take(event) } as unknown as App);
    this.client.on('disconnected', () => this.#ended.resolve('closed'));
    this.#askBeforeClosing(options.onDisconnectAsked);
  }

  /** Resolves when the connection is gone. */
  get ended(): Promise<string> {
    return this.#ended.promise;
  }

  /** Resolves when everything received was stored or failed, or after `ms`. */
  async settle(ms: number): Promise<void> {
    const patience = new Promise<void>((resolve) => {
      setTimeout(resolve, ms).unref();
    });
    while (this.#inFlight.size > 0) {
      const isLate = await Promise.race([
        Promise.allSettled(this.#inFlight).then(() => false),
        patience.then(() => true),
      ]);
      if (isLate) return;
    }
  }

  async #take(event: ReceiverEvent): Promise<void> {
    const work = this.#store(event.body).then(async () => await event.ack());
    const settled = work.then(
      () => undefined,
      (err: unknown) => this.#onFailure(err),
    );
    this.#inFlight.add(settled);
    await settled.finally(() => this.#inFlight.delete(settled));
  }

  /** The library closes at once when Slack asks for a new connection; acknowledgements on their way would be lost. */
  #askBeforeClosing(onDisconnectAsked: (reason: string) => void): void {
    const handlers = this.client.listeners('ws_message');
    this.client.removeAllListeners('ws_message');
    this.client.on('ws_message', (data: unknown, isBinary: unknown) => {
      const reason = typeof data === 'string' ? disconnectReason(data) : undefined;
      if (reason !== undefined) return onDisconnectAsked(reason);
      for (const handle of handlers) Reflect.apply(handle, this.client, [data, isBinary]);
    });
  }
}

function disconnectReason(data: string): string | undefined {
  if (!data.includes('"disconnect"')) return undefined;
  try {
    return noteSchema.safeParse(JSON.parse(data)).data?.reason;
  } catch {
    return undefined;
  }
}
