/** What the fake knows: people, chats, messages. The shapes are the Bot API's where they go over the wire. */
export interface FakeUser {
  readonly id: number;
  readonly is_bot: boolean;
  readonly first_name: string;
  readonly username?: string;
}

export interface FakeEntity {
  readonly type: string;
  readonly offset: number;
  readonly length: number;
  readonly url?: string;
  readonly language?: string;
  readonly user?: FakeUser;
}

export interface FakeButton {
  readonly text: string;
  readonly callback_data?: string;
  readonly url?: string;
  readonly style?: string;
  readonly disabled?: object;
}

/** How a file is shown; voice notes and pictures have no name on the wire. */
export type FileKind = 'document' | 'photo' | 'voice' | 'audio' | 'video' | 'video_note';

export interface FakeFile {
  readonly fileId: string;
  readonly name: string;
  readonly mime: string;
  readonly bytes: Buffer;
  readonly kind: FileKind;
  /** What the server says the size is, for files too large to make. */
  readonly claimedBytes?: number;
}

export interface FakeMessage {
  readonly id: number;
  readonly from: FakeUser;
  readonly threadId: number | undefined;
  readonly replyTo: number | undefined;
  readonly isSilent: boolean;
  /** Milliseconds since the epoch with fractions, for latency measurements. */
  readonly sentAt: number;
  /** Joins the items of an album. */
  readonly albumId: string | undefined;
  /** Whether it opens a reply on the screens of those it is for. */
  readonly asksReply: boolean;
  text: string;
  /** The blocks of a rich message; `text` is then what they say. */
  rich: unknown;
  entities: readonly FakeEntity[];
  buttons: readonly (readonly FakeButton[])[];
  file: FakeFile | undefined;
  editedAt: number | undefined;
  edits: number;
}

export interface FakeDraft {
  readonly draftId: number;
  readonly text: string;
  readonly entities: readonly FakeEntity[];
  readonly threadId: number | undefined;
  readonly at: number;
}

/** A message only one person sees, with an id of its own kind. */
interface FakeEphemeral {
  readonly receiver: number;
  readonly queryId: string | undefined;
  readonly threadId: number | undefined;
  text: string;
  buttons: readonly (readonly FakeButton[])[];
}

export interface FakeChat {
  readonly id: number;
  readonly type: 'private' | 'group' | 'supergroup' | 'channel';
  readonly title: string;
  readonly isForum: boolean;
  readonly messages: Map<number, FakeMessage>;
  readonly topics: Map<number, 'open' | 'closed'>;
  readonly topicNames: Map<number, string>;
  readonly ephemerals: Map<number, FakeEphemeral>;
  /** The bot's reaction to each message, by message id. */
  readonly reactions: Map<number, string>;
  /** Every draft that was shown, oldest first. */
  readonly drafts: FakeDraft[];
  /** The preview a person sees now; any message of the bot clears it. */
  liveDraft: FakeDraft | undefined;
  readonly chatActions: string[];
  nextMessageId: number;
  state: 'open' | 'blocked' | 'kicked';
  /** Whether the bot may make topics here; in a private chat, whether it has any. */
  canManageTopics: boolean;
  allowsReactions: boolean;
  migratedTo: number | undefined;
}

/** The `chat` object of the Bot API. */
export function chatObject(chat: FakeChat): Record<string, unknown> {
  return chat.type === 'private'
    ? { id: chat.id, type: chat.type, first_name: chat.title }
    : { id: chat.id, type: chat.type, title: chat.title, ...(chat.isForum ? { is_forum: true } : {}) };
}

/** The `message` object of the Bot API, as sent in updates and in answers to send methods. */
export function messageObject(chat: FakeChat, message: FakeMessage): Record<string, unknown> {
  const replied = message.replyTo === undefined ? undefined : chat.messages.get(message.replyTo);
  const text = message.file === undefined ? 'text' : 'caption';
  return {
    message_id: message.id,
    date: Math.floor(message.sentAt / 1000),
    chat: chatObject(chat),
    from: message.from,
    ...(message.text === '' || message.rich !== undefined ? {} : { [text]: message.text }),
    ...(message.entities.length === 0
      ? {}
      : { [message.file === undefined ? 'entities' : 'caption_entities']: message.entities }),
    ...(message.threadId === undefined ? {} : { message_thread_id: message.threadId, is_topic_message: true }),
    ...(replied === undefined ? {} : { reply_to_message: messageObject(chat, { ...replied, replyTo: undefined }) }),
    ...(message.editedAt === undefined ? {} : { edit_date: Math.floor(message.editedAt / 1000) }),
    ...(message.buttons.length === 0 ? {} : { reply_markup: { inline_keyboard: message.buttons } }),
    ...(message.albumId === undefined ? {} : { media_group_id: message.albumId }),
    ...(message.rich === undefined ? {} : { rich_message: message.rich }),
    ...(message.file === undefined ? {} : fileFields(message.file)),
  };
}

function fileFields(file: FakeFile): Record<string, unknown> {
  const base = {
    file_id: file.fileId,
    file_unique_id: `u${file.fileId}`,
    file_size: file.claimedBytes ?? file.bytes.length,
  };
  if (file.kind === 'photo') {
    const small = { file_id: `${file.fileId}-small`, file_unique_id: 'small', file_size: 10, width: 90, height: 90 };
    return { photo: [small, { ...base, width: 1_280, height: 720 }] };
  }
  if (file.kind === 'voice' || file.kind === 'video_note') return { [file.kind]: { ...base, mime_type: file.mime } };
  return { [file.kind]: { ...base, file_name: file.name, mime_type: file.mime } };
}

/** Now, in milliseconds with fractions. */
export function preciseNow(): number {
  return performance.timeOrigin + performance.now();
}

/** Entities the server itself finds in a text: commands, mentions and addresses outside code. */
export function detectEntities(text: string, given: readonly FakeEntity[] = []): FakeEntity[] {
  const isCode = (offset: number) =>
    given.some(
      (entity) =>
        (entity.type === 'code' || entity.type === 'pre') &&
        offset >= entity.offset &&
        offset < entity.offset + entity.length,
    );
  const found: FakeEntity[] = [];
  for (const [type, pattern] of [
    ['bot_command', /(?<![\w/])\/[a-z0-9_]{1,32}(?:@\w{3,32})?(?!\w)/gi],
    ['mention', /(?<![\w/@])@\w{3,32}/g],
    ['url', /(?<!\w)https?:\/\/[^\s<>"]+/g],
  ] as const) {
    for (const match of text.matchAll(pattern)) {
      if (!isCode(match.index)) found.push({ type, offset: match.index, length: match[0].length });
    }
  }
  return found.sort((a, b) => a.offset - b.offset);
}
