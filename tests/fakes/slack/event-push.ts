import { createHmac } from 'node:crypto';
import type { World } from './world.ts';

export type PayloadKind = 'events_api' | 'slash_commands' | 'interactive';

/** One payload on its way to the app, with everything that became of it. */
export interface Push {
  readonly id: string;
  readonly kind: PayloadKind;
  readonly payload: Record<string, unknown>;
  readonly createdAt: number;
  /** Tries so far, each with its time and the connection it took. */
  readonly tries: { readonly at: number; readonly connection: number }[];
  ackedAt: number | undefined;
  /** How the app answered in HTTP mode. */
  readonly statuses: number[];
  isGivenUp: boolean;
}

/** Where payloads go. @returns the number of the connection, or undefined when there is none now. */
export interface PushTransport {
  send(push: Push, attempt: number): number | undefined;
}

/** Delivers payloads at least once, in order of creation, repeating what was not acknowledged in time. */
export class EventPush {
  readonly pushes: Push[] = [];
  readonly #world: World;
  #transport: PushTransport | undefined;
  #waiting: Push[] = [];
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #onChange: () => void;
  /** Holds everything back, to be released in another order. */
  isHeld = false;

  constructor(world: World, onChange: () => void) {
    this.#world = world;
    this.#onChange = onChange;
  }

  use(transport: PushTransport | undefined): void {
    this.#transport = transport;
    this.flush();
  }

  add(kind: PayloadKind, payload: Record<string, unknown>): Push {
    const push: Push = {
      id: this.#world.nextId('E'),
      kind,
      payload,
      createdAt: this.#world.now(),
      tries: [],
      ackedAt: undefined,
      statuses: [],
      isGivenUp: false,
    };
    this.pushes.push(push);
    if (this.isHeld) this.#waiting.push(push);
    else this.#try(push);
    return push;
  }

  /** Sends one that was sent before, as Slack does at times for no visible reason. */
  repeat(push: Push): void {
    push.ackedAt = undefined;
    this.#try(push);
  }

  /** Lets go what was held, the newest first if asked. */
  release(order: 'same' | 'reversed'): void {
    this.isHeld = false;
    const held = this.#waiting;
    this.#waiting = [];
    for (const push of order === 'same' ? held : held.reverse()) this.#try(push);
  }

  acknowledge(id: string): void {
    const push = this.pushes.find((candidate) => candidate.id === id);
    if (push === undefined || push.ackedAt !== undefined) return;
    push.ackedAt = this.#world.now();
    this.#onChange();
  }

  /** Sends what found no connection before. */
  flush(): void {
    if (this.isHeld) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const push of waiting) this.#try(push);
  }

  close(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  #try(push: Push): void {
    const attempt = push.tries.length;
    const connection = this.#transport?.send(push, attempt);
    if (connection === undefined) {
      this.#waiting.push(push);
      return;
    }
    push.tries.push({ at: this.#world.now(), connection });
    this.#onChange();
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (push.ackedAt !== undefined) return;
      // Only events come again; whoever gave a command or pressed a button is shown a failure.
      if (push.kind !== 'events_api' || push.tries.length > this.#world.limits.retriesMax) {
        push.isGivenUp = true;
        this.#onChange();
      } else this.#try(push);
    }, this.#world.limits.ackMs);
    this.#timers.add(timer);
  }
}

/** Headers that prove a request of Slack. `skewSeconds` and `secret` forge them. */
export function signedHeaders(
  body: string,
  options: { readonly secret: string; readonly nowMs: number; readonly skewSeconds?: number },
): Record<string, string> {
  const timestamp = String(Math.floor(options.nowMs / 1_000) + (options.skewSeconds ?? 0));
  const signature = createHmac('sha256', options.secret).update(`v0:${timestamp}:${body}`).digest('hex');
  return { 'x-slack-request-timestamp': timestamp, 'x-slack-signature': `v0=${signature}` };
}

/** The body and content type Slack uses for a payload in HTTP mode. */
export function httpBody(push: Pick<Push, 'kind' | 'payload'>): { readonly body: string; readonly type: string } {
  if (push.kind === 'events_api') return { body: JSON.stringify(push.payload), type: 'application/json' };
  const form =
    push.kind === 'interactive'
      ? new URLSearchParams({ payload: JSON.stringify(push.payload) })
      : new URLSearchParams(
          Object.entries(push.payload).map(([name, value]): [string, string] => [name, String(value)]),
        );
  return { body: form.toString(), type: 'application/x-www-form-urlencoded' };
}

/** Posts payloads to the app's web hook. */
export function httpTransport(options: {
  readonly url: string;
  readonly secret: string;
  readonly world: World;
  readonly push: EventPush;
}): PushTransport {
  const { url, secret, world, push: queue } = options;
  return {
    send: (push, attempt) => {
      const { body, type } = httpBody(push);
      void fetch(url, {
        method: 'POST',
        body,
        headers: {
          'content-type': type,
          ...signedHeaders(body, { secret, nowMs: world.now() }),
          ...(attempt === 0 ? {} : { 'x-slack-retry-num': String(attempt), 'x-slack-retry-reason': 'http_timeout' }),
        },
        signal: AbortSignal.timeout(world.limits.ackMs),
      })
        .then(async (response) => {
          await response.arrayBuffer();
          push.statuses.push(response.status);
          if (response.ok) queue.acknowledge(push.id);
        })
        // No answer in time, or one that broke off.
        .catch(() => push.statuses.push(0));
      return 0;
    },
  };
}
