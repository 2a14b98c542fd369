import { z } from 'zod';
import type { ChannelRoute } from '#core/inbox/channel-route.ts';
import type { InboundEvent, InboundFile } from '#core/inbox/inbound.ts';
import { aborted } from '#core/kit/aborted.ts';
import { type Clock, systemClock } from '#core/kit/clock.ts';
import { AppError, invariant } from '#core/kit/errors.ts';
import type { Log } from '#core/kit/log.ts';
import type {
  AnswerStream,
  ChannelCapabilities,
  MessageRef,
  ReactionSign,
  SendFailure,
  SendProgress,
} from '#core/outbox/channel-sender.ts';
import type { OutboundBody } from '#core/outbox/outbound.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import type { Channel, ChannelHealth, CommandSpec, FormSpec, Ingest } from '../channel.ts';
import { findSentMessages } from './find-sent.ts';
import { formView } from './form-view.ts';
import { homeView } from './home-view.ts';
import { decodeInteraction, isAnswerable } from './interaction-token.ts';
import { normaliseSlack } from './normalise-slack.ts';
import { createHook } from './receive-http.ts';
import { receiveBySocket } from './receive-socket.ts';
import { section } from './render-blocks.ts';
import { renderBody } from './render-body.ts';
import { renderMrkdwn } from './render-mrkdwn.ts';
import { respond } from './respond.ts';
import { accountOf } from './slack-account.ts';
import { SlackApi } from './slack-api.ts';
import { SlackDirectory } from './slack-directory.ts';
import { classifySlackError, isHalting, slackCodeOf, toChannelError } from './slack-errors.ts';
import { openDownload } from './slack-files.ts';
import { createInbox } from './slack-inbox.ts';
import type { Bot } from './slack-raw.ts';
import { SlackSender } from './slack-sender.ts';

export interface SlackOptions {
  readonly botToken: string;
  /** Receives by Socket Mode; wins over `signingSecret`. */
  readonly appToken?: string | undefined;
  /** Receives by web hook. */
  readonly signingSecret?: string | undefined;
  /** Web API server; the public one when absent. */
  readonly apiUrl?: string | undefined;
  /** Whether every message of a person in the bot's direct messages begins a thread, as in Slack's agent view. */
  readonly hasDmThreads: boolean;
  readonly log: Log;
  readonly clock?: Clock;
}

const testSchema = z.object({ team_id: z.string(), user_id: z.string() });
const publishedSchema = z.object({ view: z.object({ hash: z.string() }) });
/** A form opens within three seconds of the press, or not at all. */
const triggerMs = 2_900;
const backOffMaxMs = 15_000;
/** Home pages whose last version is remembered. */
const homesMax = 5_000;

/** One Slack app in one workspace: Socket Mode or a web hook in, Block Kit out. */
export class SlackChannel implements Channel {
  readonly channel = 'slack';
  readonly account: string;
  readonly routes: readonly ChannelRoute[];
  readonly #options: SlackOptions;
  readonly #api: SlackApi;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #sender: SlackSender;
  readonly #directory: SlackDirectory;
  readonly #homes = new Map<string, string>();
  #health: ChannelHealth = { state: 'disconnected', detail: 'not started' };
  #bot: Bot | undefined;
  #store: ((body: unknown) => Promise<void>) | undefined;
  #halt = new AbortController();
  #isRunning = false;
  #hasToldOfCommands = false;

