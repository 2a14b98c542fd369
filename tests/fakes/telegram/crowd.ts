import type { BotState } from './bot-state.ts';
import type { UpdateQueue } from './update-queue.ts';
import {
  chatObject,
  detectEntities,
  type FakeChat,
  type FakeEntity,
  type FakeFile,
  type FakeMessage,
  type FakeUser,
  type FileKind,
  messageObject,
  preciseNow,
} from './world.ts';

export interface PostedFile {
  readonly name: string;
  readonly mime: string;
  readonly bytes: Buffer;
  /** A document unless told. */
  readonly kind?: FileKind;
  /** What the server says its size is. */
  readonly claimedBytes?: number;
}

/** Something a person posts. */
export interface Posted {
  readonly text?: string;
  /** Found by the server when absent. */
  readonly entities?: readonly FakeEntity[];
  readonly threadId?: number;
  readonly replyTo?: number;
  readonly file?: PostedFile;
  /** Further fields of the message object, for kinds the fake does not model. */
  readonly extra?: Readonly<Record<string, unknown>>;
}

/** The people on the other side: each call here becomes an update for the bot. */
export class Crowd {
  readonly #state: BotState;
  readonly #updates: UpdateQueue;
  readonly #users = new Map<number, FakeUser>();
  #nextQuery = 1;
  #nextAlbum = 1;

  constructor(state: BotState, updates: UpdateQueue) {
    this.#state = state;
    this.#updates = updates;
  }

  /** A person; the same id gives the same person. */
  user(id: number, name = `Person ${id}`): FakeUser {
    const known = this.#users.get(id);
    if (known !== undefined) return known;
    const user = { id, is_bot: false, first_name: name, username: `person${id}` };
    this.#users.set(id, user);
    return user;
  }

  /** A private chat with a person; its id is theirs. */
  privateChat(userId: number): number {
    return this.#addChat(userId, 'private', this.user(userId).first_name);
  }

  /** A group; ids of groups are negative. */
  group(id: number, options: { type?: 'group' | 'supergroup' | 'channel'; isForum?: boolean } = {}): number {
    return this.#addChat(id, options.type ?? 'supergroup', `Group ${id}`, options.isForum === true);
  }

  /** A topic of a forum or of a private chat with topics. */
  topic(chatId: number, threadId: number, state: 'open' | 'closed' = 'open'): void {
    this.chat(chatId).topics.set(threadId, state);
  }

  /** A topic disappears with its messages. */
  deletesTopic(chatId: number, threadId: number): void {
    const chat = this.chat(chatId);
    chat.topics.delete(threadId);
    for (const [id, message] of chat.messages) if (message.threadId === threadId) chat.messages.delete(id);
  }

  /** A person writes. Returns the message id; in a private chat the chat is opened if need be. */
  says(chatId: number, userId: number, what: string | Posted): number {
    if (chatId > 0) this.privateChat(chatId);
    const posted = typeof what === 'string' ? { text: what } : what;
    const chat = this.chat(chatId);
    const message = this.#post(chat, this.user(userId), posted);
    this.#updates.add({ message: { ...messageObject(chat, message), ...posted.extra } });
    return message.id;
  }

