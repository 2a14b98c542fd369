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

export interface FakeFile {
  readonly fileId: string;
  readonly name: string;
  readonly mime: string;
  readonly bytes: Buffer;
}

export interface FakeMessage {
  readonly id: number;
  readonly from: FakeUser;
  readonly threadId: number | undefined;
  readonly replyTo: number | undefined;
  readonly isSilent: boolean;
  /** Milliseconds since the epoch with fractions, for latency measurements. */
  readonly sentAt: number;
  text: string;
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

export interface FakeChat {
  readonly id: number;
  readonly type: 'private' | 'group' | 'supergroup' | 'channel';
  readonly title: string;
  readonly isForum: boolean;
  readonly messages: Map<number, FakeMessage>;
  readonly topics: Map<number, 'open' | 'closed'>;
  /** Every draft that was shown, oldest first. */
  readonly drafts: FakeDraft[];
  /** The preview a person sees now; any message of the bot clears it. */
  liveDraft: FakeDraft | undefined;
  readonly chatActions: string[];
  nextMessageId: number;
  state: 'open' | 'blocked' | 'kicked';
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
    ...(message.text === '' ? {} : { [text]: message.text }),
    ...(message.entities.length === 0
      ? {}
      : { [message.file === undefined ? 'entities' : 'caption_entities']: message.entities }),
    ...(message.threadId === undefined ? {} : { message_thread_id: message.threadId, is_topic_message: true }),
    ...(replied === undefined ? {} : { reply_to_message: messageObject(chat, { ...replied, replyTo: undefined }) }),
    ...(message.editedAt === undefined ? {} : { edit_date: Math.floor(message.editedAt / 1000) }),
    ...(message.buttons.length === 0 ? {} : { reply_markup: { inline_keyboard: message.buttons } }),
    ...(message.file === undefined
      ? {}
      : {
          document: {
            file_id: message.file.fileId,
            file_unique_id: `u${message.file.fileId}`,
            file_name: message.file.name,
            mime_type: message.file.mime,
            file_size: message.file.bytes.length,
          },
        }),
  };
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
