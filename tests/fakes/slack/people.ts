import type { EventPush, Push } from './event-push.ts';
import { messageObject } from './web-methods.ts';
import { buttonsOf, type FakeChannel, type FakeFile, type FakeMessage, type World } from './world.ts';

export interface SayOptions {
  /** Replies in the thread of this message. */
  readonly thread?: string;
  readonly files?: readonly { readonly name: string; readonly mime: string; readonly bytes: Buffer }[];
  /** Files come as stubs, as from a shared channel of another workspace. */
  readonly hasStubs?: boolean;
  /** In addition to what the event says by itself. */
  readonly extra?: Readonly<Record<string, unknown>>;
}

/** The people of the workspace: everything a human does, as the app hears of it. */
export class People {
  readonly #world: World;
  readonly #push: EventPush;
  readonly #fileUrl: (file: FakeFile) => string;
  /** In HTTP mode and in tests, the address before a response URL's id. */
  readonly #responseBase: () => string;

  constructor(
    world: World,
    push: EventPush,
    urls: { readonly file: (file: FakeFile) => string; readonly response: () => string },
  ) {
    this.#world = world;
    this.#push = push;
    this.#fileUrl = urls.file;
    this.#responseBase = urls.response;
  }

  /** Opens the person's direct messages with the bot. */
  dm(user: string): string {
    this.#user(user);
    return this.#world.openDm(user).id;
  }

