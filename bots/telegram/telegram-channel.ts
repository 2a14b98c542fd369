import { Api } from 'grammy';
import type { ChannelRoute } from '#core/inbox/channel-route.ts';
import type { InboundEvent, InboundFile } from '#core/inbox/inbound.ts';
import { type Clock, systemClock } from '#core/kit/clock.ts';
import { AppError, invariant } from '#core/kit/errors.ts';
import type { Log } from '#core/kit/log.ts';
import type {
  ChannelCapabilities,
  MessageRef,
  ReactionSign,
  SendFailure,
  SendProgress,
} from '#core/outbox/channel-sender.ts';
import type { OutboundBody } from '#core/outbox/outbound.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import type { Channel, ChannelHealth, CommandSpec, Ingest } from '../channel.ts';
import { type DownloadDeps, downloadFile } from './download-file.ts';
import { normaliseUpdate } from './normalise-update.ts';
import { pollSeconds, pollUpdates } from './poll-updates.ts';
import { classifyTelegramError, toChannelError } from './telegram-errors.ts';
import { createTelegramFetch } from './telegram-fetch.ts';
import { TelegramSender } from './telegram-sender.ts';
import { openTopicMemory, type TopicMemory, Topics } from './topics.ts';
import { Webhook } from './webhook.ts';

export interface TelegramOptions {
  readonly token: string;
  /** Bot API server; the public one when absent. */
  readonly apiRoot?: string | undefined;
  readonly log: Log;
  readonly clock?: Clock;
  /** Have updates delivered to this public address instead of polling; `url` is the product's, without a path. */
  readonly webhook?: { readonly url: string; readonly secret: string } | undefined;
  /** Whether tables, headings and task lists may be real ones; true when absent. */
  readonly hasRichMessages?: boolean;
  /** Where topics are remembered; within this process when absent. */
  readonly topics?: (account: string) => TopicMemory;
}

const publicApiRoot = 'https://api.telegram.org';
/** Longest text of a notice over a pressed button. */
const noticeMax = 200;

/** One Telegram bot: long polling or a web hook in, messages out. */
export class TelegramChannel implements Channel {
  readonly channel = 'telegram';
  /** The bot's id, which is the public first half of its token. */
  readonly account: string;
  readonly #api: Api;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #sender: TelegramSender;
  readonly #topics: Topics;
  readonly #files: DownloadDeps;
  readonly #webhook: Webhook | undefined;
  readonly routes: readonly ChannelRoute[];
  #health: ChannelHealth = { state: 'disconnected', detail: 'not started' };
  #isRunning = false;

  /**
   * Connects to nothing yet. A malformed token is not refused here but by `run`, as a halted channel, so that the other
   * channels of the process start.
   * @throws AppError `config.invalid` when `apiRoot` is not a web address.
   */
  constructor(options: TelegramOptions) {
    const [account = ''] = options.token.split(':');
    this.account = /^\d{1,20}$/.test(account) ? account : 'invalid';
    this.#log = options.log.child({ channel: this.channel, account: this.account });
    this.#clock = options.clock ?? systemClock;
    const apiRoot = (options.apiRoot ?? publicApiRoot).replace(/\/+$/, '');
    if (!URL.canParse(apiRoot) || !/^https?:\/\//.test(apiRoot)) {
      throw new AppError('config.invalid', 'TELEGRAM_API_ROOT is not a web address.', {
        mend: `Set it to something like ${publicApiRoot}, or leave it out.`,
      });
    }
    // A token with characters that cannot be in one is never put on the wire: what is refused cannot leak.
    const token = /^\d{1,20}:[\w-]{1,128}$/.test(options.token) ? options.token : 'invalid';
    this.#api = new Api(token, { apiRoot, fetch: createTelegramFetch({ token, pollSeconds }) });
    const deps = { api: this.#api, log: this.#log, clock: this.#clock };
    const memory = options.topics?.(this.account) ?? openTopicMemory();
    this.#topics = new Topics({ ...deps, memory });
    this.#sender = new TelegramSender({
      ...deps,
      topics: this.#topics,
      hasRichMessages: options.hasRichMessages ?? true,
    });
    this.#files = { api: this.#api, apiRoot, token };
    const path = `telegram/${this.account}`;
    this.#webhook =
      options.webhook === undefined
        ? undefined
        : new Webhook(
            { ...deps, reportHealth: this.#reportHealth },
            { url: `${options.webhook.url.replace(/\/+$/, '')}/hooks/${path}`, secret: options.webhook.secret },
          );
    this.routes = this.#webhook === undefined ? [] : [this.#webhook.route(path)];
  }

