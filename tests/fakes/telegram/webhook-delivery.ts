import { z } from 'zod';
import { badRequest } from './bot-api-error.ts';
import type { Update, UpdateQueue } from './update-queue.ts';

const settingsSchema = z.looseObject({
  url: z.string(),
  secret_token: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,256}$/)
    .optional(),
  max_connections: z.number().int().min(1).max(100).default(40),
  allowed_updates: z.array(z.string()).optional(),
  drop_pending_updates: z.boolean().optional(),
});

const retryMinMs = 50;
const retryMaxMs = 1_000;

/**
 * Updates pushed to the bot's own address: several at once, each again until it is answered with 2xx. As on the real
 * server, setting a web hook turns polling off and keeps what waits.
 */
export class WebhookDelivery {
  readonly #updates: UpdateQueue;
  #settings: z.infer<typeof settingsSchema> | undefined;
  readonly #inFlight = new Map<number, AbortController>();
  #lastError: { readonly date: number; readonly message: string } | undefined;
  #held: Update[] | undefined;
  /** Status of every delivery, oldest first; 0 for none. */
  readonly statuses: number[] = [];
  /** The public address as the proxy in front of the bot knows it; what is not in it is delivered to no one. */
  proxyTo: string | undefined;

  constructor(updates: UpdateQueue) {
    this.#updates = updates;
    updates.onAdd = () => this.#deliver();
  }

  get isActive(): boolean {
    return this.#settings !== undefined;
  }

  get settings(): Readonly<Record<string, unknown>> | undefined {
    return this.#settings;
  }

  set(params: Record<string, unknown>): true {
    const settings = settingsSchema.safeParse(params);
    if (!settings.success) throw badRequest('bad webhook: secret token contains unallowed characters');
    const { url } = settings.data;
    if (url === '') return this.remove();
    if (!URL.canParse(url)) throw badRequest('bad webhook: invalid webhook URL specified');
    const { protocol, port } = new URL(url);
    if (protocol !== 'https:') throw badRequest('bad webhook: An HTTPS URL must be provided for webhook');
    if (!['', '443', '80', '88', '8443'].includes(port)) {
      throw badRequest('bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443');
    }
    this.#settings = settings.data;
    if (settings.data.drop_pending_updates === true) this.#updates.confirmAll();
    this.#deliver();
    return true;
  }

  remove(): true {
    this.#settings = undefined;
    this.close();
    return true;
  }

  info(): Record<string, unknown> {
    return {
      url: this.#settings?.url ?? '',
      has_custom_certificate: false,
      pending_update_count: this.#updates.pending,
      ...(this.#lastError === undefined
        ? {}
        : { last_error_date: this.#lastError.date, last_error_message: this.#lastError.message }),
    };
  }

  /** Keeps the next updates back until `release`. */
  hold(): void {
    this.#held = [];
  }

  /** Delivers what was kept back, newest first, each once the one before has arrived. */
  async releaseReversed(): Promise<void> {
    const held = this.#held ?? [];
    for (const update of held.toReversed()) await this.#push(update);
    this.#held = undefined;
    this.#deliver();
  }

  /** Calls the bot as anybody could. */
  async forge(update: unknown, secret: string | undefined): Promise<number> {
    const { status } = await fetch(this.#target(this.#settings?.url ?? ''), {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(secret === undefined ? {} : { 'x-telegram-bot-api-secret-token': secret }),
      },
      body: typeof update === 'string' ? update : JSON.stringify(update),
    });
    return status;
  }

  close(): void {
    for (const flight of this.#inFlight.values()) flight.abort();
    this.#inFlight.clear();
  }

  #deliver(): void {
    const settings = this.#settings;
    if (settings === undefined) return;
    for (const update of this.#updates.waiting(settings.allowed_updates)) {
      if (this.#inFlight.size >= settings.max_connections) return;
      if (this.#inFlight.has(update.update_id)) continue;
      if (this.#held !== undefined) {
        if (!this.#held.includes(update)) this.#held.push(update);
        continue;
      }
      void this.#push(update);
    }
  }

  async #push(update: Update): Promise<void> {
    const flight = new AbortController();
    this.#inFlight.set(update.update_id, flight);
    for (let retryMs = retryMinMs; !flight.signal.aborted; retryMs = Math.min(retryMs * 2, retryMaxMs)) {
      const status = await this.#post(update, flight.signal);
      this.statuses.push(status);
      if (status >= 200 && status < 300) {
        this.#updates.confirm(update.update_id);
        break;
      }
      if (flight.signal.aborted) return;
      this.#lastError = {
        date: Math.floor(Date.now() / 1000),
        message: status === 0 ? 'Connection refused' : `Wrong response from the webhook: ${status}`,
      };
      await new Promise((resolve) => setTimeout(resolve, retryMs));
    }
    this.#inFlight.delete(update.update_id);
    this.#deliver();
  }

  async #post(update: Update, signal: AbortSignal): Promise<number> {
    const settings = this.#settings;
    if (settings === undefined) return 0;
    try {
      const response = await fetch(this.#target(settings.url), {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          ...(settings.secret_token === undefined ? {} : { 'x-telegram-bot-api-secret-token': settings.secret_token }),
        },
        body: JSON.stringify(update),
        signal,
      });
      await response.arrayBuffer();
      return response.status;
    } catch {
      return 0;
    }
  }

  /** The proxy that ends TLS in front of the bot. */
  #target(url: string): string {
    return this.proxyTo === undefined ? url : `${this.proxyTo}${new URL(url).pathname}`;
  }
}
