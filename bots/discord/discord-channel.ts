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
import type { Channel, ChannelHealth, CommandSpec, FormSpec, Ingest, Suggest } from '../channel.ts';
import { DiscordApi } from './discord-api.ts';
import { classifyDiscordError, toChannelError } from './discord-errors.ts';
import { DiscordSender } from './discord-sender.ts';
import { type Dispatch, DispatchReader } from './dispatch-reader.ts';
import { downloadFile } from './download-file.ts';
import { type DiscordInteraction, interactionSchema } from './event-schema.ts';
import { keepConnected } from './gateway-connection.ts';
import { GatewayFeed } from './gateway-feed.ts';
import { InteractionDesk } from './interaction-desk.ts';
import { unpackInteraction } from './interaction-ref.ts';
import { normaliseDispatch } from './normalise-dispatch.ts';
import { PlaceBook } from './place-book.ts';
import type { PlaceStore } from './place-store.ts';
import { registerCommands } from './register-commands.ts';
import { startThread } from './start-thread.ts';

export interface DiscordOptions {
  readonly token: string;
  /** API server; the public one when absent. */
  readonly apiUrl?: string | undefined;
  readonly log: Log;
  readonly places: PlaceStore;
  /** What to propose while somebody types into an option of a command. */
  readonly suggest?: Suggest;
  /** Events kept in memory while they cannot be stored; beyond them messages are asked for again. */
  readonly waitingMax?: number;
  readonly clock?: Clock;
}

const publicApiUrl = 'https://discord.com/api';

/**
 * One Discord bot: the gateway in, REST out. A conversation is a channel of a server (`room`) or a thread in it
 * (`thread`, with the channel around it as `room`), or a private chat.
 */
export class DiscordChannel implements Channel {
  readonly channel = 'discord';
  /** The bot's user id, which is the first part of its token in base64. */
  readonly account: string;
  readonly #token: string;
  readonly #apiUrl: string;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #api: DiscordApi;
  readonly #sender: DiscordSender;
  readonly #desk: InteractionDesk;
  readonly #reader: DispatchReader;
  readonly #feed: GatewayFeed;
  readonly #suggest: Suggest | undefined;
  #commands: readonly CommandSpec[] = [];
  #health: ChannelHealth = { state: 'disconnected', detail: 'not started' };
  #isStoring = true;
  #isRunning = false;

