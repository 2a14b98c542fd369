import { BotApiError, badRequest } from './bot-api-error.ts';
import type { BotRequest, Upload } from './read-request.ts';
import { checkEntities, checkKeyboard, checkText } from './validate.ts';
import {
  type FakeChat,
  type FakeEntity,
  type FakeFile,
  type FakeMessage,
  type FakeUser,
  messageObject,
  preciseNow,
} from './world.ts';

/** What the methods read and change; owned by the server. */
export interface BotState {
  readonly bot: FakeUser;
  readonly chats: Map<number, FakeChat>;
  readonly files: Map<string, FakeFile>;
  readonly answers: Map<string, { text: string; isAlert: boolean } | undefined>;
  commands: { command: string; description: string }[];
  readonly reactions: { chatId: number; messageId: number; emoji: string[] }[];
  /** Methods an older server does not have. */
  readonly missingMethods: Set<string>;
  nextFile: number;
}

type Method = (state: BotState, request: BotRequest) => unknown;

/** Every Bot API method the fake serves, except getUpdates. */
export const botMethods: Readonly<Record<string, Method>> = {
  getMe: (state) => ({
    ...state.bot,
    can_join_groups: true,
    can_read_all_group_messages: false,
    supports_inline_queries: false,
    has_topics_enabled: true,
  }),
  deleteWebhook: () => true,
  sendMessage: (state, { params }) => {
    const chat = openChat(state, params);
    const text = checkText(params['text'], 4096);
    const entities = checkEntities(text, params['entities']);
    return postMessage(state, chat, params, { text, entities, file: undefined });
  },
  editMessageText: (state, { params }) => {
    const { chat, message } = ownMessage(state, params);
    const text = checkText(params['text'], 4096);
    const entities = checkEntities(text, params['entities']);
    if (message.file !== undefined) throw badRequest('there is no text in the message to edit');
    return applyEdit(chat, message, {
      text,
      entities,
      buttons: checkKeyboard(params['reply_markup']),
      file: undefined,
    });
  },
  editMessageReplyMarkup: (state, { params }) => {
    const { chat, message } = ownMessage(state, params);
    return applyEdit(chat, message, { ...message, buttons: checkKeyboard(params['reply_markup']) });
  },
  editMessageMedia: (state, request) => {
    const { chat, message } = ownMessage(state, request.params);
    const media = request.params['media'];
    const attached = typeof media === 'object' && media !== null && 'media' in media ? String(media.media) : '';
    const upload = request.files.get(attached.replace('attach://', ''));
    if (message.file === undefined || upload === undefined)
      throw badRequest('there is no media in the message to edit');
    return applyEdit(chat, message, { ...message, buttons: [], file: storeUpload(state, upload) });
  },
  deleteMessage: (state, { params }) => {
    const chat = openChat(state, params);
    if (!chat.messages.delete(Number(params['message_id']))) throw badRequest('message to delete not found');
    return true;
  },
  sendMessageDraft: (state, { params }) => {
    const chat = openChat(state, params);
    if (chat.type !== 'private') throw badRequest('TEXTDRAFT_PEER_INVALID');
    const draftId = params['draft_id'];
    if (typeof draftId !== 'number' || draftId === 0) throw badRequest('RANDOM_ID_INVALID');
    const text = checkText(params['text'], 4096, true);
    const draft = {
      draftId,
      text,
      entities: checkEntities(text, params['entities']),
      threadId: threadOf(chat, params),
      at: preciseNow(),
    };
    chat.drafts.push(draft);
    chat.liveDraft = draft;
    return true;
  },
  sendChatAction: (state, { params }) => {
    const chat = openChat(state, params);
    if (params['action'] !== 'typing' && params['action'] !== 'upload_document')
      throw badRequest('wrong parameter action in request');
    chat.chatActions.push(params['action']);
    return true;
  },
  answerCallbackQuery: (state, { params }) => {
    const id = String(params['callback_query_id']);
    if (!state.answers.has(id) || state.answers.get(id) !== undefined) {
      throw badRequest('query is too old and response timeout expired or query ID is invalid');
    }
    const text = params['text'] === undefined ? '' : String(params['text']);
    if (text.length > 200) throw badRequest('MESSAGE_TOO_LONG');
    state.answers.set(id, { text, isAlert: params['show_alert'] === true });
    return true;
  },
  setMyCommands: (state, { params }) => {
    const commands = params['commands'] as { command: string; description: string }[];
    for (const { command, description } of commands) {
      if (!/^[a-z0-9_]{1,32}$/.test(command)) throw badRequest('BOT_COMMAND_INVALID');
      if (description.length < 1 || description.length > 256) throw badRequest('BOT_COMMAND_DESCRIPTION_INVALID');
    }
    if (commands.length > 100) throw badRequest('BOT_COMMANDS_TOO_MUCH');
    state.commands = commands;
    return true;
  },
  getMyCommands: (state) => state.commands,
  setMessageReaction: (state, { params }) => {
    const chat = openChat(state, params);
    const messageId = Number(params['message_id']);
    if (!chat.messages.has(messageId)) throw badRequest('message to react not found');
    const emoji = (params['reaction'] as { emoji?: string }[] | undefined) ?? [];
    state.reactions.push({ chatId: chat.id, messageId, emoji: emoji.map((reaction) => reaction.emoji ?? '') });
    return true;
  },
  sendDocument: (state, request) => sendFile(state, request, 'document'),
  sendPhoto: (state, request) => sendFile(state, request, 'photo'),
  getFile: (state, { params }) => {
    const file = state.files.get(String(params['file_id']));
    if (file === undefined) throw badRequest('invalid file_id');
    if (file.bytes.length > 20 * 1024 * 1024) throw badRequest('file is too big');
    return {
      file_id: file.fileId,
      file_unique_id: `u${file.fileId}`,
      file_size: file.bytes.length,
      file_path: `documents/${file.fileId}`,
    };
  },
};

