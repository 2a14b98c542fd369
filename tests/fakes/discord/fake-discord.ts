import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { FaultPlan } from '../fault-plan.ts';
import { holdPort } from '../hold-port.ts';
import { Crowd } from './crowd.ts';
import { Gateway } from './gateway.ts';
import { answerInteraction, type InteractionTimes, webhookCall } from './interaction-routes.ts';
import { RateLimits } from './rate-limits.ts';
import { readRequest } from './read-request.ts';
import { RestError } from './rest-error.ts';
import { botRoutes, nothing, type RestCall, type RestDeps } from './rest-routes.ts';
import { buttonsOf, componentTexts, type SeenButton } from './wire.ts';
import { type FakeChannel, type FakeFile, type FakeInteraction, flagBits, World } from './world.ts';

/** One call of the bot, for assertions on what went over the wire. */
export interface RecordedCall {
  readonly method: string;
  readonly channelId: string;
  readonly body: Readonly<Record<string, unknown>>;
  readonly at: number;
  status: number;
}

/** A message as a person sees it: edits applied, deleted ones absent. */
export interface SeenMessage {
  readonly id: string;
  readonly from: 'bot' | 'person';
  /** Content, or the texts of its components. */
  readonly text: string;
  readonly buttons: readonly SeenButton[];
  readonly accent: number | undefined;
  readonly isCard: boolean;
  readonly isBusy: boolean;
  readonly isSilent: boolean;
  readonly onlyFor: string | undefined;
  /** Whom the server made a sound for. */
  readonly pings: readonly string[];
  readonly file: FakeFile | undefined;
  readonly replyTo: string | undefined;
  readonly nonce: string | undefined;
  readonly reactions: readonly string[];
  readonly edits: number;
  readonly sentAt: number;
  readonly editedAt: number | undefined;
}

export interface FakeDiscordOptions {
  readonly botId?: string;
  readonly port?: number;
  /** Whether calls are refused beyond the platform's rates. */
  readonly realRates?: boolean;
  /** How many times longer the windows of those rates are; 1 unless told. */
  readonly rateStretch?: number;
  readonly heartbeatMs?: number;
  readonly times?: Partial<InteractionTimes>;
  /** How many calls are kept for assertions; a benchmark keeps none. */
  readonly callsKept?: number;
  /** Answers requests below `/control/`; used when the fake runs in its own process. */
  readonly control?: (fake: FakeDiscord, path: string, body: unknown) => unknown;
}

/**
 * Discord over real HTTP and web sockets, with one bot, any number of people and servers, strict validation and planned
 * faults. `people` is the other side of the conversation.
 */
export class FakeDiscord implements AsyncDisposable {
  readonly token: string;
  readonly world: World;
  readonly gateway: Gateway;
  readonly people: Crowd;
  readonly faults = new FaultPlan();
  readonly rates: RateLimits;
  readonly calls: RecordedCall[] = [];
  readonly callCounts = new Map<string, number>();
  /** Answers with 429, by route. */
  readonly throttled = new Map<string, number>();
  /** The token was reset: everything by it is refused. */
  isTokenRevoked = false;
  readonly #options: FakeDiscordOptions;
  readonly #times: InteractionTimes;
  readonly #deps: RestDeps;
  readonly #server: Server;
  readonly #watchers = new Set<() => void>();
  /** Keeps the port for `listen` while it is closed. */
  #held: Disposable | undefined;
  #port = 0;

  private constructor(options: FakeDiscordOptions) {
    const botId = options.botId ?? '1088860213370363904';
    this.#options = options;
    this.token = `${Buffer.from(botId).toString('base64url')}.GaKeFa.fake-token-for-tests-only_0123456789abcdef`;
    this.world = new World({ id: botId, username: 'switchyard', isBot: true });
    this.#times = { answerMs: 3_000, tokenMs: 15 * 60_000, ...options.times };
    this.rates = new RateLimits(options.realRates === true, options.rateStretch);
    this.gateway = new Gateway({
      world: this.world,
      heartbeatMs: options.heartbeatMs ?? 41_250,
      isTokenGood: (token) => token === this.token && !this.isTokenRevoked,
    });
    this.#deps = { world: this.world, gateway: this.gateway, baseUrl: () => `http://127.0.0.1:${this.#port}` };
    this.people = new Crowd(this.#deps);
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch(() => response.destroy());
    });
    this.#server.keepAliveTimeout = 60_000;
    this.gateway.attach(this.#server);
  }

  static async start(options: FakeDiscordOptions = {}): Promise<FakeDiscord> {
    const fake = new FakeDiscord(options);
    await fake.listen(options.port ?? 0);
    return fake;
  }

