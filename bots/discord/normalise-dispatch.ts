import type { Actor, InboundEvent, InboundFile } from '#core/inbox/inbound.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import {
  type DiscordInteraction,
  type DiscordMessage,
  dmType,
  type EventPlace,
  groupDmType,
  type StoredEvent,
  storedSchema,
  threadTypes,
} from './event-schema.ts';
import { packInteraction, timeOf } from './interaction-ref.ts';

/** Ordinary messages, replies, and the two that commands leave behind; all others are the platform's own notices. */
const spokenTypes: ReadonlySet<number> = new Set([0, 19, 20, 23]);
const forwardReference = 1;

/** Reads a stored dispatch. Pure; what it does not know gives nothing. */
export function normaliseDispatch(raw: unknown): readonly InboundEvent[] {
  const parsed = storedSchema.safeParse(raw);
  if (!parsed.success) return [];
  const event = parsed.data;
  switch (event.t) {
    case 'MESSAGE_CREATE':
      return normaliseMessage(event);
    case 'MESSAGE_UPDATE':
      return normaliseEdit(event);
    case 'MESSAGE_DELETE':
      return [
        {
          type: 'delete',
          conversation: conversationOf(event.place, event.me),
          actor: nobody,
          occurredAt: new Date(event.at),
          messageId: event.d.id,
        },
      ];
    case 'MESSAGE_REACTION_ADD':
    case 'MESSAGE_REACTION_REMOVE':
      return normaliseReaction(event);
    case 'INTERACTION_CREATE':
      return normaliseInteraction(event);
    case 'ROOM':
      return [
        {
          type: 'membership',
          change: event.d.change,
          conversation: conversationOf(event.place, event.me),
          actor: nobody,
          occurredAt: new Date(event.at),
        },
      ];
  }
}

/** Whether a message is by a person, in words or files: neither a bot's, nor a web hook's, nor the platform's. */
export function isSpoken(message: Pick<DiscordMessage, 'author' | 'webhook_id' | 'type'>, me: string): boolean {
  const { author, webhook_id: hook, type } = message;
  return author.id !== me && author.bot !== true && hook === undefined && spokenTypes.has(type);
}

/**
 * How a message addresses the bot. A mention of everyone or of a role addresses nobody in particular; whether the bot
 * takes part in a thread is for the router to know.
 */
export function addressedOf(
  message: DiscordMessage,
  place: EventPlace,
  me: string,
): 'dm' | 'mention' | 'reply' | 'thread' | 'none' {
  if (place.kind === 'dm') return 'dm';
  if (mentionOf(me).test(message.content)) return 'mention';
  const isReply = message.referenced_message?.author.id === me && message.message_reference?.type !== forwardReference;
  if (isReply) return 'reply';
  return place.thread === undefined ? 'none' : 'thread';
}

type Stored<T extends StoredEvent['t']> = Extract<StoredEvent, { t: T }>;

function normaliseMessage({ d, place, me, roles }: Stored<'MESSAGE_CREATE'>): readonly InboundEvent[] {
  if (!isSpoken(d, me)) return [];
  const files = filesOf(d);
  const text = textOf(d, me);
  if (text === '' && files.length === 0 && !mentionOf(me).test(d.content)) return [];
  const reference = d.message_reference;
  const base = {
    conversation: conversationOf(place, me),
    actor: actorOf(d.author, d.member, roles),
    occurredAt: new Date(timeOf(d.id)),
    messageId: d.id,
    ...(reference?.message_id === undefined || reference.type === forwardReference
      ? {}
      : { replyToId: reference.message_id }),
  };
  const addressed = addressedOf(d, place, me);
  const command = /^\/([a-z0-9_-]{1,32})(?:\s+([\s\S]*))?$/.exec(text);
  // Typed out instead of chosen from the menu, as after a mention or in a hurry.
  if (command?.[1] !== undefined && addressed !== 'none') {
    const args = (command[2] ?? '').trim();
    return [{ ...base, type: 'command', name: command[1], args, ...(files.length === 0 ? {} : { files }) }];
  }
  return [{ ...base, type: 'message', text, addressed, files }];
}

