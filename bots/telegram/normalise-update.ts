import type { Actor, InboundEvent } from '#core/inbox/inbound.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { entitiesToMarkdown } from './entities-to-markdown.ts';
import {
  addressedBy,
  afterLeadingMention,
  type BotName,
  contentOf,
  filesOf,
  readCommand,
  replyToOf,
} from './read-message.ts';
import { unpackButtonData } from './render-body.ts';
import {
  type TelegramMembership,
  type TelegramMessage,
  type TelegramRaw,
  type TelegramReaction,
  type TelegramUser,
  telegramRawSchema,
} from './update-schema.ts';

/** The service accounts Telegram puts in `from` when somebody writes in the name of a chat. */
const serviceAccounts: ReadonlySet<number> = new Set([1_087_968_824, 136_817_688, 777_000]);
/** The General topic of a forum; messages there carry it or not, and none may be sent to it by number. */
const generalTopic = 1;

/** Stored event to neutral events: pure, at most one event, none for anything unknown or not written by a person. */
export function normaliseUpdate(raw: unknown): readonly InboundEvent[] {
  const stored = telegramRawSchema.safeParse(raw).data;
  if (stored === undefined) return [];
  const event = readUpdate(stored);
  if (event === undefined) return [];
  return [stored.via === 'webhook' ? { ...event, sequence: stored.update.update_id } : event];
}

function readUpdate(stored: TelegramRaw): InboundEvent | undefined {
  const { update, bot } = stored;
  if (update.message !== undefined) return readMessage(update.message, bot);
  if (update.edited_message !== undefined) return readEdit(update.edited_message, bot);
  if (update.callback_query !== undefined) return readPress(update.callback_query, stored);
  if (update.my_chat_member !== undefined) return readMembership(update.my_chat_member, bot);
  if (update.message_reaction !== undefined) return readReaction(update.message_reaction, bot);
  if (update.stopped_message_generation !== undefined) return readStop(update.stopped_message_generation, stored);
  return undefined;
}

function readMessage(message: TelegramMessage, bot: BotName): InboundEvent | undefined {
  const migration = readMigration(message, bot);
  if (migration !== undefined) return migration;
  const actor = actorOf(message);
  if (actor === undefined || !isOurs(message) || message.is_automatic_forward === true) return undefined;

  const content = contentOf(message);
  const files = filesOf(message);
  if (content.text === '' && files.length === 0) return undefined;

  const replyToId = replyToOf(message);
  const base = {
    conversation: conversationOf(message, bot),
    actor,
    occurredAt: new Date(message.date * 1_000),
    // Ephemeral messages have ids of their own kind, which nothing can be sent in reply to later.
    ...(message.message_id === 0 ? {} : { messageId: String(message.message_id) }),
    ...(replyToId === undefined ? {} : { replyToId }),
  };
  const album = message.media_group_id === undefined ? {} : { albumId: message.media_group_id };
  const start = afterLeadingMention(content, bot);
  const command = readCommand(content, start, bot);
  if (command === 'other') return undefined;
  if (command !== undefined) {
    return { ...base, type: 'command', ...command, ...(files.length === 0 ? {} : { files, ...album }) };
  }
  const markdown = entitiesToMarkdown(content.text, content.entities);
  return {
    ...base,
    type: 'message',
    // A leading mention only addresses us; nothing before it is changed by the Markdown, so its length still holds.
    text: start > 0 ? markdown.slice(start) : markdown,
    addressed: addressedBy(message, content, bot),
    files,
    ...album,
  };
}

/** Both announcements of a group that became a supergroup read the same: the old room, and what it is called now. */
function readMigration(message: TelegramMessage, bot: BotName): InboundEvent | undefined {
  const { chat, migrate_to_chat_id: to, migrate_from_chat_id: from } = message;
  const ids = to === undefined ? (from === undefined ? undefined : [from, chat.id]) : [chat.id, to];
  if (ids === undefined) return undefined;
  const [oldId, newId] = ids;
  return {
    type: 'membership',
    change: 'migrated',
    newRoom: String(newId),
    conversation: conversationOf({ chat: { id: oldId ?? chat.id, type: 'group' } }, bot),
    actor: actorOf(message) ?? unknownActor,
    occurredAt: new Date(message.date * 1_000),
    messageId: String(message.message_id),
  };
}

function readEdit(message: TelegramMessage, bot: BotName): InboundEvent | undefined {
  const actor = actorOf(message);
  const content = contentOf(message);
  if (actor === undefined || !isOurs(message) || content.text === '') return undefined;
  const files = filesOf(message);
  return {
    type: 'edit',
    conversation: conversationOf(message, bot),
    actor,
    occurredAt: new Date((message.edit_date ?? message.date) * 1_000),
    messageId: String(message.message_id),
    text: entitiesToMarkdown(content.text, content.entities).slice(afterLeadingMention(content, bot)),
    ...(files.length === 0 ? {} : { files }),
  };
}

