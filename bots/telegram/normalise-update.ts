import type { Actor, InboundEvent, InboundFile } from '#core/inbox/inbound.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { entitiesToMarkdown } from './entities-to-markdown.ts';
import {
  type TelegramMembership,
  type TelegramMessage,
  type TelegramRaw,
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
  const { update, bot } = stored;
  if (update.message !== undefined) return normaliseMessage(update.message, bot);
  if (update.edited_message !== undefined) return normaliseEdit(update.edited_message, bot);
  if (update.callback_query !== undefined) return normalisePress(update.callback_query, stored);
  if (update.my_chat_member !== undefined) return normaliseMembership(update.my_chat_member, bot);
  if (update.stopped_message_generation !== undefined) return normaliseStop(update.stopped_message_generation, stored);
  return [];
}

type Bot = TelegramRaw['bot'];

function normaliseMessage(message: TelegramMessage, bot: Bot): readonly InboundEvent[] {
  const actor = actorOf(message);
  const conversation = conversationOf(message, bot);
  const base = { conversation, occurredAt: new Date(message.date * 1_000), messageId: String(message.message_id) };
  if (message.migrate_to_chat_id !== undefined) {
    return [
      {
        ...base,
        actor: actor ?? unknownActor,
        type: 'membership',
        change: 'migrated',
        newRoom: String(message.migrate_to_chat_id),
      },
    ];
  }
  if (actor === undefined || message.is_automatic_forward === true) return [];

  const { text, entities } = contentOf(message);
  const files = filesOf(message);
  if (text === '' && files.length === 0) return [];

  const mention = leadingMention(text, entities, bot);
  const command = readCommand(text, entities, mention.end, bot);
  if (command === 'other') return [];
  if (command !== undefined) return [{ ...base, actor, type: 'command', ...command }];
  const markdown = entitiesToMarkdown(text, entities);
  return [
    {
      ...base,
      actor,
      type: 'message',
      // A leading mention only addresses us; nothing before it is changed by the Markdown, so its length still holds.
      text: mention.end > 0 ? markdown.slice(mention.end) : markdown,
      addressed: addressedOf(message, text, entities, bot),
      files,
    },
  ];
}

function normaliseEdit(message: TelegramMessage, bot: Bot): readonly InboundEvent[] {
  const actor = actorOf(message);
  const { text, entities } = contentOf(message);
  if (actor === undefined || text === '') return [];
  const { end } = leadingMention(text, entities, bot);
  return [
    {
      type: 'edit',
      conversation: conversationOf(message, bot),
      actor,
      occurredAt: new Date((message.edit_date ?? message.date) * 1_000),
      messageId: String(message.message_id),
      text: entitiesToMarkdown(text, entities).slice(end),
    },
  ];
}

function normalisePress(
  query: NonNullable<TelegramRaw['update']['callback_query']>,
  { bot, receivedAt }: TelegramRaw,
): readonly InboundEvent[] {
  const { message, data } = query;
  // Without a chat there is nothing the token could be checked against.
  if (message === undefined || data === undefined || query.from.is_bot) return [];
  return [
    {
      type: 'action',
      conversation: conversationOf(message, bot),
      actor: personOf(query.from),
      occurredAt: new Date(receivedAt),
      messageId: String(message.message_id),
      token: data,
      interactionToken: query.id,
    },
  ];
}

function normaliseMembership(change: TelegramMembership, bot: Bot): readonly InboundEvent[] {
  const was = isMember(change.old_chat_member);
  const is = isMember(change.new_chat_member);
  if (was === is) return [];
  const isPrivate = change.chat.type === 'private';
  return [
    {
      type: 'membership',
      conversation: conversationOf({ chat: change.chat }, bot),
      actor: personOf(change.from),
      occurredAt: new Date(change.date * 1_000),
      change: isPrivate ? (is ? 'unblocked' : 'blocked') : is ? 'joined' : 'left',
    },
  ];
}

function normaliseStop(
  stop: NonNullable<TelegramRaw['update']['stopped_message_generation']>,
  { bot, receivedAt }: TelegramRaw,
): readonly InboundEvent[] {
  const { chat, message_thread_id: thread, draft_id: draftId } = stop;
  return [
    {
      type: 'stop',
      draftId,
      conversation: conversationOf({ chat, message_thread_id: thread, is_topic_message: true }, bot),
      // Drafts exist in private chats only, and a private chat has the id of its person.
      actor: { externalId: String(chat.id), displayName: chat.title ?? '', isBot: false, isAnonymous: false },
      occurredAt: new Date(receivedAt),
    },
  ];
}