  /** Connects to nothing yet. @throws AppError `config.invalid` when `apiUrl` is not a web address. */
  constructor(options: SlackOptions) {
    this.#options = options;
    this.account = accountOf(options.botToken);
    this.#log = options.log.child({ channel: this.channel, account: this.account });
    this.#clock = options.clock ?? systemClock;
    const { apiUrl } = options;
    if (apiUrl !== undefined && (!URL.canParse(apiUrl) || !/^https?:\/\//.test(apiUrl))) {
      throw new AppError('config.invalid', 'SLACK_API_URL is not a web address.', {
        mend: 'Set it to something like https://slack.com/api/, or leave it out.',
      });
    }
    this.#api = new SlackApi({ token: options.botToken, apiUrl, onHalted: (reason) => this.#onHalted(reason) });
    const { clock, log, api } = { clock: this.#clock, log: this.#log, api: this.#api };
    this.#sender = new SlackSender({ api, log, clock, teamId: async () => (await this.#identify()).teamId });
    this.#directory = new SlackDirectory({ api, log, clock });
    const { signingSecret } = options;
    this.routes =
      options.appToken !== undefined || signingSecret === undefined
        ? []
        : [createHook({ signingSecret, clock, log, store: () => this.#store })];
  }

  async run(ingest: Ingest, signal: AbortSignal): Promise<void> {
    invariant(!this.#isRunning, 'a channel is run once at a time');
    this.#isRunning = true;
    this.#halt = new AbortController();
    try {
      await this.#receive(ingest, signal);
    } finally {
      this.#store = undefined;
      this.#isRunning = false;
    }
  }

  health(): ChannelHealth {
    return this.#health;
  }

  normalise(raw: unknown): readonly InboundEvent[] {
    return normaliseSlack(raw);
  }

  /**
   * Presses and commands are acknowledged when they are stored; this only says something to whoever did it, where
   * nothing else would: a refused press, or the effect of a command.
   */
  async acknowledge(token: string, notice?: { readonly text: string; readonly isAlert: boolean }): Promise<void> {
    const interaction = decodeInteraction(token);
    if (interaction === undefined || notice === undefined || notice.text === '') return;
    if (interaction.what === 'press' && !notice.isAlert) return;
    const text = renderMrkdwn(notice.text, 2_000);
    const blocks = [section(text).block];
    try {
      if (interaction.url !== undefined && isAnswerable(interaction, this.#clock.now().getTime())) {
        return await respond(interaction.url, {
          text,
          blocks,
          response_type: 'ephemeral',
          replace_original: false,
          ...(interaction.thread === undefined ? {} : { thread_ts: interaction.thread }),
        });
      }
      await this.#api.call('chat.postEphemeral', {
        channel: interaction.room,
        user: interaction.user,
        text,
        blocks,
        ...(interaction.thread === undefined ? {} : { thread_ts: interaction.thread }),
      });
    } catch (err) {
      // The press itself is stored and takes effect; only the little notice came too late.
      this.#log.debug({ reason: classifySlackError(err).reason }, 'notice was not shown');
    }
  }

  async openForm(interactionToken: string, form: FormSpec): Promise<boolean> {
    const interaction = decodeInteraction(interactionToken);
    if (interaction?.trigger === undefined) return false;
    if (this.#clock.now().getTime() - interaction.at > triggerMs) return false;
    try {
      await this.#api.call('views.open', { trigger_id: interaction.trigger, view: formView(form, interaction) });
      return true;
    } catch (err) {
      this.#log.warn({ reason: classifySlackError(err).reason }, 'form was not opened');
      return false;
    }
  }

  async startThread(
    conversation: Conversation,
    options: {
      readonly title: string;
      readonly key: string;
      readonly messageId?: string;
      readonly requester?: string;
    },
  ): Promise<Conversation | undefined> {
    const { thread: _, ...place } = conversation;
    const { title, key, requester } = options;
    if (options.messageId !== undefined) return { ...place, thread: options.messageId };
    const text = renderMrkdwn(title, 2_000);
    try {
      return await this.#anchor(place, text, key);
    } catch (err) {
      if (classifySlackError(err).kind !== 'unreachable') throw toChannelError(err);
    }
    if (requester === undefined) return undefined;
    try {
      // Commands also come from channels the bot is not in; the work is then shown to whoever asked for it.
      const dm: Conversation = { ...place, room: await this.#sender.dmRoomOf(requester), kind: 'dm' };
      return await this.#anchor(dm, `${text}\n_asked for in_ <#${place.room}>`, key);
    } catch (err) {
      throw toChannelError(err);
    }
  }

  async showHome(externalId: string, body: OutboundBody): Promise<void> {
    const room = await this.#sender.dmRoomOf(externalId).catch((err: unknown) => {
      throw toChannelError(err);
    });
    // The newer blocks are for messages only.
    const [post] = renderBody(body, { isPlain: true }).posts;
    const view = homeView(room, post?.blocks ?? []);
    const hash = this.#homes.get(externalId);
    try {
      await this.#publish(externalId, view, hash);
    } catch (err) {
      // Another process has shown a newer page meanwhile; what was read last is the truth.
      if (slackCodeOf(err) !== 'hash_conflict') throw toChannelError(err);
      await this.#publish(externalId, view, undefined).catch((failure: unknown) => {
        throw toChannelError(failure);
      });
    }
  }

  /**
   * Slack changes an app's commands only by its manifest and only with a token of a person, so this cannot. It says once
   * where the manifest comes from.
   */
  async registerCommands(commands: readonly CommandSpec[]): Promise<{ readonly changed: boolean }> {
    if (!this.#hasToldOfCommands) {
      this.#hasToldOfCommands = true;
      this.#log.info(
        { commands: commands.length },
        'slack takes its commands from the app manifest: after an update, paste what ./switchyard slack manifest prints',
      );
    }
    return { changed: false };
  }

  capabilities(conversation: Conversation): ChannelCapabilities {
    return this.#sender.capabilities(conversation);
  }

  async send(
    conversation: Conversation,
    body: OutboundBody,
    outboxId: string,
    progress?: SendProgress,
  ): Promise<MessageRef> {
    return await this.#sender.send(conversation, body, outboxId, progress);
  }

  async edit(
    conversation: Conversation,
    ref: MessageRef,
    body: OutboundBody,
    outboxId: string,
    progress?: SendProgress,
  ): Promise<MessageRef> {
    return await this.#sender.edit(conversation, ref, body, outboxId, progress);
  }

  async delete(conversation: Conversation, ref: MessageRef): Promise<void> {
    await this.#sender.delete(conversation, ref);
  }

  /** Slack has no previews: answers stream into a message. */
  async draft(): Promise<void> {}

  async typing(conversation: Conversation): Promise<void> {
    await this.#sender.typing(conversation);
  }

  async openStream(conversation: Conversation, options: { readonly recipient?: string }): Promise<AnswerStream> {
    return await this.#sender.openStream(conversation, options.recipient);
  }

  async react(conversation: Conversation, messageId: string, sign: ReactionSign | undefined): Promise<void> {
    await this.#sender.react(conversation, messageId, sign);
  }

  async findSent(conversation: Conversation, outboxId: string): Promise<MessageRef | undefined> {
    return await this.#sender.findSent(conversation, outboxId);
  }

  async download(file: InboundFile, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    return await openDownload(this.#api, file, signal);
  }

  classify(error: unknown): SendFailure {
    return classifySlackError(error);
  }

  async #receive(ingest: Ingest, signal: AbortSignal): Promise<void> {
    this.#health = { state: 'starting', detail: 'asking Slack who we are' };
    const bot = await this.#identifySurely(signal);
    if (bot === undefined) return;
    const store = createInbox({
      ingest,
      bot,
      clock: this.#clock,
      directory: this.#directory,
      account: this.account,
      hasDmThreads: this.#options.hasDmThreads,
      onEnding: (ending) => this.#onHalted(ending),
    });
    const groups = this.#directory.refreshGroups(AbortSignal.any([signal, this.#halt.signal]));
    const { appToken } = this.#options;
    if (appToken !== undefined) {
      await receiveBySocket(
        {
          appToken,
          apiUrl: this.#api.apiUrl,
          log: this.#log,
          clock: this.#clock,
          store,
          halted: this.#halt.signal,
          reportHealth: (health) => this.#report(health),
        },
        signal,
      );
    } else {
      this.#store = store;
      this.#report({ state: 'connected', detail: 'waiting for web hooks' });
      await aborted(AbortSignal.any([signal, this.#halt.signal]));
      this.#store = undefined;
      this.#report({ state: 'disconnected', detail: 'stopped' });
    }
    // A halted account stays as it is until a person restarts with other credentials.
    if (this.#halt.signal.aborted) await aborted(signal);
    await groups;
  }

  /** Asks until Slack answers; undefined when the token is refused or the signal aborts. */
  async #identifySurely(signal: AbortSignal): Promise<Bot | undefined> {
    for (let failures = 1; !signal.aborted; failures += 1) {
      try {
        return await this.#identify();
      } catch (err) {
        if (isHalting(err)) {
          await aborted(signal);
          return undefined;
        }
        const { reason, afterMs } = classifySlackError(err);
        this.#health = { state: 'disconnected', detail: reason };
        this.#log.warn({ reason, failures }, 'slack does not answer');
        const waitMs = Math.max(afterMs ?? 0, Math.min(backOffMaxMs, 250 * 2 ** Math.min(failures, 8)));
        await this.#clock.sleep(waitMs, signal).catch(() => undefined);
      }
    }
    return undefined;
  }

  async #identify(): Promise<Bot> {
    if (this.#bot !== undefined) return this.#bot;
    const { team_id: teamId, user_id: userId } = testSchema.parse(await this.#api.call('auth.test'));
    this.#bot = { teamId, userId };
    return this.#bot;
  }

  /** The first message of a thread, once for each key. */
  async #anchor(place: Conversation, text: string, key: string): Promise<Conversation> {
    const found = await findSentMessages({ api: this.#api, clock: this.#clock }, place, key);
    const post = { text, blocks: [section(text).block] };
    return { ...place, thread: found?.ids[0] ?? (await this.#sender.postNotice(place, post, key)) };
  }

  async #publish(user: string, view: Record<string, unknown>, hash: string | undefined): Promise<void> {
    const answer = await this.#api.call('views.publish', {
      user_id: user,
      view,
      ...(hash === undefined ? {} : { hash }),
    });
    this.#homes.set(user, publishedSchema.parse(answer).view.hash);
    const oldest = this.#homes.keys().next().value;
    if (this.#homes.size > homesMax && oldest !== undefined) this.#homes.delete(oldest);
  }

  #report(health: ChannelHealth): void {
    if (!this.#halt.signal.aborted) this.#health = health;
  }

  #onHalted(reason: string): void {
    if (this.#halt.signal.aborted) return;
    const detail = `Slack does not accept the bot token any more (${reason}); install the app again, set SLACK_BOT_TOKEN and restart`;
    this.#health = { state: 'halted', detail };
    this.#bot = undefined;
    this.#halt.abort();
    this.#log.error({ err: new AppError('config.invalid', detail) }, 'slack bot token was refused');
  }
}