function normaliseEdit({ d, place, me }: Stored<'MESSAGE_UPDATE'>): readonly InboundEvent[] {
  // Without a time of editing it is only a preview that was added, or a pin.
  if (!isSpoken(d, me) || d.edited_timestamp === undefined || d.edited_timestamp === null) return [];
  return [
    {
      type: 'edit',
      conversation: conversationOf(place, me),
      actor: actorOf(d.author, d.member),
      occurredAt: dateOf(d.edited_timestamp),
      messageId: d.id,
      text: textOf(d, me),
      files: filesOf(d),
    },
  ];
}

function normaliseReaction(event: Stored<'MESSAGE_REACTION_ADD' | 'MESSAGE_REACTION_REMOVE'>): readonly InboundEvent[] {
  const { d, place, me, at } = event;
  if (d.user_id === me || d.member?.user?.bot === true) return [];
  return [
    {
      type: 'reaction',
      isAdded: event.t === 'MESSAGE_REACTION_ADD',
      emoji: d.emoji.name ?? d.emoji.id ?? '',
      conversation: conversationOf(place, me),
      actor: actorOf(d.member?.user ?? { id: d.user_id, username: '' }, d.member),
      occurredAt: new Date(at),
      messageId: d.message_id,
    },
  ];
}

function normaliseInteraction({ d, me, order }: Stored<'INTERACTION_CREATE'>): readonly InboundEvent[] {
  const user = d.member?.user ?? d.user;
  const conversation = interactionPlace(d, me);
  if (user === undefined || conversation === undefined || user.bot === true || d.type === 4) return [];
  const kind = d.type === 2 ? 'command' : d.type === 3 ? 'component' : 'form';
  const interactionToken = packInteraction({ kind, appId: d.application_id, id: d.id, token: d.token });
  const base = {
    conversation,
    actor: { ...actorOf(user, d.member), ...(isExternal(d) ? { isExternal: true } : {}) },
    occurredAt: new Date(timeOf(d.id)),
    interactionToken,
    ...(d.message === undefined ? {} : { messageId: d.message.id }),
  };
  switch (d.type) {
    case 2: {
      // Only slash commands; those of a message's or person's menu are not ours.
      if (d.data.type !== 1) return [];
      const { name, args, options } = readOptions(d.data.name, d.data.options, order);
      return [{ ...base, type: 'command', name, args, options }];
    }
    case 3: {
      const { custom_id: token, values } = d.data;
      return [{ ...base, type: 'action', token, ...(values === undefined ? {} : { values }) }];
    }
    case 5:
      return [{ ...base, type: 'form', token: d.data.custom_id, values: formValues(d.data.components) }];
  }
}

type Options = Readonly<Extract<DiscordInteraction, { type: 2 }>['data']['options']>;

/** Sub-commands become the first words of the text. */
function readOptions(
  name: string,
  given: Options,
  order: readonly string[] | undefined,
): { readonly name: string; readonly args: string; readonly options: Readonly<Record<string, string>> } {
  const words: string[] = [];
  let level: Options = given;
  for (let nested = level[0]; nested?.options !== undefined; nested = level[0]) {
    words.push(nested.name);
    level = nested.options;
  }
  const values = new Map(level.flatMap(({ name: key, value }) => (value === undefined ? [] : [[key, String(value)]])));
  const place = (key: string): number => {
    const index = order?.indexOf(key) ?? -1;
    return index === -1 ? Number.MAX_SAFE_INTEGER : index;
  };
  const sorted = [...values].sort(([a], [b]) => place(a) - place(b));
  const args = [...words, ...sorted.map(([, value]) => value)].join(' ').trim();
  return { name, args, options: Object.fromEntries(values) };
}

