import { REST, RESTEvents, Routes } from 'discord.js';
import { z } from 'zod';
import type { Clock } from '#core/kit/clock.ts';
import { DiscordFailure, sending, toDiscordFailure } from './discord-errors.ts';

/** The part of a message we read back. */
export const messageSchema = z.object({
  id: z.string(),
  channel_id: z.string(),
  content: z.string().default(''),
  flags: z.number().default(0),
  components: z.array(z.unknown()).default([]),
  author: z.object({ id: z.string() }).optional(),
  interaction_metadata: z.object({ id: z.string() }).optional(),
});
export type SentMessage = z.infer<typeof messageSchema>;

const channelSchema = z.object({
  id: z.string(),
  type: z.number(),
  guild_id: z.string().optional(),
  parent_id: z.string().nullish(),
  owner_id: z.string().optional(),
  last_message_id: z.string().nullish(),
});
export type ChannelInfo = z.infer<typeof channelSchema>;

const applicationSchema = z.object({ id: z.string(), flags: z.number().default(0) });

export interface UploadFile {
  readonly name: string;
  readonly data: Buffer;
}

interface CallOptions {
  readonly body?: unknown;
  readonly files?: readonly UploadFile[];
  readonly query?: Readonly<Record<string, string>>;
  /** False where the address itself carries a token. */
  readonly auth?: boolean;
  readonly signal?: AbortSignal;
}

type Method = 'get' | 'post' | 'put' | 'patch' | 'delete';

/** Longest wait for an answer, uploads of a few MiB included. */
const answerMs = 15_000;
/**
 * Discord bars an address for a day after 10,000 refused calls (401, 403, 429) in ten minutes. Several processes may
 * share the address, so each stops far below that.
 */
const refusedMaxDefault = 1_000;
/** A refused token is not tried again for this long: it heals only by a person. */
const tokenPauseMs = 60_000;

/** Calls to Discord's REST API: one token, no hidden retries or queues, and errors that are safe to log. */
export class DiscordApi {
  readonly #rest: REST;
  readonly #token: string;
  readonly #clock: Clock;
  readonly #refusedMax: number;
  /** Calls refused over the wire in the current ten minutes, which end at `until` (ms since the epoch). */
  #refusals = { count: 0, until: 0 };
  #tokenRefusedUntil = 0;
  #application: Promise<{ readonly id: string; readonly flags: number }> | undefined;