  /** Several files posted at once: one update each, joined by an album id, the caption on the first. */
  sendsAlbum(
    chatId: number,
    userId: number,
    caption: string,
    files: readonly PostedFile[],
    albumId = `album${this.#nextAlbum}`,
  ): number[] {
    this.#nextAlbum += 1;
    return this.#updates.together(() =>
      files.map((file, index) =>
        this.says(chatId, userId, {
          file,
          ...(index === 0 ? { text: caption } : {}),
          extra: { media_group_id: albumId },
        }),
      ),
    );
  }

  /** A person's reaction to a message changes. */
  reacts(chatId: number, userId: number, messageId: number, before: readonly string[], after: readonly string[]): void {
    const toType = (emoji: string) => ({ type: 'emoji', emoji });
    this.#updates.add({
      message_reaction: {
        chat: chatObject(this.chat(chatId)),
        message_id: messageId,
        date: Math.floor(Date.now() / 1000),
        user: this.user(userId),
        old_reaction: before.map(toType),
        new_reaction: after.map(toType),
      },
    });
  }

  /** An admin writes in the name of the group. */
  saysAnonymously(chatId: number, text: string): void {
    const chat = this.chat(chatId);
    const standIn = { id: 1_087_968_824, is_bot: true, first_name: 'Group', username: 'GroupAnonymousBot' };
    const message = this.#post(chat, standIn, { text });
    this.#updates.add({ message: { ...messageObject(chat, message), sender_chat: chatObject(chat) } });
  }

  /** A person changes an own message. */
  edits(chatId: number, messageId: number, text: string): void {
    const chat = this.chat(chatId);
    const message = this.#message(chat, messageId);
    Object.assign(message, { text, entities: detectEntities(text), editedAt: preciseNow() });
    this.#updates.add({ edited_message: messageObject(chat, message) });
  }

  /**
   * A person presses a button. Returns the query id.
   * @throws Error when no message there carries it, unless `forged` says that the press was made up.
   */
  presses(
    chatId: number,
    userId: number,
    data: string,
    options: { readonly messageId?: number; readonly forged?: boolean; readonly inaccessible?: boolean } = {},
  ): string {
    const chat = this.chat(chatId);
    const carrier = [...chat.messages.values()]
      .reverse()
      .find((message) => message.buttons.flat().some((button) => button.callback_data === data));
    if (carrier === undefined && options.forged !== true) throw new Error(`no button carries ${data}`);
    const messageId = options.messageId ?? carrier?.id ?? 1;
    const message = chat.messages.get(messageId);
    const id = `query${this.#nextQuery}`;
    this.#nextQuery += 1;
    this.#state.answers.set(id, undefined);
    this.#updates.add({
      callback_query: {
        id,
        from: this.user(userId),
        chat_instance: `instance${chatId}`,
        data,
        message:
          options.inaccessible === true || message === undefined
            ? { chat: chatObject(chat), message_id: messageId, date: 0 }
            : messageObject(chat, message),
      },
    });
    return id;
  }

  /** A person presses Stop under a draft. */
  stopsDraft(chatId: number, draftId: number, threadId?: number): void {
    this.#updates.add({
      stopped_message_generation: {
        chat: chatObject(this.chat(chatId)),
        draft_id: draftId,
        ...(threadId === undefined ? {} : { message_thread_id: threadId }),
      },
    });
  }

  /** The bot's own membership changes: a person blocks it, a group adds or removes it. */
  changesMembership(chatId: number, userId: number, status: 'member' | 'kicked' | 'left'): void {
    const chat = this.chat(chatId);
    const before = chat.state === 'open' ? 'member' : chat.type === 'private' ? 'kicked' : 'left';
    chat.state = status === 'member' ? 'open' : chat.type === 'private' ? 'blocked' : 'kicked';
    this.#updates.add({
      my_chat_member: {
        chat: chatObject(chat),
        from: this.user(userId),
        date: Math.floor(Date.now() / 1000),
        old_chat_member: { user: this.#state.bot, status: before },
        new_chat_member: { user: this.#state.bot, status },
      },
    });
  }

  /** A group becomes a supergroup with a new id; both chats announce it. */
  migrates(chatId: number, newChatId: number): void {
    const chat = this.chat(chatId);
    this.#addChat(newChatId, 'supergroup', chat.title);
    chat.migratedTo = newChatId;
    const last = this.#post(chat, this.user(1), {});
    this.#updates.add({ message: { ...messageObject(chat, last), migrate_to_chat_id: newChatId } });
    const successor = this.chat(newChatId);
    const first = this.#post(successor, this.user(1), {});
    this.#updates.add({ message: { ...messageObject(successor, first), migrate_from_chat_id: chatId } });
  }

  /** Any update at all, as it is. */
  update(content: Record<string, unknown>): number {
    return this.#updates.add(content);
  }

  /** A message disappears without the bot being told. */
  deletes(chatId: number, messageId: number): void {
    this.chat(chatId).messages.delete(messageId);
  }

  chat(chatId: number): FakeChat {
    const chat = this.#state.chats.get(chatId);
    if (chat === undefined) throw new Error(`there is no chat ${chatId}`);
    return chat;
  }

  #addChat(id: number, type: FakeChat['type'], title: string, isForum = false): number {
    if (!this.#state.chats.has(id)) {
      this.#state.chats.set(id, {
        id,
        type,
        title,
        isForum,
        messages: new Map(),
        topics: new Map(),
        topicNames: new Map(),
        ephemerals: new Map(),
        reactions: new Map(),
        canManageTopics: isForum,
        allowsReactions: true,
        drafts: [],
        liveDraft: undefined,
        chatActions: [],
        nextMessageId: 1,
        state: 'open',
        migratedTo: undefined,
      });
    }
    return id;
  }

  #post(chat: FakeChat, from: FakeUser, posted: Posted): FakeMessage {
    const text = posted.text ?? '';
    const message: FakeMessage = {
      id: chat.nextMessageId,
      from,
      threadId: posted.threadId,
      replyTo: posted.replyTo,
      isSilent: false,
      sentAt: preciseNow(),
      albumId: undefined,
      asksReply: false,
      rich: undefined,
      text,
      entities: posted.entities ?? detectEntities(text),
      buttons: [],
      file: posted.file === undefined ? undefined : this.#store(posted.file),
      editedAt: undefined,
      edits: 0,
    };
    chat.nextMessageId += 1;
    chat.messages.set(message.id, message);
    return message;
  }

  #store(file: PostedFile): FakeFile {
    const stored = { kind: 'document' as const, ...file, fileId: `file${this.#state.nextFile}` };
    this.#state.nextFile += 1;
    this.#state.files.set(stored.fileId, stored);
    return stored;
  }

  #message(chat: FakeChat, messageId: number): FakeMessage {
    const message = chat.messages.get(messageId);
    if (message === undefined) throw new Error(`there is no message ${messageId} in chat ${chat.id}`);
    return message;
  }
}
