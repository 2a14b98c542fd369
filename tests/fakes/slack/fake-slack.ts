import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { FaultPlan } from '../fault-plan.ts';
import { holdPort } from '../hold-port.ts';
import { Watchers } from '../watchers.ts';
import { EventPush, httpTransport, type Push } from './event-push.ts';
import type { MethodContext } from './method-support.ts';
import { People } from './people.ts';
import { RateLimits } from './rate-limits.ts';
import { answerResponseUrl } from './response-url.ts';
import { SlackError, SlackThrottled } from './slack-error.ts';
import { SocketMode } from './socket-mode.ts';
import { scopesOf, webMethods } from './web-methods.ts';
import {
  buttonsOf,
  type FakeButton,
  type FakeFile,
  type FakeLimits,
  type FakeMessage,
  realLimits,
  shownText,
  World,
} from './world.ts';

/** One call of the app, for assertions on what went over the wire. */
export interface RecordedCall {
  readonly method: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly at: number;
}

/** A message as a person sees it. */
export interface SeenMessage {
  readonly ts: string;
  readonly threadTs: string | undefined;
  readonly from: 'bot' | 'person';
  readonly text: string;
  readonly blocks: readonly Record<string, unknown>[];
  readonly buttons: readonly FakeButton[];
  readonly files: readonly FakeFile[];
  readonly onlyFor: string | undefined;
  readonly isStreaming: boolean;
  readonly reactions: readonly string[];
  readonly metadata: Record<string, unknown> | undefined;
  readonly edits: number;
  readonly sentAt: number;
  readonly editedAt: number | undefined;
  readonly options: Readonly<Record<string, unknown>>;
}

export interface FakeSlackOptions {
  readonly port?: number;
  readonly botToken?: string;
  readonly appToken?: string;
  readonly signingSecret?: string;
  readonly limits?: Partial<FakeLimits>;
  /** Milliseconds since the epoch; real time when absent. */
  readonly now?: () => number;
  readonly callsKept?: number;
  /** Answers requests below `/control/`, when the fake runs in its own process. */
  readonly control?: (fake: FakeSlack, path: string, body: unknown) => unknown;
}

const everyScope = [
  'app_mentions:read',
  'channels:history',
  'channels:read',
  'chat:write',
  'commands',
  'files:read',
  'files:write',
  'groups:history',
  'groups:read',
  'im:history',
  'im:write',
  'mpim:history',
  'reactions:write',
  'usergroups:read',
  'users:read',
];

/**
 * A Slack workspace with one app, over real HTTP and WebSockets: Web API, Socket Mode or web hooks, with the real limits
 * and error strings and planned faults. `people` is the other side of the conversation.
 */
export class FakeSlack implements AsyncDisposable {
  readonly world: World;
  readonly push: EventPush;
  readonly people: People;
  readonly socketMode: SocketMode;
  readonly faults = new FaultPlan();
  readonly rates = new RateLimits();
  readonly calls: RecordedCall[] = [];
  readonly callCounts = new Map<string, number>();
  readonly botToken: string;
  readonly appToken: string;
  readonly signingSecret: string;
  /** What the installation granted. */
  readonly scopes = new Set(everyScope);
  /** Refuses the tokens from now on with this error. */
  botTokenError: string | undefined;
  appTokenError: string | undefined;
  /** Whether the workspace knows the blocks of 2026. */
  knowsNewBlocks = true;
  /** While set, every file is answered with the page to log in with, as for a token without the right to it. */
  asksForLogin = false;
  readonly #options: FakeSlackOptions;
  readonly #server: Server;
  readonly #watchers = new Watchers();
  /** Keeps the port for `listen` while it is closed. */
  #held: Disposable | undefined;

  private constructor(options: FakeSlackOptions) {
    this.#options = options;
    this.botToken = options.botToken ?? 'xoxb-100000000001-200000000002-FakeTokenForTestsOnly';
    this.appToken = options.appToken ?? 'xapp-1-A0SWITCHYARD-300000000003-fakefakefakefake';
    this.signingSecret = options.signingSecret ?? '0123456789abcdef0123456789abcdef';
    this.world = new World({ ...realLimits, ...options.limits }, options.now ?? preciseNow);
    this.push = new EventPush(this.world, () => this.#watchers.notify());
    this.socketMode = new SocketMode(this.world, this.push, () => this.#watchers.notify());
    this.push.use(this.socketMode);
    this.people = new People(this.world, this.push, {
      file: (file) => `${this.apiUrl}files-pri/${file.id}/${encodeURIComponent(file.name)}`,
      response: () => `${this.baseUrl}/response/`,
    });
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch(() => response.destroy());
    });
    this.#server.keepAliveTimeout = 60_000;
    this.#server.on('upgrade', (request, socket, head) => this.socketMode.upgrade(request, socket, head));
  }