type FormRows = Extract<DiscordInteraction, { type: 5 }>['data']['components'];

function formValues(rows: FormRows): Record<string, string> {
  const fields = rows.flatMap(({ component, components }) => [
    ...(component === undefined ? [] : [component]),
    ...(components ?? []),
  ]);
  return Object.fromEntries(
    fields.map(({ custom_id: name, value, values }) => [
      name,
      value === undefined ? (values ?? []).join(', ') : String(value),
    ]),
  );
}

/** A person who brought the bot along themselves, to a server or chat the bot is not a member of. */
function isExternal({ context, guild_id: guild, authorizing_integration_owners: owners }: DiscordInteraction): boolean {
  if (context === 2) return true;
  return guild !== undefined && owners !== undefined && !('0' in owners);
}

function interactionPlace(d: DiscordInteraction, me: string): Conversation | undefined {
  const channelId = d.channel?.id ?? d.channel_id;
  if (channelId === undefined) return undefined;
  const type = d.channel?.type;
  const parent = type !== undefined && threadTypes.has(type) ? (d.channel?.parent_id ?? undefined) : undefined;
  const isGroup = type === groupDmType || d.context === 2;
  const isDm = d.guild_id === undefined && !isGroup && (type === dmType || type === undefined);
  return conversationOf(
    {
      ...(d.guild_id === undefined ? {} : { guild: d.guild_id }),
      room: parent ?? channelId,
      ...(parent === undefined ? {} : { thread: channelId }),
      kind: isDm ? 'dm' : isGroup ? 'group' : 'channel',
    },
    me,
  );
}

function conversationOf(place: EventPlace, me: string): Conversation {
  return {
    channel: 'discord',
    account: me,
    ...(place.guild === undefined ? {} : { space: place.guild }),
    room: place.room,
    ...(place.thread === undefined ? {} : { thread: place.thread }),
    kind: place.kind,
  };
}

const nobody: Actor = { externalId: '0', displayName: '', isBot: false, isAnonymous: true };

function actorOf(
  user: DiscordMessage['author'],
  member: DiscordMessage['member'],
  roles: readonly string[] | undefined = member?.roles,
): Actor {
  const name = [member?.nick, user.global_name, user.username].find((text) => typeof text === 'string' && text !== '');
  return {
    externalId: user.id,
    displayName: name ?? user.id,
    isBot: user.bot === true,
    isAnonymous: false,
    ...(roles === undefined ? {} : { roles }),
  };
}

function mentionOf(me: string): RegExp {
  return new RegExp(`<@!?${me}>`);
}

/** What was said, without the mention of us it begins with; a forwarded message is quoted. */
function textOf(message: DiscordMessage, me: string): string {
  const own = message.content.replace(new RegExp(`^\\s*<@!?${me}>[\\s,:]*`), '');
  const forwarded = (message.message_snapshots ?? []).flatMap(({ message: { content } }) =>
    content === '' ? [] : [content],
  );
  const quotes = forwarded.map((content) => content.replace(/^/gm, '> '));
  return [own.trim() === '' ? '' : own, ...quotes].filter((text) => text !== '').join('\n\n');
}

function filesOf(message: DiscordMessage): InboundFile[] {
  const forwarded = (message.message_snapshots ?? []).flatMap(({ message: { attachments } }) => attachments);
  return [...message.attachments, ...forwarded].map(({ id, filename, content_type: mime, size }) => ({
    name: filename,
    // The address of the file is signed and expires; it is asked for again when the file is fetched.
    fetchKey: `${message.channel_id}/${message.id}/${id}`,
    ...(mime === undefined || mime === null ? {} : { mime }),
    ...(size === undefined ? {} : { bytes: size }),
  }));
}

function dateOf(text: string): Date {
  const date = new Date(text);
  return Number.isNaN(date.getTime()) ? new Date(0) : date;
}