function readPress(
  query: NonNullable<TelegramRaw['update']['callback_query']>,
  { bot, receivedAt }: TelegramRaw,
): InboundEvent | undefined {
  const { message, data } = query;
  // Without a chat there is nothing the token could be checked against.
  if (message === undefined || data === undefined || query.from.is_bot) return undefined;
  const { token, thread } = unpackButtonData(data);
  const conversation = conversationOf(message, bot);
  return {
    type: 'action',
    conversation: thread === undefined ? conversation : { ...conversation, thread },
    actor: personOf(query.from),
    occurredAt: new Date(receivedAt),
    messageId: String(message.message_id),
    token,
    interactionToken: query.id,
  };
}

function readMembership(change: TelegramMembership, bot: BotName): InboundEvent | undefined {
  const was = isMember(change.old_chat_member);
  const is = isMember(change.new_chat_member);
  if (was === is) return undefined;
  const isPrivate = change.chat.type === 'private';
  return {
    type: 'membership',
    conversation: conversationOf({ chat: change.chat }, bot),
    actor: personOf(change.from),
    occurredAt: new Date(change.date * 1_000),
    change: isPrivate ? (is ? 'unblocked' : 'blocked') : is ? 'joined' : 'left',
  };
}

/** A changed reaction counts as the one that was added; only one that replaces nothing else counts as taken away. */
function readReaction(change: TelegramReaction, bot: BotName): InboundEvent | undefined {
  if (change.user === undefined || change.user.is_bot) return undefined;
  const before = new Set(change.old_reaction.flatMap(({ emoji }) => emoji ?? []));
  const after = new Set(change.new_reaction.flatMap(({ emoji }) => emoji ?? []));
  const added = [...after].find((emoji) => !before.has(emoji));
  const removed = [...before].find((emoji) => !after.has(emoji));
  const emoji = added ?? removed;
  if (emoji === undefined) return undefined;
  return {
    type: 'reaction',
    conversation: conversationOf({ chat: change.chat }, bot),
    actor: personOf(change.user),
    occurredAt: new Date(change.date * 1_000),
    messageId: String(change.message_id),
    emoji,
    isAdded: added !== undefined,
  };
}

function readStop(
  stop: NonNullable<TelegramRaw['update']['stopped_message_generation']>,
  { bot, receivedAt }: TelegramRaw,
): InboundEvent {
  const { chat, message_thread_id: thread, draft_id: draftId } = stop;
  return {
    type: 'stop',
    draftId,
    conversation: conversationOf({ chat, message_thread_id: thread, is_topic_message: true }, bot),
    // Drafts exist in private chats only, and a private chat has the id of its person.
    actor: { externalId: String(chat.id), displayName: chat.title ?? '', isBot: false, isAnonymous: false },
    occurredAt: new Date(receivedAt),
  };
}

const unknownActor: Actor = { externalId: '0', displayName: '', isBot: false, isAnonymous: true };

/** Chats of business accounts and of guests have ids that are not ours to answer to. */
function isOurs(message: TelegramMessage): boolean {
  return message.business_connection_id === undefined && message.guest_query_id === undefined;
}

/** Who wrote it; undefined for bots and for messages without an author. */
function actorOf(message: TelegramMessage): Actor | undefined {
  const { from, sender_chat: sender } = message;
  // Whoever writes in the name of a chat hides behind a stand-in author, whose rights are nobody's.
  if (sender !== undefined) {
    return { externalId: `chat:${sender.id}`, displayName: sender.title ?? '', isBot: false, isAnonymous: true };
  }
  if (from === undefined || from.is_bot || serviceAccounts.has(from.id)) return undefined;
  return personOf(from);
}

function personOf(user: TelegramUser): Actor {
  const name = [user.first_name, user.last_name].filter((part) => part !== undefined && part !== '').join(' ');
  return {
    externalId: String(user.id),
    displayName: name === '' ? (user.username ?? String(user.id)) : name,
    isBot: user.is_bot,
    isAnonymous: serviceAccounts.has(user.id),
  };
}

function conversationOf(
  place: {
    readonly chat: TelegramMessage['chat'];
    readonly message_thread_id?: number | undefined;
    readonly is_topic_message?: boolean | undefined;
  },
  bot: BotName,
): Conversation {
  const isPrivate = place.chat.type === 'private';
  // Reply chains of ordinary groups carry a thread id too; only topics are places of their own.
  const thread = place.is_topic_message === true ? place.message_thread_id : undefined;
  const isGeneral = !isPrivate && thread === generalTopic;
  return {
    channel: 'telegram',
    account: String(bot.id),
    room: String(place.chat.id),
    ...(thread === undefined || isGeneral ? {} : { thread: String(thread) }),
    kind: isPrivate ? 'dm' : place.chat.type === 'channel' ? 'channel' : 'group',
  };
}

/** Restricted members are in the chat only when the platform says so. */
function isMember(member: TelegramMembership['new_chat_member']): boolean {
  if (member.status === 'restricted') return member.is_member !== false;
  return member.status === 'member' || member.status === 'administrator' || member.status === 'creator';
}
