import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { FaultPlan } from '../fault-plan.ts';
import { holdPort } from '../hold-port.ts';
import { Watchers } from '../watchers.ts';
import { BotApiError } from './bot-api-error.ts';
import { botMethods } from './bot-methods.ts';
import type { BotState } from './bot-state.ts';
import { Crowd } from './crowd.ts';
import { RateLimits } from './rate-limits.ts';
import { readRequest } from './read-request.ts';
import { UpdateQueue } from './update-queue.ts';
import { WebhookDelivery } from './webhook-delivery.ts';
import {
  detectEntities,
  type FakeChat,
  type FakeDraft,
  type FakeEntity,
  type FakeFile,
  type FakeUser,
  preciseNow,
} from './world.ts';

/** One call of the bot, for assertions on what went over the wire. */
export interface RecordedCall {
  readonly method: string;
  readonly params: Record<string, unknown>;
  readonly at: number;
}

/** A message as a person sees it: edits applied, deleted ones absent. */
export interface SeenMessage {
  readonly id: number;
  readonly from: 'bot' | 'person';
  readonly text: string;
  readonly entities: readonly FakeEntity[];
  readonly buttons: readonly { readonly text: string; readonly data?: string; readonly isDisabled: boolean }[];
  /** Names this message pings: mentions the server finds by itself outside code. */
  readonly pings: readonly string[];
  readonly file: FakeFile | undefined;
  readonly threadId: number | undefined;
  readonly replyTo: number | undefined;
  readonly isSilent: boolean;
  /** Blocks of a rich message. */
  readonly rich: unknown;
  readonly albumId: string | undefined;
  readonly asksReply: boolean;
  readonly edits: number;
  readonly sentAt: number;
  readonly editedAt: number | undefined;
}

export interface FakeTelegramOptions {
  readonly token?: string;
  readonly username?: string;
  readonly port?: number;
  /** Milliseconds since the epoch, by which drafts grow old; real time when absent. */
  readonly now?: () => number;
  /** How many calls are kept for assertions; a benchmark keeps none. */
  readonly callsKept?: number;
  /** Enforces Telegram's rate limits. */
  readonly hasRates?: boolean;
  /** Answers requests below `/control/`; used when the fake runs in its own process. */
  readonly control?: (fake: FakeTelegram, path: string, body: unknown) => unknown;
}

/** How long a draft is shown after its last call. */
const draftMs = 30_000;

/**
 * A Bot API server over real HTTP with one bot, any number of people and chats, strict validation and planned faults.
 * `people` is the other side of the conversation.
 */
export class FakeTelegram implements AsyncDisposable {
  readonly token: string;
  readonly updates = new UpdateQueue();
  readonly faults = new FaultPlan();
  readonly rates = new RateLimits();
  readonly calls: RecordedCall[] = [];
  readonly callCounts = new Map<string, number>();
  readonly people: Crowd;
  readonly state: BotState;
  readonly #options: FakeTelegramOptions;
  readonly #server: Server;
  readonly #watchers = new Watchers();
  /** Keeps the port for `listen` while it is closed. */
  #held: Disposable | undefined;