  /** A channel with these people, and with the bot unless told. */
  channel(
    id: string,
    members: readonly string[],
    options: { readonly kind?: FakeChannel['kind']; readonly hasBot?: boolean } = {},
  ): string {
    for (const member of members) this.#user(member);
    const all = options.hasBot === false ? members : [...members, this.#world.botUser];
    return this.#world.addChannel(id, options.kind ?? 'channel', id.toLowerCase(), all).id;
  }

  /** Writes a message. One that names the bot reaches it twice, as the mention and as the message. @returns its time. */
  says(channelId: string, user: string, text: string, options: SayOptions = {}): string {
    const channel = this.#channel(channelId);
    const author = this.#user(user);
    const files = (options.files ?? []).map((file): FakeFile => {
      const stored = { id: this.#world.nextId('F'), isStub: options.hasStubs === true, isDeleted: false, ...file };
      this.#world.files.set(stored.id, stored);
      return stored;
    });
    channel.members.add(user);
    const message = this.#world.addMessage(channel, { user, text, files, threadTs: options.thread });
    const root = options.thread === undefined ? undefined : channel.messages.get(options.thread);
    const event = {
      ...messageObject(this.#world, message),
      channel: channel.id,
      channel_type: channel.kind,
      event_ts: message.ts,
      user_team: author.teamId,
      team: author.teamId,
      ...(root === undefined ? {} : { parent_user_id: root.user }),
      ...(files.length === 0 ? {} : { subtype: 'file_share', files: files.map((file) => this.#fileObject(file)) }),
      ...options.extra,
    };
    if (!channel.members.has(this.#world.botUser)) return message.ts;
    const { channel_type: _, ...mention } = event;
    const isMention = channel.kind !== 'im' && text.includes(`<@${this.#world.botUser}>`);
    if (isMention) this.#event({ ...mention, subtype: undefined, type: 'app_mention' });
    this.#event({ ...event, type: 'message' });
    return message.ts;
  }

  /** Names the bot in a channel. */
  mentions(channelId: string, user: string, text: string, options: SayOptions = {}): string {
    return this.says(channelId, user, `<@${this.#world.botUser}> ${text}`, options);
  }

  edits(channelId: string, ts: string, text: string): void {
    const channel = this.#channel(channelId);
    const message = this.#message(channel, ts);
    const before = this.#withTeam(message);
    message.text = text;
    this.#event({
      type: 'message',
      subtype: 'message_changed',
      channel: channel.id,
      channel_type: channel.kind,
      message: this.#withTeam(message),
      previous_message: before,
      ts: this.#world.nextTs(),
      event_ts: this.#world.nextTs(),
    });
  }

  /** Deletes any message; of the bot's, too, as an administrator can. */
  deletes(channelId: string, ts: string): void {
    const channel = this.#channel(channelId);
    const message = this.#message(channel, ts);
    channel.messages.delete(ts);
    this.#event({
      type: 'message',
      subtype: 'message_deleted',
      channel: channel.id,
      channel_type: channel.kind,
      deleted_ts: ts,
      previous_message: this.#withTeam(message),
      ts: this.#world.nextTs(),
      event_ts: this.#world.nextTs(),
    });
  }

  /** Works anywhere, whether the bot is a member or not, but not in threads. */
  slashCommand(channelId: string, user: string, command: string, text = ''): Push {
    const channel = this.#channel(channelId);
    const { name, teamId } = this.#user(user);
    return this.#push.add('slash_commands', {
      token: 'verification',
      team_id: teamId,
      team_domain: 'workspace',
      channel_id: channel.id,
      channel_name:
        channel.kind === 'im' ? 'directmessage' : channel.kind === 'mpim' ? `mpdm-${channel.name}` : channel.name,
      user_id: user,
      user_name: name,
      command,
      text,
      api_app_id: this.#world.appId,
      response_url: this.#responseUrl(channel.id, user, undefined),
      trigger_id: this.#world.newTrigger(),
    });
  }

  /** Presses the button with this value or label on the newest message (or home page) that has it. */
  presses(user: string, what: string): Push {
    const person = this.#user(user);
    const fits = (button: { readonly value?: string; readonly label: string }): boolean =>
      button.value === what || button.label === what;
    const base = {
      type: 'block_actions',
      team: { id: this.#world.teamId },
      user: { id: user, username: person.name, name: person.name, team_id: person.teamId },
      api_app_id: this.#world.appId,
      trigger_id: this.#world.newTrigger(),
    };
    const found = [...this.#world.channels.values()]
      .flatMap((channel) => [...channel.messages.values()].map((message) => ({ channel, message })))
      .filter(({ message }) => message.isBot && (message.onlyFor === undefined || message.onlyFor === user))
      .sort((a, b) => Number(b.message.ts) - Number(a.message.ts))
      .find(({ message }) => buttonsOf(message.blocks).some(fits));
    if (found === undefined) {
      const home = this.#world.homes.get(user);
      const button = buttonsOf((home?.view['blocks'] ?? []) as Record<string, unknown>[]).find(fits);
      if (home === undefined || button === undefined) throw new Error(`nothing to press for ${what}`);
      return this.#push.add('interactive', {
        ...base,
        container: { type: 'view', view_id: home.id },
        view: { id: home.id, type: 'home', private_metadata: home.view['private_metadata'] },
        actions: [this.#action(button)],
      });
    }
    const { channel, message } = found;
    const button = buttonsOf(message.blocks).find(fits);
    if (button === undefined) throw new Error(`nothing to press for ${what}`);
    return this.#push.add('interactive', {
      ...base,
      container: {
        type: 'message',
        message_ts: message.ts,
        channel_id: channel.id,
        is_ephemeral: message.onlyFor !== undefined,
        ...(message.threadTs === undefined ? {} : { thread_ts: message.threadTs }),
      },
      channel: { id: channel.id, name: channel.name },
      ...(message.onlyFor === undefined ? { message: messageObject(this.#world, message) } : {}),
      response_url: this.#responseUrl(channel.id, user, message.threadTs),
      actions: [this.#action(button)],
    });
  }

  /** Fills in the newest open form and sends it off. */
  submits(user: string, values: Readonly<Record<string, string>>): Push {
    const person = this.#user(user);
    const modal = [...this.#world.modals.values()].at(-1);
    if (modal === undefined) throw new Error('no form is open');
    this.#world.modals.delete(modal.id);
    const { callback_id: callbackId, private_metadata: metadata } = modal.view;
    return this.#push.add('interactive', {
      type: 'view_submission',
      team: { id: this.#world.teamId },
      user: { id: user, username: person.name, name: person.name, team_id: person.teamId },
      api_app_id: this.#world.appId,
      trigger_id: this.#world.newTrigger(),
      view: {
        id: modal.id,
        hash: modal.hash,
        type: 'modal',
        callback_id: callbackId,
        private_metadata: metadata,
        state: {
          values: Object.fromEntries(
            Object.entries(values).map(([name, value]) => [name, { value: { type: 'plain_text_input', value } }]),
          ),
        },
      },
    });
  }

  opensHome(user: string, tab: 'home' | 'messages' = 'home'): void {
    this.#event({ type: 'app_home_opened', user, channel: this.dm(user), tab, event_ts: this.#world.nextTs() });
  }

  /** Presses Slack's own stop sign over a thread. */
  pressesStop(channelId: string, user: string, thread: string): void {
    const streams = [...this.#channel(channelId).messages.values()].filter(({ stream }) => stream?.isOpen === true);
    this.#event({
      type: 'agent_session_stopped',
      channel: channelId,
      user,
      thread_ts: thread,
      streaming_message_ts: streams.map(({ ts }) => ts),
      event_ts: this.#world.nextTs(),
    });
  }

  /** Invites or removes the bot, archives or unarchives the channel. */
  changes(channelId: string, what: 'invite' | 'remove' | 'archive' | 'unarchive', user: string): void {
    const channel = this.#channel(channelId);
    const base = { channel: channel.id, event_ts: this.#world.nextTs() };
    const { botUser } = this.#world;
    if (what === 'invite') {
      channel.members.add(botUser);
      this.#event({ ...base, type: 'member_joined_channel', user: botUser, channel_type: 'C', inviter: user });
    } else if (what === 'remove') {
      channel.members.delete(botUser);
      this.#event({ ...base, type: channel.kind === 'group' ? 'group_left' : 'channel_left', actor_id: user });
    } else {
      channel.isArchived = what === 'archive';
      this.#event({ ...base, type: channel.kind === 'group' ? `group_${what}` : `channel_${what}`, user });
    }
  }

  /** Uninstalls the app, or takes its token away. */
  endsApp(how: 'app_uninstalled' | 'tokens_revoked'): void {
    this.#event(
      how === 'app_uninstalled' ? { type: how } : { type: how, tokens: { oauth: [], bot: [this.#world.botUser] } },
    );
  }

  /** Any other event, as the app would get it. */
  event(event: Record<string, unknown>): Push {
    return this.#event(event);
  }

  #event(event: Record<string, unknown>): Push {
    return this.#push.add('events_api', {
      token: 'verification',
      team_id: this.#world.teamId,
      api_app_id: this.#world.appId,
      type: 'event_callback',
      event_id: this.#world.nextId('Ev'),
      event_time: Math.floor(this.#world.now() / 1_000),
      event,
      authorizations: [{ team_id: this.#world.teamId, user_id: this.#world.botUser, is_bot: true }],
    });
  }

  #action(button: { readonly actionId: string; readonly value?: string }): Record<string, unknown> {
    return {
      type: 'button',
      action_id: button.actionId,
      block_id: 'b1',
      action_ts: this.#world.nextTs(),
      ...(button.value === undefined ? {} : { value: button.value }),
    };
  }

  #responseUrl(channel: string, user: string, thread: string | undefined): string {
    return `${this.#responseBase()}${this.#world.newResponseUrl(channel, user, thread)}`;
  }

  #fileObject(file: FakeFile): Record<string, unknown> {
    if (file.isStub) return { id: file.id, mode: 'file_access', file_access: 'check_file_info' };
    return {
      id: file.id,
      name: file.name,
      mimetype: file.mime,
      size: file.bytes.length,
      mode: 'hosted',
      url_private: this.#fileUrl(file),
      url_private_download: this.#fileUrl(file),
    };
  }

  #withTeam(message: FakeMessage): Record<string, unknown> {
    return { ...messageObject(this.#world, message), user_team: this.#world.users.get(message.user)?.teamId };
  }

  #message(channel: FakeChannel, ts: string): FakeMessage {
    const message = channel.messages.get(ts);
    if (message === undefined) throw new Error(`there is no message ${ts}`);
    return message;
  }

  #channel(id: string): FakeChannel {
    const channel = this.#world.channels.get(id);
    if (channel === undefined) throw new Error(`there is no channel ${id}`);
    return channel;
  }

  #user(id: string) {
    return this.#world.users.get(id) ?? this.#world.addUser(id, `person ${id}`);
  }
}
