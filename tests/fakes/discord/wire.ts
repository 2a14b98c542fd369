import type { FakeChannel, FakeGuild, FakeMessage, FakeUser, World } from './world.ts';

/** The `user` object. */
export function userObject(user: FakeUser): Record<string, unknown> {
  return {
    id: user.id,
    username: user.username,
    global_name: user.username,
    discriminator: '0',
    avatar: null,
    ...(user.isBot ? { bot: true } : {}),
  };
}

export function channelObject(channel: FakeChannel): Record<string, unknown> {
  const isThread = channel.parentId !== undefined;
  return {
    id: channel.id,
    type: channel.type,
    name: channel.name,
    last_message_id: channel.lastMessageId ?? null,
    ...(channel.guildId === undefined ? {} : { guild_id: channel.guildId }),
    ...(isThread
      ? {
          parent_id: channel.parentId,
          owner_id: channel.ownerId,
          thread_metadata: {
            archived: channel.isArchived,
            locked: channel.isLocked,
            auto_archive_duration: 1_440,
            archive_timestamp: new Date().toISOString(),
          },
        }
      : {}),
  };
}

/** The `guild` of a GUILD_CREATE: its channels, and those of its threads that are not archived. */
export function guildObject(world: World, guild: FakeGuild): Record<string, unknown> {
  const own = [...world.channels.values()].filter(({ guildId, canView }) => guildId === guild.id && canView);
  return {
    id: guild.id,
    name: guild.name,
    joined_at: guild.joinedAt,
    unavailable: false,
    member_count: guild.members.size,
    channels: own.filter(({ parentId }) => parentId === undefined).map(channelObject),
    threads: own.filter(({ parentId, isArchived }) => parentId !== undefined && !isArchived).map(channelObject),
    roles: [],
    members: [],
    emojis: [],
    presences: [],
    voice_states: [],
    stage_instances: [],
    stickers: [],
    guild_scheduled_events: [],
    soundboard_sounds: [],
  };
}

/** The `message` object as REST answers with it. `baseUrl` is where files are served. */
export function messageObject(world: World, message: FakeMessage, baseUrl: string): Record<string, unknown> {
  const channel = world.channels.get(message.channelId);
  const replied = message.replyTo === undefined ? undefined : channel?.messages.get(message.replyTo);
  return {
    id: message.id,
    channel_id: message.channelId,
    type: message.type,
    content: message.content,
    author: userObject(message.author),
    timestamp: new Date(message.sentAt).toISOString(),
    edited_timestamp: message.editedAt === undefined ? null : new Date(message.editedAt).toISOString(),
    mentions: mentionedIn(message.content).flatMap((id) => {
      const user = world.users.get(id);
      return user === undefined ? [] : [userObject(user)];
    }),
    mention_everyone: message.pings.includes('everyone'),
    mention_roles: [],
    attachments: message.files.map((file) => ({
      id: file.id,
      filename: file.name,
      content_type: file.mime,
      size: file.bytes.length,
      // Addresses of files are signed and die; the fake gives out a new one each time.
      url: `${baseUrl}/attachments/${message.channelId}/${file.id}/${encodeURIComponent(file.name)}?ex=${Math.floor(Date.now() / 1_000) + 60}`,
    })),
    embeds: [],
    components: message.components,
    flags: message.flags,
    pinned: false,
    tts: false,
    ...(message.nonce === undefined ? {} : { nonce: message.nonce }),
    ...(message.webhookId === undefined ? {} : { webhook_id: message.webhookId }),
    ...(message.interactionId === undefined ? {} : { interaction_metadata: { id: message.interactionId, type: 2 } }),
    ...(message.replyTo === undefined
      ? {}
      : {
          message_reference: { type: 0, message_id: message.replyTo, channel_id: message.channelId },
          referenced_message:
            replied === undefined ? null : messageObject(world, { ...replied, replyTo: undefined }, baseUrl),
        }),
    ...(message.snapshot === undefined
      ? {}
      : {
          message_reference: { type: 1, message_id: '1', channel_id: '1' },
          message_snapshots: [{ message: { content: message.snapshot.content, attachments: [] } }],
        }),
  };
}

/** The message as the gateway sends it: with where it stands and who wrote it there. */
export function messageEvent(
  world: World,
  message: FakeMessage,
  baseUrl: string,
  hasContentIntent: boolean,
): Record<string, unknown> {
  const channel = world.channels.get(message.channelId);
  const guild = channel?.guildId === undefined ? undefined : world.guilds.get(channel.guildId);
  const roles = guild?.members.get(message.author.id);
  const object = messageObject(world, message, baseUrl);
  const isVisible =
    hasContentIntent ||
    guild === undefined ||
    message.author.id === world.bot.id ||
    mentionedIn(message.content).includes(world.bot.id);
  return {
    ...object,
    ...(isVisible ? {} : { content: '', attachments: [], components: [], embeds: [] }),
    ...(guild === undefined ? {} : { guild_id: guild.id }),
    ...(channel === undefined ? {} : { channel_type: channel.type }),
    ...(guild === undefined || message.webhookId !== undefined
      ? {}
      : { member: { nick: null, roles: roles ?? [], joined_at: guild.joinedAt, deaf: false, mute: false, flags: 0 } }),
  };
}

/** Ids of the people a text mentions, code included: the server does not look into it. */
export function mentionedIn(content: string): string[] {
  return [...new Set([...content.matchAll(/<@!?(\d+)>/g)].map(([, id]) => id ?? ''))];
}

/** All texts of a message's components, one per line. */
export function componentTexts(components: readonly unknown[]): string[] {
  return walk(components).flatMap(({ type, content }) => (type === 10 && typeof content === 'string' ? [content] : []));
}

export interface SeenButton {
  readonly label: string;
  readonly token?: string;
  readonly url?: string;
  readonly style: number;
  readonly isDisabled: boolean;
}

export function buttonsOf(components: readonly unknown[]): SeenButton[] {
  return walk(components)
    .filter(({ type }) => type === 2)
    .map((button) => ({
      label: String(button['label'] ?? ''),
      style: Number(button['style']),
      isDisabled: button['disabled'] === true,
      ...(typeof button['custom_id'] === 'string' ? { token: button['custom_id'] } : {}),
      ...(typeof button['url'] === 'string' ? { url: button['url'] } : {}),
    }));
}

/** Every component of a tree, outer ones first. */
export function walk(components: unknown): Record<string, unknown>[] {
  if (!Array.isArray(components)) return [];
  return components.flatMap((component: unknown) => {
    if (typeof component !== 'object' || component === null) return [];
    const record: Record<string, unknown> = { ...component };
    return [
      record,
      ...walk(record['components']),
      ...walk(record['component'] === undefined ? [] : [record['component']]),
    ];
  });
}