  private constructor(options: FakeTelegramOptions) {
    this.#options = options;
    this.token = options.token ?? '700001:AAFakeTokenForTestsOnly_0123456789abcdef';
    const bot: FakeUser = {
      id: Number(this.token.split(':')[0]),
      is_bot: true,
      first_name: 'Switchyard',
      username: options.username ?? 'switchyard_bot',
    };
    this.state = {
      bot,
      chats: new Map(),
      files: new Map(),
      answers: new Map(),
      commands: [],
      reactions: [],
      missingMethods: new Set(),
      now: options.now ?? preciseNow,
      knowsEphemeral: true,
      hasTopics: false,
      readsAllGroupMessages: false,
      webhook: new WebhookDelivery(this.updates),
      nextFile: 1,
      nextAlbum: 1,
    };
    this.updates.hasWebhook = () => this.state.webhook.isActive;
    this.people = new Crowd(this.state, this.updates);
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch(() => response.destroy());
    });
    this.#server.keepAliveTimeout = 60_000;
  }

  static async start(options: FakeTelegramOptions = {}): Promise<FakeTelegram> {
    const fake = new FakeTelegram(options);
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

  /** What `TELEGRAM_API_ROOT` is set to. */
  get apiRoot(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Closes the port and every connection, as an outage does. */
  async goDown(): Promise<void> {
    const { port } = this;
    await this.#close();
    this.#held = await holdPort(port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#release();
    if (this.#server.listening) await this.#close();
  }

  async #close(): Promise<void> {
    this.updates.close();
    this.state.webhook.close();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #release(): void {
    this.#held?.[Symbol.dispose]();
    this.#held = undefined;
  }

  /** Everything visible in a chat, oldest first. */
  transcript(chatId: number): SeenMessage[] {
    return [...this.#chat(chatId).messages.values()].map((message) => ({
      id: message.id,
      from: message.from.id === this.state.bot.id ? 'bot' : 'person',
      text: message.text,
      entities: message.entities,
      buttons: message.buttons.flat().map((button) => ({
        text: button.text,
        isDisabled: button.disabled !== undefined,
        ...(button.callback_data === undefined ? {} : { data: button.callback_data }),
      })),
      pings: detectEntities(message.text, message.entities)
        .filter((entity) => entity.type === 'mention')
        .map((entity) => message.text.slice(entity.offset, entity.offset + entity.length)),
      file: message.file,
      threadId: message.threadId,
      replyTo: message.replyTo,
      isSilent: message.isSilent,
      rich: message.rich,
      albumId: message.albumId,
      asksReply: message.asksReply,
      edits: message.edits,
      sentAt: message.sentAt,
      editedAt: message.editedAt,
    }));
  }

  /** The bot's messages of a chat. */
  said(chatId: number): SeenMessage[] {
    return this.transcript(chatId).filter((message) => message.from === 'bot');
  }

  /** Every preview that was shown in a private chat. */
  drafts(chatId: number): readonly FakeDraft[] {
    return this.#chat(chatId).drafts;
  }

  /** The preview a person sees at this moment. */
  liveDraft(chatId: number): FakeDraft | undefined {
    const { liveDraft } = this.#chat(chatId);
    return liveDraft === undefined || this.state.now() - liveDraft.at > draftMs ? undefined : liveDraft;
  }

  callsOf(method: string): RecordedCall[] {
    return this.calls.filter((call) => call.method === method);
  }

  /** Resolves with the first truthy value of `probe`, which is asked when a call of the bot begins and when it ends. */
  async waitFor<T>(probe: () => T | undefined | false, timeoutMs = 30_000): Promise<T> {
    const describe = (): string => {
      const recent = this.calls.slice(-5).map((call) => `${call.method} ${JSON.stringify(call.params).slice(0, 200)}`);
      return `the bot did not do this within ${timeoutMs} ms; its last calls: ${recent.join('; ')}`;
    };
    return await this.#watchers.waitFor(probe, { timeoutMs, describe });
  }

  #chat(chatId: number): FakeChat {
    const chat = this.state.chats.get(chatId);
    if (chat === undefined) throw new Error(`there is no chat ${chatId}`);
    return chat;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://localhost');
    const [, first = '', method = '', ...rest] = url.pathname.split('/');
    if (first === 'control') {
      const { params } = await readRequest(request, url.searchParams);
      answer(response, 200, (await this.#options.control?.(this, [method, ...rest].join('/'), params)) ?? {});
      return;
    }
    if (first === 'file') {
      const file = method === `bot${this.token}` ? this.state.files.get(rest.at(-1) ?? '') : undefined;
      const fault = this.faults.take('file', undefined);
      if (fault?.kind === 'status') return void response.writeHead(fault.code).end(fault.description);
      if (fault?.kind === 'dropBefore') return void response.destroy();
      response.writeHead(file === undefined ? 404 : 200, { 'content-type': 'application/octet-stream' });
      response.end(file?.bytes);
      return;
    }
    try {
      if (first !== `bot${this.token}`) throw new BotApiError(401, 'Unauthorized');
      const result = await this.#call(method, request, response, url.searchParams);
      if (!response.destroyed) answer(response, 200, { ok: true, result });
    } catch (err) {
      if (response.destroyed) return;
      if (err instanceof HtmlAnswer) {
        response.writeHead(err.code, { 'content-type': 'text/html' }).end(`<html>${request.url ?? ''}</html>`);
        return;
      }
      if (!(err instanceof BotApiError)) throw err;
      answer(response, err.code, {
        ok: false,
        error_code: err.code,
        description: err.message,
        ...(err.parameters === undefined ? {} : { parameters: err.parameters }),
      });
    } finally {
      this.#watchers.notify();
    }
  }

  async #call(
    method: string,
    request: IncomingMessage,
    response: ServerResponse,
    query: URLSearchParams,
  ): Promise<unknown> {
    const body = await readRequest(request, query);
    const { params } = body;
    this.callCounts.set(method, (this.callCounts.get(method) ?? 0) + 1);
    if (this.calls.length < (this.#options.callsKept ?? 20_000)) {
      this.calls.push({ method, params, at: performance.timeOrigin + performance.now() });
    }
    this.#watchers.notify();
    const fault = this.faults.take(method, params['chat_id']);
    if (fault?.kind === 'delay') await delay(fault.ms);
    if (fault?.kind === 'throttle') {
      throw new BotApiError(429, `Too Many Requests: retry after ${fault.retryAfter}`, {
        retry_after: fault.retryAfter,
      });
    }
    if (fault?.kind === 'status') throw new BotApiError(fault.code, fault.description);
    if (fault?.kind === 'html') throw new HtmlAnswer(fault.code);
    if (fault?.kind === 'dropBefore') {
      response.destroy();
      return undefined;
    }
    if (this.#options.hasRates === true) this.rates.take(method, params['chat_id'], performance.now());
    const result = await this.#perform(method, body, response);
    if (fault?.kind === 'dropAfter') response.destroy();
    return result;
  }

  async #perform(method: string, body: Awaited<ReturnType<typeof readRequest>>, response: ServerResponse) {
    if (method === 'getUpdates') {
      const gone = new AbortController();
      response.once('close', () => gone.abort());
      return this.updates.poll(body.params, gone.signal);
    }
    const perform = this.state.missingMethods.has(method) ? undefined : botMethods[method];
    if (perform === undefined) throw new BotApiError(404, 'Not Found');
    return perform(this.state, body);
  }
}

class HtmlAnswer extends Error {
  readonly code: number;
  constructor(code: number) {
    super('an answer that is not JSON');
    this.code = code;
  }
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}