function sendFile(state: BotState, request: BotRequest, field: string): unknown {
  const chat = openChat(state, request.params);
  const attached = String(request.params[field] ?? '').replace('attach://', '');
  const upload = request.files.get(attached) ?? request.files.get(field);
  if (upload === undefined) throw badRequest(`there is no ${field} in the request`);
  if (upload.bytes.length === 0) throw badRequest('file must be non-empty');
  const text = checkText(request.params['caption'], 1024, true);
  const entities = checkEntities(text, request.params['caption_entities']);
  return postMessage(state, chat, request.params, { text, entities, file: storeUpload(state, upload) });
}

function storeUpload(state: BotState, upload: Upload): FakeFile {
  const file = { fileId: `file${state.nextFile}`, ...upload };
  state.nextFile += 1;
  state.files.set(file.fileId, file);
  return file;
}

/** The chat of a call, or the refusal a bot gets for it. */
function openChat(state: BotState, params: Record<string, unknown>): FakeChat {
  const chat = state.chats.get(Number(params['chat_id']));
  if (chat === undefined) throw badRequest('chat not found');
  if (chat.migratedTo !== undefined) {
    throw new BotApiError(400, 'Bad Request: group chat was upgraded to a supergroup chat', {
      migrate_to_chat_id: chat.migratedTo,
    });
  }
  if (chat.state === 'blocked') throw new BotApiError(403, 'Forbidden: bot was blocked by the user');
  if (chat.state === 'kicked') throw new BotApiError(403, 'Forbidden: bot was kicked from the supergroup chat');
  return chat;
}

function threadOf(chat: FakeChat, params: Record<string, unknown>): number | undefined {
  const thread = params['message_thread_id'];
  if (thread === undefined) return undefined;
  const topic = chat.topics.get(Number(thread));
  if (topic === undefined) throw badRequest('message thread not found');
  if (topic === 'closed') throw badRequest('TOPIC_CLOSED');
  return Number(thread);
}

function replyOf(chat: FakeChat, params: Record<string, unknown>): number | undefined {
  const reply = params['reply_parameters'];
  if (typeof reply !== 'object' || reply === null || !('message_id' in reply)) return undefined;
  const id = Number(reply.message_id);
  if (chat.messages.has(id)) return id;
  if ('allow_sending_without_reply' in reply && reply.allow_sending_without_reply === true) return undefined;
  throw badRequest('message to be replied not found');
}

function postMessage(
  state: BotState,
  chat: FakeChat,
  params: Record<string, unknown>,
  content: { text: string; entities: readonly FakeEntity[]; file: FakeFile | undefined },
): unknown {
  const message: FakeMessage = {
    id: chat.nextMessageId,
    from: state.bot,
    threadId: threadOf(chat, params),
    replyTo: replyOf(chat, params),
    isSilent: params['disable_notification'] === true,
    sentAt: preciseNow(),
    ...content,
    buttons: checkKeyboard(params['reply_markup']),
    editedAt: undefined,
    edits: 0,
  };
  chat.nextMessageId += 1;
  chat.messages.set(message.id, message);
  chat.liveDraft = undefined;
  return messageObject(chat, message);
}

function ownMessage(state: BotState, params: Record<string, unknown>): { chat: FakeChat; message: FakeMessage } {
  const chat = openChat(state, params);
  const message = chat.messages.get(Number(params['message_id']));
  if (message === undefined) throw badRequest('message to edit not found');
  if (message.from.id !== state.bot.id) throw badRequest("message can't be edited");
  return { chat, message };
}

function applyEdit(
  chat: FakeChat,
  message: FakeMessage,
  content: Pick<FakeMessage, 'text' | 'entities' | 'buttons' | 'file'>,
): unknown {
  const { text, entities, buttons, file } = content;
  const before = JSON.stringify([message.text, message.entities, message.buttons, message.file?.fileId]);
  if (before === JSON.stringify([text, entities, buttons, file?.fileId])) {
    throw badRequest(
      'message is not modified: specified new message content and reply markup are exactly the same as a current content and reply markup of the message',
    );
  }
  Object.assign(message, { text, entities, buttons, file, editedAt: preciseNow(), edits: message.edits + 1 });
  return messageObject(chat, message);
}