  constructor(options: {
    readonly token: string;
    readonly apiUrl: string;
    readonly clock: Clock;
    /** Refused calls in ten minutes after which none is made any more. */
    readonly refusedMax?: number;
  }) {
    this.#refusedMax = options.refusedMax ?? refusedMaxDefault;
    this.#token = options.token;
    this.#clock = options.clock;
    this.#rest = new REST({
      api: options.apiUrl,
      version: '10',
      timeout: answerMs,
      // The delivery loop repeats, where every process and the operator can see it.
      retries: 0,
      offset: 0,
      rejectOnRateLimit: () => true,
      invalidRequestWarningInterval: 1,
      // A timer per client that would only tidy a few entries.
      hashSweepInterval: 3_600_000,
      handlerSweepInterval: 600_000,
    });
    this.#rest.on(RESTEvents.InvalidRequestWarning, ({ count, remainingTime }) => {
      this.#refusals = { count, until: this.#clock.now().getTime() + remainingTime };
    });
  }

  /** @throws DiscordFailure always, whatever went wrong. */
  async call(what: string, method: Method, route: `/${string}`, options: CallOptions = {}): Promise<unknown> {
    const needsToken = options.auth !== false;
    this.#mayCall(what, needsToken);
    // The library forgets a token that was refused once; whether it is good is for us to say.
    this.#rest.setToken(this.#token);
    try {
      return await this.#rest[method](route, {
        auth: needsToken,
        ...(options.body === undefined ? {} : { body: options.body }),
        ...(options.files === undefined ? {} : { files: options.files.map(({ name, data }) => ({ name, data })) }),
        ...(options.query === undefined ? {} : { query: new URLSearchParams(options.query) }),
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      });
    } catch (err) {
      const failure = toDiscordFailure(what, err);
      if (failure.status === 401 && needsToken) this.#tokenRefusedUntil = this.#clock.now().getTime() + tokenPauseMs;
      throw failure;
    }
  }

  /** Calls and reads the answer; an answer of another shape counts as none. */
  async read<T>(
    schema: z.ZodType<T>,
    what: string,
    method: Method,
    route: `/${string}`,
    options: CallOptions = {},
  ): Promise<T> {
    const parsed = schema.safeParse(await this.call(what, method, route, options));
    if (!parsed.success) throw new DiscordFailure(what, { reason: 'the answer makes no sense', status: 502 });
    return parsed.data;
  }

  async createMessage(channelId: string, body: unknown, files: readonly UploadFile[] = []): Promise<SentMessage> {
    return await this.read(messageSchema, sending, 'post', Routes.channelMessages(channelId), withFiles(body, files));
  }

  async editMessage(
    channelId: string,
    messageId: string,
    body: unknown,
    files: readonly UploadFile[] = [],
  ): Promise<SentMessage> {
    const route = Routes.channelMessage(channelId, messageId);
    return await this.read(messageSchema, 'editing', 'patch', route, withFiles(body, files));
  }

  async deleteMessage(channelId: string, messageId: string): Promise<void> {
    await this.call('deleting', 'delete', Routes.channelMessage(channelId, messageId));
  }

  /** Messages after `after`, oldest first, at most 100; each as it came. */
  async messagesAfter(channelId: string, after: string, signal: AbortSignal): Promise<readonly unknown[]> {
    const list = await this.read(z.array(z.unknown()), 'reading a channel', 'get', Routes.channelMessages(channelId), {
      query: { after, limit: '100' },
      signal,
    });
    return list.reverse();
  }

  async message(channelId: string, messageId: string, signal: AbortSignal): Promise<unknown> {
    return await this.call('reading a message', 'get', Routes.channelMessage(channelId, messageId), { signal });
  }

  async channel(channelId: string): Promise<ChannelInfo> {
    return await this.read(channelSchema, 'reading a channel', 'get', Routes.channel(channelId));
  }

  /** The role ids a person has in a server. */
  async rolesOf(guildId: string, userId: string): Promise<readonly string[]> {
    const schema = z.object({ roles: z.array(z.string()) });
    return (await this.read(schema, 'reading a member', 'get', Routes.guildMember(guildId, userId))).roles;
  }

  /** The private channel with a person; Discord gives the same one every time. */
  async openDm(userId: string): Promise<string> {
    const body = { recipient_id: userId };
    return (await this.read(channelSchema, 'opening a private chat', 'post', Routes.userChannels(), { body })).id;
  }

  async startThread(channelId: string, messageId: string, name: string): Promise<string> {
    const body = { name, auto_archive_duration: 1_440 };
    const route = Routes.threads(channelId, messageId);
    return (await this.read(channelSchema, 'opening a thread', 'post', route, { body })).id;
  }

  /** Opens an archived thread again, which only sending would do by itself. */
  async reopenThread(threadId: string): Promise<void> {
    await this.call('opening a thread again', 'patch', Routes.channel(threadId), { body: { archived: false } });
  }

  async typing(channelId: string): Promise<void> {
    await this.call('showing that we type', 'post', Routes.channelTyping(channelId));
  }

  async addReaction(channelId: string, messageId: string, emoji: string): Promise<void> {
    const route = Routes.channelMessageOwnReaction(channelId, messageId, encodeURIComponent(emoji));
    await this.call('reacting', 'put', route);
  }

  async removeReaction(channelId: string, messageId: string, emoji: string): Promise<void> {
    const route = Routes.channelMessageOwnReaction(channelId, messageId, encodeURIComponent(emoji));
    await this.call('taking a reaction away', 'delete', route);
  }

  /** The application of the bot, asked once. */
  async application(): Promise<{ readonly id: string; readonly flags: number }> {
    this.#application ??= this.read(applicationSchema, 'reading the application', 'get', Routes.currentApplication());
    try {
      return await this.#application;
    } catch (err) {
      this.#application = undefined;
      throw err;
    }
  }

  /** The first answer to an interaction; only possible within three seconds. @returns the message, where it is one. */
  async answerInteraction(
    interaction: { readonly id: string; readonly token: string },
    body: unknown,
  ): Promise<SentMessage | undefined> {
    const schema = z.object({ resource: z.object({ message: messageSchema.optional() }).nullish() });
    const route = Routes.interactionCallback(interaction.id, interaction.token);
    const answer = await this.call('answering an interaction', 'post', route, {
      body,
      auth: false,
      query: { with_response: 'true' },
    });
    const parsed = schema.safeParse(answer);
    return parsed.success ? parsed.data.resource?.message : undefined;
  }

  async interactionMessage(appId: string, token: string): Promise<SentMessage> {
    const route = Routes.webhookMessage(appId, token, '@original');
    return await this.read(messageSchema, 'reading an answer', 'get', route, { auth: false });
  }

  async editInteractionMessage(appId: string, token: string, messageId: string, body: unknown): Promise<SentMessage> {
    const route = Routes.webhookMessage(appId, token, messageId);
    return await this.read(messageSchema, 'answering a command', 'patch', route, { body, auth: false });
  }

  async deleteInteractionMessage(appId: string, token: string, messageId: string): Promise<void> {
    await this.call('removing an answer', 'delete', Routes.webhookMessage(appId, token, messageId), { auth: false });
  }

  async followUp(appId: string, token: string, body: unknown, files: readonly UploadFile[] = []): Promise<SentMessage> {
    const options = { ...withFiles(body, files), auth: false, query: { wait: 'true' } };
    return await this.read(messageSchema, 'answering a command', 'post', Routes.webhook(appId, token), options);
  }

  #mayCall(what: string, needsToken: boolean): void {
    const now = this.#clock.now().getTime();
    if (needsToken && now < this.#tokenRefusedUntil) {
      throw new DiscordFailure(what, { reason: 'Discord does not accept the bot token', status: 401 });
    }
    if (this.#refusals.count >= this.#refusedMax && now < this.#refusals.until) {
      throw new DiscordFailure(what, {
        reason: `Discord refused ${this.#refusals.count} calls in ten minutes, and would bar us for more`,
        status: 429,
        afterMs: this.#refusals.until - now,
        isGlobal: true,
      });
    }
  }
}

function withFiles(body: unknown, files: readonly UploadFile[]): CallOptions {
  return files.length === 0 ? { body } : { body, files };
}
