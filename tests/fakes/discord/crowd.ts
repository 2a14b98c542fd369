import { randomBytes } from 'node:crypto';
import { intentBits } from './gateway.ts';
import { announce, openThread, type RestDeps, removeMessage, setArchived } from './rest-routes.ts';
import { buttonsOf, channelObject, guildObject, messageObject, userObject, walk } from './wire.ts';
import {
  type FakeChannel,
  type FakeGuild,
  type FakeInteraction,
  type FakeMessage,
  preciseNow,
  snowflake,
} from './world.ts';

export interface SayOptions {
  readonly replyTo?: string;
  readonly files?: readonly { readonly name: string; readonly bytes: Buffer; readonly mime?: string }[];
  /** Written by another bot, or by a web hook. */
  readonly asBot?: boolean;
  readonly asWebhook?: boolean;
  readonly forwards?: string;
  /** Another kind than an ordinary message, such as 7 for "joined the server". */
  readonly type?: number;
}

/** The other side of the conversation: people, and what they do in the client. */
export class Crowd {
  readonly #deps: RestDeps;

  constructor(deps: RestDeps) {
    this.#deps = deps;
  }

  /** A person; made at the first time. */
  user(id: string, username = `Person ${id.slice(-4)}`): string {
    const { users } = this.#deps.world;
    if (!users.has(id)) users.set(id, { id, username, isBot: false });
    return id;
  }

  /** A new person. */
  newUser(username?: string): string {
    return this.user(snowflake(), username);
  }

  /** A server with members, in which the bot is. */
  guild(members: readonly string[] = [], roles: readonly string[] = []): FakeGuild {
    const { world, gateway } = this.#deps;
    const guild: FakeGuild = {
      id: snowflake(),
      name: 'a server',
      members: new Map(members.map((id) => [this.user(id), roles])),
      hasBot: true,
      joinedAt: new Date().toISOString(),
    };
    world.guilds.set(guild.id, guild);
    gateway.dispatch('GUILD_CREATE', intentBits.guilds, () => guildObject(world, guild));
    return guild;
  }

  /** A text channel of a server. */
  channel(guild: FakeGuild, name = 'general', type = 0): string {
    const { world, gateway } = this.#deps;
    const channel = world.addChannel({ id: snowflake(), type, name, guildId: guild.id });
    gateway.dispatch('CHANNEL_CREATE', intentBits.guilds, () => channelObject(channel));
    return channel.id;
  }