const unknownActor: Actor = { externalId: '0', displayName: '', isBot: false, isAnonymous: true };

/** Who wrote it; undefined for bots and for messages without an author. */
function actorOf(message: TelegramMessage): Actor | undefined {
  const { from, sender_chat: sender } = message;
  if (sender !== undefined && (from === undefined || serviceAccounts.has(from.id))) {
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
  bot: Bot,
): Conversation {
  // Reply chains of ordinary groups carry a thread id too; only topics are places of their own.
  const thread = place.is_topic_message === true ? place.message_thread_id : undefined;
  return {
    channel: 'telegram',
    account: String(bot.id),
    room: String(place.chat.id),
    ...(thread === undefined || thread === generalTopic ? {} : { thread: String(thread) }),
    kind: place.chat.type === 'private' ? 'dm' : place.chat.type === 'channel' ? 'channel' : 'group',
  };
}

type Entities = NonNullable<TelegramMessage['entities']>;

function contentOf(message: TelegramMessage): { readonly text: string; readonly entities: Entities } {
  return message.text === undefined
    ? { text: message.caption ?? '', entities: message.caption_entities ?? [] }
    : { text: message.text, entities: message.entities ?? [] };
}

function filesOf(message: TelegramMessage): InboundFile[] {
  const largestPhoto = message.photo?.at(-1);
  const named = [
    // An animation is repeated as a document.
    { file: message.animation === undefined ? message.document : undefined, name: 'document' },
    { file: message.animation, name: 'animation.mp4' },
    { file: message.audio, name: 'audio' },
    { file: message.video, name: 'video.mp4' },
    { file: message.video_note, name: 'video.mp4' },
    { file: message.voice, name: 'voice.ogg' },
    { file: largestPhoto, name: 'photo.jpg' },
  ];
  return named.flatMap(({ file, name }) =>
    file === undefined
      ? []
      : [
          {
            name: file.file_name ?? name,
            fetchKey: file.file_id,
            ...(file.mime_type === undefined ? {} : { mime: file.mime_type }),
            ...(file.file_size === undefined ? {} : { bytes: file.file_size }),
          },
        ],
  );
}

/** Whether the text starts by naming us, and where what follows begins. */
function leadingMention(text: string, entities: Entities, bot: Bot): { readonly end: number } {
  const start = text.length - text.trimStart().length;
  const mention = entities.find((entity) => entity.offset === start && isOwnMention(text, entity, bot));
  if (mention === undefined) return { end: 0 };
  const end = mention.offset + mention.length;
  return { end: end + (/^\s*[,:]?\s*/.exec(text.slice(end))?.[0].length ?? 0) };
}

function isOwnMention(text: string, entity: Entities[number], bot: Bot): boolean {
  if (entity.type === 'text_mention') return entity.user?.id === bot.id;
  const name = text.slice(entity.offset, entity.offset + entity.length);
  return entity.type === 'mention' && name.toLowerCase() === `@${bot.username.toLowerCase()}`;
}

/** The command the text starts with (after our name, if that comes first); `other` when it names another bot. */
function readCommand(
  text: string,
  entities: Entities,
  start: number,
  bot: Bot,
): { readonly name: string; readonly args: string } | 'other' | undefined {
  const entity = entities.find((candidate) => candidate.type === 'bot_command' && candidate.offset === start);
  if (entity === undefined) return undefined;
  const end = entity.offset + entity.length;
  const [name = '', target] = text.slice(entity.offset + 1, end).split('@');
  if (target !== undefined && target.toLowerCase() !== bot.username.toLowerCase()) return 'other';
  return { name: name.toLowerCase(), args: text.slice(end).trim() };
}

function addressedOf(
  message: TelegramMessage,
  text: string,
  entities: Entities,
  bot: Bot,
): 'dm' | 'mention' | 'reply' | 'none' {
  if (message.chat.type === 'private') return 'dm';
  if (entities.some((entity) => isOwnMention(text, entity, bot))) return 'mention';
  const replied = message.reply_to_message;
  // Every message of a topic is an implicit reply to the one that created it.
  const isReply = replied?.from?.id === bot.id && replied.forum_topic_created === undefined;
  return isReply ? 'reply' : 'none';
}

/** Restricted members are in the chat only when the platform says so. */
function isMember(member: TelegramMembership['new_chat_member']): boolean {
  if (member.status === 'restricted') return member.is_member !== false;
  return member.status === 'member' || member.status === 'administrator' || member.status === 'creator';
}