  static async start(options: FakeSlackOptions = {}): Promise<FakeSlack> {
    const fake = new FakeSlack(options);
    await fake.listen(options.port ?? 0);
    return fake;
  }

  /** Opens the port; after `goDown` the same one again. */
  async listen(port: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, '127.0.0.1', resolve);
    });
    this.#release();
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get baseUrl(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** What `SLACK_API_URL` is set to. */
  get apiUrl(): string {
    return `${this.baseUrl}/api/`;
  }

  /** Delivers by signed web hooks from now on. */
  useHook(url: string): void {
    this.push.use(httpTransport({ url, secret: this.signingSecret, world: this.world, push: this.push }));
  }

  /** Closes the port and every connection, as an outage does. */
  async goDown(): Promise<void> {
    const { port } = this;
    await this.#close();
    this.#held = await holdPort(port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.push.close();
    this.socketMode.close();
    this.#release();
    if (this.#server.listening) await this.#close();
  }

  async #close(): Promise<void> {
    this.socketMode.drop();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #release(): void {
    this.#held?.[Symbol.dispose]();
    this.#held = undefined;
  }

  /** Everything visible in a channel or one of its threads, oldest first. */
  transcript(channelId: string, thread?: string): SeenMessage[] {
    const channel = this.world.channels.get(channelId);
    if (channel === undefined) throw new Error(`there is no channel ${channelId}`);
    return [...channel.messages.values()]
      .filter(({ ts, threadTs }) => thread === undefined || ts === thread || threadTs === thread)
      .map((message) => this.#seen(message));
  }

  /** The bot's messages. */
  said(channelId: string, thread?: string): SeenMessage[] {
    return this.transcript(channelId, thread).filter(({ from }) => from === 'bot');
  }

  callsOf(method: string): RecordedCall[] {
    return this.calls.filter((call) => call.method === method);
  }

  /** The newest payload that went to the app. */
  get lastPush(): Push {
    const push = this.push.pushes.at(-1);
    if (push === undefined) throw new Error('nothing was delivered yet');
    return push;
  }

  /** Resolves with the first truthy value of `probe`, which is asked whenever something happens here. */
  async waitFor<T>(probe: () => T | undefined | false, timeoutMs = 30_000): Promise<T> {
    const describe = (): string => {
      const recent = this.calls.slice(-5).map((call) => `${call.method} ${JSON.stringify(call.params).slice(0, 200)}`);
      return `the app did not do this within ${timeoutMs} ms; its last calls: ${recent.join('; ')}`;
    };
    return await this.#watchers.waitFor(probe, { timeoutMs, describe });
  }

  #seen(message: FakeMessage): SeenMessage {
    return {
      ts: message.ts,
      threadTs: message.threadTs,
      from: message.isBot ? 'bot' : 'person',
      text: shownText(message),
      blocks: message.blocks,
      buttons: buttonsOf(message.blocks),
      files: message.files,
      onlyFor: message.onlyFor,
      isStreaming: message.stream?.isOpen === true,
      reactions: [...message.reactions],
      metadata: message.metadata,
      edits: message.edits,
      sentAt: message.sentAt,
      editedAt: message.editedAt,
      options: message.options,
    };
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://localhost');
    const [, first = '', second = '', third = ''] = url.pathname.split('/');
    const body = await readBody(request);
    try {
      if (first === 'control') {
        const parsed: unknown = body.length === 0 ? Object.fromEntries(url.searchParams) : JSON.parse(body.toString());
        const path = url.pathname.slice('/control/'.length);
        return answer(response, 200, (await this.#options.control?.(this, path, parsed)) ?? {});
      }
      if (first === 'response') {
        const { status, text } = answerResponseUrl(
          this.world,
          second,
          JSON.parse(body.toString()) as Record<string, unknown>,
          this,
        );
        return void response.writeHead(status, { 'content-type': 'text/plain' }).end(text);
      }
      if (first === 'api' && second === 'upload') return this.#takeUpload(response, third, body);
      if (first === 'api' && second === 'files-pri') return this.#serveFile(request, response, third);
      if (first !== 'api') return void response.writeHead(404).end();
      await this.#serveMethod({ method: second, request, response, body });
    } finally {
      this.#watchers.notify();
    }
  }

  async #serveMethod(call: {
    readonly method: string;
    readonly request: IncomingMessage;
    readonly response: ServerResponse;
    readonly body: Buffer;
  }): Promise<void> {
    const { method, request, response, body } = call;
    const params = readParameters(body);
    this.callCounts.set(method, (this.callCounts.get(method) ?? 0) + 1);
    if (this.calls.length < (this.#options.callsKept ?? 20_000)) {
      this.calls.push({ method, params, at: this.world.now() });
    }
    this.#watchers.notify();
    const fault = this.faults.take(method, params['channel']);
    if (fault?.kind === 'delay') await delay(fault.ms);
    if (fault?.kind === 'throttle') return throttle(response, fault.retryAfter);
    if (fault?.kind === 'html' || (fault?.kind === 'status' && fault.code !== 200)) {
      response.writeHead(fault.code, { 'content-type': 'text/html' }).end('<html>a page of a proxy</html>');
      return;
    }
    if (fault?.kind === 'dropBefore') return void response.destroy();
    try {
      if (fault?.kind === 'status') throw new SlackError(fault.description);
      const result = this.#perform(method, params, request.headers.authorization ?? '');
      if (fault?.kind === 'dropAfter') return void response.destroy();
      answer(response, 200, { ok: true, ...result }, this.#scopeHeaders(method));
    } catch (err) {
      if (err instanceof SlackThrottled) return throttle(response, err.retryAfter);
      if (!(err instanceof SlackError)) throw err;
      answer(response, 200, { ok: false, error: err.message, ...err.extra }, this.#scopeHeaders(method));
    }
  }

  #perform(method: string, params: Readonly<Record<string, unknown>>, authorization: string): Record<string, unknown> {
    const token = authorization.replace(/^Bearer /, '');
    if (method === 'apps.connections.open') {
      if (token !== this.appToken)
        throw new SlackError(token.startsWith('xapp-') ? 'invalid_auth' : 'not_allowed_token_type');
      if (this.appTokenError !== undefined) throw new SlackError(this.appTokenError);
      this.#limit(method, params);
      return { url: `ws://127.0.0.1:${this.port}/link?ticket=${this.socketMode.newTicket()}` };
    }
    if (token === '') throw new SlackError('not_authed');
    if (token !== this.botToken) throw new SlackError('invalid_auth');
    if (this.botTokenError !== undefined) throw new SlackError(this.botTokenError);
    const perform = webMethods[method];
    if (perform === undefined) throw new SlackError('unknown_method');
    const needed = scopesOf[method];
    if (needed !== undefined && !needed.some((scope) => this.scopes.has(scope))) {
      throw new SlackError('missing_scope', { needed: needed[0], provided: [...this.scopes].join(',') });
    }
    this.#limit(method, params);
    const context: MethodContext = {
      world: this.world,
      baseUrl: this.apiUrl,
      knowsNewBlocks: this.knowsNewBlocks,
      onFileShared: () => this.#watchers.notify(),
    };
    return perform(context, params);
  }

  #limit(method: string, params: Readonly<Record<string, unknown>>): void {
    if (this.world.limits.hasRates) this.rates.take(method, params['channel'], this.world.now());
  }

  #scopeHeaders(method: string): Record<string, string> {
    return {
      'x-oauth-scopes': [...this.scopes].join(','),
      'x-accepted-oauth-scopes': (scopesOf[method] ?? []).join(','),
    };
  }

  #takeUpload(response: ServerResponse, id: string, body: Buffer): void {
    const file = this.world.uploads.get(id);
    if (file === undefined) return void response.writeHead(404).end();
    file.bytes = body;
    response.writeHead(200, { 'content-type': 'text/plain' }).end(`OK - ${body.length}`);
  }

  /** Without the right to read it, Slack answers with the page to log in with, and with 200. */
  #serveFile(request: IncomingMessage, response: ServerResponse, id: string): void {
    const file = this.world.files.get(id);
    if (file === undefined || file.isDeleted) return void response.writeHead(404).end();
    const isAllowed =
      request.headers.authorization === `Bearer ${this.botToken}` &&
      this.scopes.has('files:read') &&
      !this.asksForLogin;
    if (!isAllowed) {
      response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end('<html>Sign in to Slack</html>');
      return;
    }
    response.writeHead(200, { 'content-type': file.mime, 'content-length': file.bytes.length }).end(file.bytes);
  }
}

/** Now, in milliseconds with fractions. */
function preciseNow(): number {
  return performance.timeOrigin + performance.now();
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** Parameters of a call; whatever is JSON in them is read. */
function readParameters(body: Buffer): Record<string, unknown> {
  const entries = [...new URLSearchParams(body.toString('utf8'))];
  return Object.fromEntries(
    entries.map(([name, value]) => [
      name,
      /^[[{]/.test(value) && name !== 'text' && name !== 'markdown_text' ? parse(value) : value,
    ]),
  );
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function throttle(response: ServerResponse, retryAfter: number): void {
  answer(response, 429, { ok: false, error: 'ratelimited' }, { 'retry-after': String(Math.ceil(retryAfter)) });
}

function answer(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(text),
    ...headers,
  });
  response.end(text);
}