  /**
   * Connects to nothing yet. A malformed token is not refused here but by `run`, as a halted channel, so that the other
   * channels of the process start.
   * @throws AppError `config.invalid` when `apiUrl` is not a web address.
   */
  constructor(options: DiscordOptions) {
    const account = accountOf(options.token);
    this.account = account ?? 'invalid';
    this.#log = options.log.child({ channel: this.channel, account: this.account });
    this.#clock = options.clock ?? systemClock;
    this.#suggest = options.suggest;
    this.#apiUrl = (options.apiUrl ?? publicApiUrl).replace(/\/+$/, '');
    if (!URL.canParse(this.#apiUrl) || !/^https?:\/\//.test(this.#apiUrl)) {
      throw new AppError('config.invalid', 'DISCORD_API_URL is not a web address.', {
        mend: `Set it to something like ${publicApiUrl}, or leave it out.`,
      });
    }
    // What cannot be a token is never put on the wire: what is refused cannot leak.
    this.#token = account === undefined ? 'invalid' : options.token;
    const shared = { log: this.#log, clock: this.#clock };
    this.#api = new DiscordApi({ token: this.#token, apiUrl: this.#apiUrl, clock: this.#clock });
    this.#sender = new DiscordSender({ ...shared, api: this.#api, me: this.account });
    this.#desk = new InteractionDesk({ ...shared, api: this.#api });
    const places = new PlaceBook({ store: options.places, api: this.#api, log: this.#log, account: this.account });
    this.#reader = new DispatchReader(places, this.account);
    this.#feed = new GatewayFeed({
      ...shared,
      api: this.#api,
      places,
      reader: this.#reader,
      waitingMax: options.waitingMax,
      reportStoring: (isStoring) => {
        this.#isStoring = isStoring;
      },
    });
  }

  async run(ingest: Ingest, signal: AbortSignal): Promise<void> {
    invariant(!this.#isRunning, 'a channel is run once at a time');
    this.#isRunning = true;
    try {
      await Promise.all([
        this.#feed.run(ingest, signal),
        keepConnected(
          {
            token: this.#token,
            apiUrl: this.#apiUrl,
            me: this.account,
            api: this.#api,
            log: this.#log,
            clock: this.#clock,
            onDispatch: (dispatch) => this.#take(dispatch),
            reportHealth: (health) => {
              this.#health = health;
            },
          },
          signal,
        ),
      ]);
    } finally {
      await this.#desk.close();
      this.#isRunning = false;
    }
  }

  health(): ChannelHealth {
    if (this.#health.state !== 'connected' || this.#isStoring) return this.#health;
    return { state: 'disconnected', detail: 'events arrive but cannot be stored; they are kept until they can' };
  }

  normalise(raw: unknown): readonly InboundEvent[] {
    return normaliseDispatch(raw);
  }

  async acknowledge(token: string, notice?: { readonly text: string; readonly isAlert: boolean }): Promise<void> {
    await this.#desk.acknowledge(token, notice);
  }

  async openForm(interactionToken: string, form: FormSpec): Promise<boolean> {
    return await this.#desk.openForm(interactionToken, form);
  }

  async registerCommands(commands: readonly CommandSpec[]): Promise<{ readonly changed: boolean }> {
    this.#commands = commands;
    try {
      return await registerCommands(this.#api, commands);
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

  /** Discord has no previews that vanish; answers grow by edits. */
  async draft(): Promise<void> {}

  async typing(conversation: Conversation): Promise<void> {
    await this.#sender.typing(conversation);
  }

  async react(conversation: Conversation, messageId: string, sign: ReactionSign | undefined): Promise<void> {
    await this.#sender.react(conversation, messageId, sign);
  }

  async startThread(
    conversation: Conversation,
    options: { readonly title: string; readonly key: string; readonly messageId?: string },
  ): Promise<Conversation | undefined> {
    return await startThread(this.#api, conversation, options);
  }

  async download(file: InboundFile, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const { downloadBytesMax: bytesMax } = this.capabilities({
      channel: this.channel,
      account: this.account,
      room: '0',
      kind: 'dm',
    });
    const ownHost = this.#apiUrl === publicApiUrl ? undefined : new URL(this.#apiUrl).host;
    return await downloadFile(this.#api, file, { bytesMax, ownHost, signal });
  }

  classify(error: unknown): SendFailure {
    return classifyDiscordError(error);
  }

  /** Interactions do not wait behind messages: Discord gives three seconds. */
  #take(dispatch: Dispatch): void {
    if (dispatch.t !== 'INTERACTION_CREATE') {
      this.#feed.push(dispatch);
      return;
    }
    const interaction = interactionSchema.safeParse(dispatch.d).data;
    if (interaction === undefined) return;
    if (interaction.type === 4) {
      void this.#answerTyping(interaction);
      return;
    }
    const order = interaction.type === 2 ? this.#orderOf(interaction.data.name) : undefined;
    const event = this.#reader.interaction(dispatch.d, dispatch.at, order);
    if (event === undefined) return;
    this.#feed.pushUrgent(event, () => this.#watch(event.raw, interaction.message !== undefined));
  }

  #watch(raw: unknown, hasMessage: boolean): void {
    const [event] = normaliseDispatch(raw);
    const ref = event?.interactionToken === undefined ? undefined : unpackInteraction(event.interactionToken);
    if (ref !== undefined) this.#desk.watch(ref, hasMessage);
  }

  #orderOf(name: string): readonly string[] | undefined {
    return this.#commands.find((command) => command.name === name)?.options?.map((option) => option.name);
  }

  async #answerTyping(interaction: Extract<DiscordInteraction, { type: 4 }>): Promise<void> {
    const focused = interaction.data.options.find((option) => option.focused === true);
    const spec = this.#commands
      .find(({ name }) => name === interaction.data.name)
      ?.options?.find(({ name }) => name === focused?.name);
    const source = spec?.suggest;
    const values =
      source === undefined || this.#suggest === undefined
        ? []
        : await this.#suggest(source, String(focused?.value ?? '')).catch((err: unknown) => {
            this.#log.warn({ err }, 'suggestions could not be read');
            return [];
          });
    await this.#desk.suggest(interaction, values);
  }
}

/** The bot's user id; undefined for what is not a token. */
function accountOf(token: string): string | undefined {
  const [first = ''] = /^([\w-]+)\.[\w-]+\.[\w-]+$/.exec(token)?.slice(1) ?? [];
  const id = Buffer.from(first, 'base64').toString('latin1');
  return /^\d{5,20}$/.test(id) ? id : undefined;
}