  readonly #reportHealth = (health: ChannelHealth): void => {
    this.#health = health;
  };

  async run(ingest: Ingest, signal: AbortSignal): Promise<void> {
    invariant(!this.#isRunning, 'a channel is run once at a time');
    this.#isRunning = true;
    try {
      const deps = { api: this.#api, log: this.#log, clock: this.#clock, reportHealth: this.#reportHealth };
      if (this.#webhook === undefined) await pollUpdates(deps, ingest, signal);
      else await this.#webhook.run(ingest, signal);
    } finally {
      this.#isRunning = false;
    }
  }

  health(): ChannelHealth {
    return this.#health;
  }

  normalise(raw: unknown): readonly InboundEvent[] {
    return normaliseUpdate(raw);
  }

  async acknowledge(token: string, notice?: { readonly text: string; readonly isAlert: boolean }): Promise<void> {
    try {
      await this.#api.raw.answerCallbackQuery({
        callback_query_id: token,
        ...(notice === undefined ? {} : { text: clip(notice.text), show_alert: notice.isAlert }),
      });
    } catch (err) {
      // The press itself is stored and takes effect; only the little notice came too late.
      this.#log.debug({ reason: classifyTelegramError(err).reason }, 'button press was not acknowledged');
    }
  }

  async registerCommands(commands: readonly CommandSpec[]): Promise<{ readonly changed: boolean }> {
    const wanted = commands
      .filter(({ name }) => /^[a-z0-9_]{1,32}$/.test(name))
      .slice(0, 100)
      .map(({ name, description }) => ({ command: name, description: description.slice(0, 256) || name }));
    try {
      const current = await this.#api.raw.getMyCommands({});
      const plain = current.map(({ command, description }) => ({ command, description }));
      if (JSON.stringify(plain) === JSON.stringify(wanted)) return { changed: false };
      await this.#api.raw.setMyCommands({ commands: wanted });
      return { changed: true };
    } catch (err) {
      throw toChannelError(err);
    }
  }

  capabilities(conversation: Conversation): ChannelCapabilities {
    return this.#sender.capabilities(conversation);
  }

  async send(
    conversation: Conversation,
    body: OutboundBody,
    _outboxId: string,
    progress?: SendProgress,
  ): Promise<MessageRef> {
    return await this.#sender.send(conversation, body, progress);
  }

  async edit(
    conversation: Conversation,
    ref: MessageRef,
    body: OutboundBody,
    _outboxId: string,
    progress?: SendProgress,
  ): Promise<MessageRef> {
    return await this.#sender.edit(conversation, ref, body, progress);
  }

  async delete(conversation: Conversation, ref: MessageRef): Promise<void> {
    await this.#sender.delete(conversation, ref);
  }

  /** In private a bot may delete what was written in the last 48 hours. */
  async deleteMessage(conversation: Conversation, messageId: string): Promise<boolean> {
    if (conversation.kind !== 'dm') return false;
    await this.#sender.delete(conversation, { ids: [messageId] });
    return true;
  }

  async draft(conversation: Conversation, draftId: number, markdown: string): Promise<void> {
    await this.#sender.draft(conversation, draftId, markdown);
  }

  async typing(conversation: Conversation): Promise<void> {
    await this.#sender.typing(conversation);
  }

  async react(conversation: Conversation, messageId: string, sign: ReactionSign | undefined): Promise<void> {
    await this.#sender.react(conversation, messageId, sign);
  }

  async startThread(
    conversation: Conversation,
    options: { readonly title: string; readonly key: string },
  ): Promise<Conversation | undefined> {
    return await this.#topics.start(conversation, options);
  }

  async download(file: InboundFile, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    return await downloadFile(this.#files, file, signal);
  }

  classify(error: unknown): SendFailure {
    return classifyTelegramError(error);
  }
}

function clip(text: string): string {
  return text.length <= noticeMax ? text.toWellFormed() : `${text.slice(0, noticeMax - 1).toWellFormed()}…`;
}