  /** Opens the port; after `goDown` the same one again. */
  async listen(port: number = this.#port): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, '127.0.0.1', resolve);
    });
    this.#release();
    this.#port = (this.#server.address() as AddressInfo).port;
    this.gateway.resumeUrl = `ws://127.0.0.1:${this.#port}`;
  }

  /** What `DISCORD_API_URL` is set to. */
  get apiUrl(): string {
    return `http://127.0.0.1:${this.#port}/api`;
  }

  /** Closes the port and every connection, as an outage does; sessions can be resumed afterwards. */
  async goDown(): Promise<void> {
    await this.#close();
    this.#held = await holdPort(this.#port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.gateway.close();
    this.#release();
    if (this.#server.listening) await this.#close();
  }

  async #close(): Promise<void> {
    this.gateway.cut();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #release(): void {
    this.#held?.[Symbol.dispose]();
    this.#held = undefined;
  }

  /** Everything visible in a channel, oldest first; ephemeral ones included. */
  transcript(channelId: string): SeenMessage[] {
    const channel = this.world.channels.get(channelId);
    if (channel === undefined) throw new Error(`there is no channel ${channelId}`);
    return [...channel.messages.values()].map((message) => {
      const isCard = (message.flags & flagBits.componentsV2) !== 0;
      const [top] = message.components;
      const accent: unknown = typeof top === 'object' && top !== null ? Reflect.get(top, 'accent_color') : undefined;
      return {
        id: message.id,
        from: message.author.id === this.world.bot.id ? 'bot' : 'person',
        text: isCard ? componentTexts(message.components).join('\n') : message.content,
        buttons: buttonsOf(message.components),
        accent: typeof accent === 'number' ? accent : undefined,
        isCard,
        isBusy: (message.flags & flagBits.loading) !== 0,
        isSilent: (message.flags & flagBits.suppressNotifications) !== 0,
        onlyFor: message.onlyFor,
        pings: message.pings,
        file: message.files[0],
        replyTo: message.replyTo,
        nonce: message.nonce,
        reactions: [...message.reactions.keys()],
        edits: message.edits,
        sentAt: message.sentAt,
        editedAt: message.editedAt,
      };
    });
  }

  /** The bot's messages of a channel. */
  said(channelId: string): SeenMessage[] {
    return this.transcript(channelId).filter(({ from }) => from === 'bot');
  }

  /** Threads of a channel, oldest first. */
  threads(channelId: string): FakeChannel[] {
    return [...this.world.channels.values()].filter(({ parentId }) => parentId === channelId);
  }

  interaction(id: string): FakeInteraction {
    const interaction = this.world.interactions.get(id);
    if (interaction === undefined) throw new Error(`there is no interaction ${id}`);
    return interaction;
  }

  /** Lets every interaction there is be older by so much, as if nobody had done anything meanwhile. */
  ages(ms: number): void {
    for (const interaction of this.world.interactions.values()) interaction.at -= ms;
  }

  callsOf(method: string): RecordedCall[] {
    return this.calls.filter((call) => call.method === method);
  }

  /** Resolves with the first truthy value of `probe`, which is asked whenever the bot calls and every 20 ms. */
  async waitFor<T>(probe: () => T | undefined | false, timeoutMs = 30_000): Promise<T> {
    const until = performance.now() + timeoutMs;
    while (performance.now() < until) {
      const value = probe();
      if (value !== undefined && value !== false) return value;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 20);
        this.#watchers.add(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
    const recent = this.calls
      .slice(-6)
      .map(({ method, status, body }) => `${method} ${status} ${JSON.stringify(body).slice(0, 200)}`);
    throw new Error(`the bot did not do this within ${timeoutMs} ms; its last calls: ${recent.join('; ')}`);
  }

  #notify(): void {
    const watchers = [...this.#watchers];
    this.#watchers.clear();
    for (const watcher of watchers) watcher();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://localhost');
    if (url.pathname.startsWith('/control/')) {
      const { body } = await readRequest(request);
      const path = url.pathname.slice('/control/'.length);
      const given = Object.assign(Object.fromEntries(url.searchParams), body);
      answer(response, 200, (await this.#options.control?.(this, path, given)) ?? {}, {});
      return;
    }
    if (url.pathname.startsWith('/attachments/')) {
      this.#serveFile(url, response);
      return;
    }
    try {
      await this.#call(request, response, url);
    } finally {
      this.#notify();
    }
  }

  #serveFile(url: URL, response: ServerResponse): void {
    const file = this.world.files.get(url.pathname.split('/')[3] ?? '');
    const isFresh = Number(url.searchParams.get('ex')) * 1_000 > Date.now();
    if (file === undefined || !isFresh) {
      response.writeHead(404).end('This content is no longer available.');
      return;
    }
    response.writeHead(200, { 'content-type': file.mime, 'content-length': file.bytes.length }).end(file.bytes);
  }

  async #call(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const path = url.pathname.replace(/^\/api\/v10/, '');
    const method = request.method ?? 'GET';
    const found = this.#find(method, path);
    const { body: parsed, files } = await readRequest(request).catch(() => ({ body: {}, files: [] }));
    const body: Record<string, unknown> = Array.isArray(parsed)
      ? { list: parsed }
      : typeof parsed === 'object' && parsed !== null
        ? { ...parsed }
        : {};
    const name = found?.name ?? 'unknown';
    const channelId = found?.params[0] ?? '';
    const record: RecordedCall = {
      method: name,
      channelId,
      body,
      at: performance.timeOrigin + performance.now(),
      status: 0,
    };
    this.callCounts.set(name, (this.callCounts.get(name) ?? 0) + 1);
    if (this.calls.length < (this.#options.callsKept ?? 20_000)) this.calls.push(record);
    const finish = (status: number, value: unknown, headers: Readonly<Record<string, string>>): void => {
      record.status = status;
      if (status === 401 || status === 403 || status === 429) this.rates.invalidRequests += 1;
      if (status === 429)
        this.throttled.set(`${name}:${channelId}`, (this.throttled.get(`${name}:${channelId}`) ?? 0) + 1);
      answer(response, status, value, headers);
    };
    const fault = this.faults.take(name, channelId);
    if (fault?.kind === 'delay') await delay(fault.ms);
    if (fault?.kind === 'throttle') return finish(429, ...tooMany(fault.retryAfter, false));
    if (fault?.kind === 'html') {
      response.writeHead(fault.code, { 'content-type': 'text/html' }).end('<html>a proxy</html>');
      return;
    }
    if (fault?.kind === 'dropBefore') {
      response.destroy();
      return;
    }
    if (fault?.kind === 'status') {
      // Discord's own codes are above 1000; the status is then 400, 403 or 404 as the code's first digits say.
      const status = fault.code < 1_000 ? fault.code : statusOf(fault.code);
      return finish(status, { code: fault.code < 1_000 ? 0 : fault.code, message: fault.description }, {});
    }
    const allowance = this.rates.take(name, channelId);
    if (allowance.retryAfter !== undefined) {
      const [value, headers] = tooMany(allowance.retryAfter, allowance.isGlobal === true);
      return finish(429, value, { ...allowance.headers, ...headers });
    }
    try {
      if (found === undefined) throw new RestError(404, 0, '404: Not Found');
      if (found.needsToken && (request.headers.authorization !== `Bot ${this.token}` || this.isTokenRevoked)) {
        throw new RestError(401, 0, '401: Unauthorized');
      }
      const value = found.handle({ params: found.params, body, files, query: url.searchParams });
      if (fault?.kind === 'dropAfter') {
        response.destroy();
        return;
      }
      finish(value === nothing ? 204 : 200, value, allowance.headers);
    } catch (err) {
      if (!(err instanceof RestError)) throw err;
      const errors = err.errors === undefined ? {} : { errors: err.errors };
      finish(err.status, { code: err.code, message: err.message, ...errors }, allowance.headers);
    }
  }

  #find(
    method: string,
    path: string,
  ):
    | {
        readonly name: string;
        readonly params: readonly string[];
        readonly needsToken: boolean;
        readonly handle: (call: RestCall) => unknown;
      }
    | undefined {
    const callback = /^\/interactions\/(\d+)\/([^/]+)\/callback$/.exec(path);
    if (callback !== null && method === 'POST') {
      const params = callback.slice(1);
      return {
        name: 'callback',
        params,
        needsToken: false,
        handle: (call) => answerInteraction(this.#deps, this.#times, call),
      };
    }
    const webhook = /^\/webhooks\/(\d+)\/([^/]+)(?:\/messages\/([^/]+))?$/.exec(path);
    if (webhook !== null) {
      const params = webhook.slice(1).filter((part) => part !== undefined);
      const name = `webhook${method}`;
      return { name, params, needsToken: false, handle: (call) => webhookCall(this.#deps, this.#times, method, call) };
    }
    for (const route of botRoutes) {
      const match = route.method === method ? route.path.exec(path) : null;
      if (match === null) continue;
      return {
        name: route.name,
        params: match.slice(1),
        needsToken: true,
        handle: (call) => route.handle(this.#deps, call),
      };
    }
    return undefined;
  }
}

function tooMany(retryAfter: number, isGlobal: boolean): [unknown, Record<string, string>] {
  return [
    { message: 'You are being rate limited.', retry_after: retryAfter, global: isGlobal },
    {
      'retry-after': String(retryAfter),
      ...(isGlobal ? { 'x-ratelimit-global': 'true', 'x-ratelimit-scope': 'global' } : {}),
    },
  ];
}

function statusOf(code: number): number {
  if (code >= 10_000 && code < 20_000) return 404;
  if (code === 40_001 || code === 50_014 || code === 50_027) return 401;
  return [50_001, 50_007, 50_013, 50_278].includes(code) ? 403 : 400;
}

/** Answers without a body say nothing of JSON: clients would try to read it. */
function answer(
  response: ServerResponse,
  status: number,
  value: unknown,
  headers: Readonly<Record<string, string>>,
): void {
  if (response.destroyed) return;
  if (status === 204) {
    response.writeHead(204, headers).end();
    return;
  }
  const text = JSON.stringify(value);
  response.writeHead(status, {
    ...headers,
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
  });
  response.end(text);
}