  /** A thread a person opens. */
  thread(channelId: string, ownerId: string, name = 'a thread'): string {
    const { world, gateway } = this.#deps;
    return openThread(world, gateway, this.#channel(channelId), snowflake(), name, ownerId).id;
  }

  /** The private chat with a person. */
  dm(userId: string): string {
    return this.#deps.world.dmWith(this.user(userId)).id;
  }

  says(channelId: string, userId: string, content: string, options: SayOptions = {}): string {
    const { world } = this.#deps;
    const channel = this.#channel(channelId);
    if (channel.isArchived && !channel.isLocked) setArchived(this.#deps, channel, false, false);
    const user = world.users.get(this.user(userId));
    if (user === undefined) throw new Error('unreachable');
    const message = world.addMessage(channel, {
      author: options.asBot === true ? { ...user, isBot: true } : user,
      content,
      replyTo: options.replyTo,
      snapshot: options.forwards === undefined ? undefined : { content: options.forwards },
      webhookId: options.asWebhook === true ? snowflake() : undefined,
      files: (options.files ?? []).map(({ name, bytes, mime = 'application/octet-stream' }) => ({
        id: snowflake(),
        name,
        mime,
        bytes,
      })),
      ...(options.type === undefined ? {} : { type: options.type }),
    });
    announce(this.#deps, message);
    return message.id;
  }

  edits(channelId: string, messageId: string, content: string): void {
    const message = this.#message(channelId, messageId);
    message.content = content;
    message.editedAt = preciseNow();
    this.#update(message);
  }

  /** The client adds a preview: an update without a change. */
  unfurls(channelId: string, messageId: string): void {
    this.#update(this.#message(channelId, messageId));
  }

  deletes(channelId: string, messageId: string): void {
    removeMessage(this.#deps, this.#channel(channelId), this.#message(channelId, messageId));
  }

  reacts(channelId: string, userId: string, messageId: string, emoji: string, isAdded = true): void {
    const channel = this.#channel(channelId);
    const intent = channel.guildId === undefined ? intentBits.directReactions : intentBits.guildReactions;
    this.#deps.gateway.dispatch(isAdded ? 'MESSAGE_REACTION_ADD' : 'MESSAGE_REACTION_REMOVE', intent, () => ({
      user_id: userId,
      channel_id: channelId,
      message_id: messageId,
      emoji: { id: null, name: emoji },
      ...(channel.guildId === undefined ? {} : { guild_id: channel.guildId }),
      ...(isAdded && channel.guildId !== undefined ? { member: this.#member(channel.guildId, userId) } : {}),
    }));
  }

  /** Chooses a slash command from the menu. @throws what the client would not offer. @returns the interaction's id. */
  slash(
    channelId: string,
    userId: string,
    name: string,
    options: Readonly<Record<string, string>> = {},
    how: { readonly isUserInstall?: boolean } = {},
  ): string {
    const command = this.#deps.world.commands.find((candidate) => candidate.name === name && candidate.type === 1);
    if (command === undefined) throw new Error(`there is no command /${name}`);
    const known = walk(command.body['options']);
    for (const option of known) {
      if (option['required'] === true && !(String(option['name']) in options)) {
        throw new Error(`/${name} needs ${String(option['name'])}`);
      }
    }
    const given = Object.entries(options).map(([key, value]) => {
      const option = known.find((candidate) => candidate['name'] === key);
      if (option === undefined) throw new Error(`/${name} has no option ${key}`);
      return { name: key, type: option['type'], value };
    });
    const data = { id: command.id, name, type: 1, ...(given.length === 0 ? {} : { options: given }) };
    return this.#interact(2, channelId, userId, { data }, undefined, how.isUserInstall === true).id;
  }

  /** Types into an option. @returns what the client then offers. */
  async types(
    channelId: string,
    userId: string,
    name: string,
    option: string,
    typed: string,
  ): Promise<readonly string[]> {
    const data = { id: '1', name, type: 1, options: [{ name: option, type: 3, value: typed, focused: true }] };
    const interaction = this.#interact(4, channelId, userId, { data });
    for (let waited = 0; waited < 30_000; waited += 10) {
      if (interaction.choices !== undefined) return interaction.choices;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error('nothing was suggested within thirty seconds');
  }

  /** Presses the newest enabled button with this id. @returns the interaction's id. */
  presses(channelId: string, userId: string, token: string): string {
    const message = [...this.#channel(channelId).messages.values()].findLast((candidate) =>
      buttonsOf(candidate.components).some((button) => button.token === token && !button.isDisabled),
    );
    if (message === undefined) throw new Error(`there is no button ${token}`);
    return this.pressesOn(channelId, userId, message.id, token);
  }

  /** Presses a button of a message as it was shown earlier, whatever the message shows now. */
  pressesOn(channelId: string, userId: string, messageId: string, token: string): string {
    const data = { component_type: 2, custom_id: token };
    return this.#interact(3, channelId, userId, { data }, this.#message(channelId, messageId)).id;
  }

  /** Fills in the form an interaction opened. @returns the new interaction's id. */
  submits(interactionId: string, values: Readonly<Record<string, string>>): string {
    const opened = this.#deps.world.interactions.get(interactionId);
    if (opened?.modal === undefined) throw new Error('no form was opened');
    const rows = walk(opened.modal['components']).filter(({ type }) => type === 18);
    const components = rows.map((row) => {
      const [input] = walk([row['component']]);
      const name = String(input?.['custom_id']);
      return { type: 18, component: { type: 4, custom_id: name, value: values[name] ?? '' } };
    });
    const source = opened.messageId === undefined ? undefined : this.#message(opened.channelId, opened.messageId);
    const data = { custom_id: opened.modal['custom_id'], components };
    return this.#interact(5, opened.channelId, opened.userId, { data }, source).id;
  }

  kicksBot(guild: FakeGuild): void {
    guild.hasBot = false;
    this.#deps.gateway.dispatch('GUILD_DELETE', intentBits.guilds, () => ({ id: guild.id }));
  }

  /** The server has an outage: the bot is still its member. */
  loses(guild: FakeGuild): void {
    this.#deps.gateway.dispatch('GUILD_DELETE', intentBits.guilds, () => ({ id: guild.id, unavailable: true }));
  }

  invitesBot(guild: FakeGuild): void {
    guild.hasBot = true;
    guild.joinedAt = new Date().toISOString();
    this.#deps.gateway.dispatch('GUILD_CREATE', intentBits.guilds, () => guildObject(this.#deps.world, guild));
  }

  archives(threadId: string, options: { readonly isLocked?: boolean } = {}): void {
    setArchived(this.#deps, this.#channel(threadId), true, options.isLocked === true);
  }

  deletesChannel(channelId: string): void {
    const channel = this.#channel(channelId);
    this.#deps.world.channels.delete(channelId);
    const t = channel.parentId === undefined ? 'CHANNEL_DELETE' : 'THREAD_DELETE';
    this.#deps.gateway.dispatch(t, intentBits.guilds, () => channelObject(channel));
  }

  #interact(
    type: number,
    channelId: string,
    userId: string,
    more: Readonly<Record<string, unknown>>,
    message?: FakeMessage,
    isUserInstall = false,
  ): FakeInteraction {
    const { world, gateway, baseUrl } = this.#deps;
    const channel = this.#channel(channelId);
    const interaction: FakeInteraction = {
      id: snowflake(),
      token: `aW50ZXJhY3Rpb24${randomBytes(60).toString('base64url')}`,
      type,
      channelId,
      userId,
      messageId: message?.id,
      at: preciseNow(),
      answeredAfterMs: undefined,
      state: 'open',
      answer: undefined,
      originalId: undefined,
      modal: undefined,
      choices: undefined,
    };
    world.interactions.set(interaction.id, interaction);
    const { guildId } = channel;
    const user = world.users.get(this.user(userId));
    if (user === undefined) throw new Error('unreachable');
    // Interactions need no intent.
    gateway.dispatch('INTERACTION_CREATE', 0, () => ({
      id: interaction.id,
      application_id: world.applicationId,
      type,
      token: interaction.token,
      version: 1,
      channel_id: channelId,
      channel: {
        id: channel.id,
        type: channel.type,
        name: channel.name,
        ...(channel.parentId === undefined ? {} : { parent_id: channel.parentId }),
      },
      app_permissions: '0',
      locale: 'en-GB',
      entitlements: [],
      attachment_size_limit: 10 * 1024 * 1024,
      context: channel.type === 3 ? 2 : guildId === undefined ? 1 : 0,
      authorizing_integration_owners: isUserInstall
        ? { '1': userId }
        : guildId === undefined
          ? { '0': '0' }
          : { '0': guildId },
      ...(guildId === undefined
        ? { user: userObject(user) }
        : { guild_id: guildId, member: this.#member(guildId, userId) }),
      ...(message === undefined ? {} : { message: messageObject(world, message, baseUrl()) }),
      ...more,
    }));
    return interaction;
  }

  #member(guildId: string, userId: string): Record<string, unknown> {
    const { world } = this.#deps;
    const user = world.users.get(this.user(userId));
    if (user === undefined) throw new Error('unreachable');
    return {
      user: userObject(user),
      nick: null,
      roles: world.guilds.get(guildId)?.members.get(userId) ?? [],
      permissions: '0',
    };
  }

  #update(message: FakeMessage): void {
    const { world, gateway, baseUrl } = this.#deps;
    const { guildId, type } = this.#channel(message.channelId);
    gateway.dispatch(
      'MESSAGE_UPDATE',
      guildId === undefined ? intentBits.directMessages : intentBits.guildMessages,
      () => ({
        ...messageObject(world, message, baseUrl()),
        channel_type: type,
        ...(guildId === undefined ? {} : { guild_id: guildId, member: this.#member(guildId, message.author.id) }),
      }),
    );
  }

  #channel(channelId: string): FakeChannel {
    const channel = this.#deps.world.channels.get(channelId);
    if (channel === undefined) throw new Error(`there is no channel ${channelId}`);
    return channel;
  }

  #message(channelId: string, messageId: string): FakeMessage {
    const message = this.#channel(channelId).messages.get(messageId);
    if (message === undefined) throw new Error(`there is no message ${messageId}`);
    return message;
  }
}
