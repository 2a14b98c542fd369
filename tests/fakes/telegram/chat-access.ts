import { BotApiError, badRequest } from './bot-api-error.ts';
import type { BotState } from './bot-state.ts';
import { checkKeyboard, checkReplyMarkup } from './validate.ts';
import { type FakeChat, type FakeEntity, type FakeFile, type FakeMessage, messageObject, preciseNow } from './world.ts';

type Params = Record<string, unknown>;

export interface Content {
  readonly text: string;
  readonly entities: readonly FakeEntity[];
  readonly file: FakeFile | undefined;
  readonly rich?: unknown;
}

/** The chat of a call, or the refusal a bot gets for it. */
export function openChat(state: BotState, params: Params): FakeChat {
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

/** The topic of a call. General is a forum's number 1 and cannot be named. */
export function threadOf(chat: FakeChat, params: Params): number | undefined {
  const thread = params['message_thread_id'];
  if (thread === undefined) return undefined;
  const topic = chat.topics.get(Number(thread));
  if (topic === undefined) throw badRequest('message thread not found');
  if (topic === 'closed') throw badRequest('TOPIC_CLOSED');
  return Number(thread);
}

function replyOf(chat: FakeChat, params: Params): number | undefined {
  const reply = params['reply_parameters'];
  if (typeof reply !== 'object' || reply === null || !('message_id' in reply)) return undefined;
  const id = Number(reply.message_id);
  const replied = chat.messages.get(id);
  if (replied !== undefined) return id;
  if ('allow_sending_without_reply' in reply && reply.allow_sending_without_reply === true) return undefined;
  throw badRequest('message to be replied not found');
}

/** Shows a new message; an ephemeral one only to its receiver, where the server knows them. */
export function postMessage(
  state: BotState,
  chat: FakeChat,
  params: Params,
  content: Content,
  albumId?: string,
): Record<string, unknown> {
  const threadId = threadOf(chat, params);
  const replyTo = replyOf(chat, params);
  const markup = checkReplyMarkup(params['reply_markup']);
  const ephemeral = params['ephemeral_message_parameters'];
  if (ephemeral !== undefined && state.knowsEphemeral) {
    if (chat.type === 'private') throw badRequest('ephemeral messages can be sent to groups only');
    const { receiver_user_id: receiver, callback_query_id: queryId } = ephemeral as Record<string, unknown>;
    const id = chat.ephemerals.size + 1;
    chat.ephemerals.set(id, {
      receiver: Number(receiver),
      queryId: queryId === undefined ? undefined : String(queryId),
      threadId,
      text: content.text,
      buttons: markup.buttons,
    });
    return { message_id: 0, ephemeral_message_id: id, date: Math.floor(Date.now() / 1000), from: state.bot };
  }
  const message: FakeMessage = {
    id: chat.nextMessageId,
    from: state.bot,
    threadId,
    replyTo,
    isSilent: params['disable_notification'] === true,
    sentAt: preciseNow(),
    albumId,
    asksReply: markup.asksReply,
    rich: undefined,
    ...content,
    buttons: markup.buttons,
    editedAt: undefined,
    edits: 0,
  };
  chat.nextMessageId += 1;
  chat.messages.set(message.id, message);
  chat.liveDraft = undefined;
  return messageObject(chat, message);
}

export function ownMessage(state: BotState, params: Params): { chat: FakeChat; message: FakeMessage } {
  const chat = openChat(state, params);
  const message = chat.messages.get(Number(params['message_id']));
  if (message === undefined) throw badRequest('message to edit not found');
  if (message.from.id !== state.bot.id) throw badRequest("message can't be edited");
  return { chat, message };
}

export function applyEdit(
  chat: FakeChat,
  message: FakeMessage,
  content: Content & { readonly buttons: FakeMessage['buttons'] },
): Record<string, unknown> {
  const { text, entities, buttons, file, rich } = content;
  const before = JSON.stringify([message.text, message.entities, message.buttons, message.file?.fileId, message.rich]);
  if (before === JSON.stringify([text, entities, buttons, file?.fileId, rich])) {
    throw badRequest(
      'message is not modified: specified new message content and reply markup are exactly the same as a current content and reply markup of the message',
    );
  }
  Object.assign(message, { text, entities, buttons, file, rich, editedAt: preciseNow(), edits: message.edits + 1 });
  return messageObject(chat, message);
}

/** The ephemeral message of a call. */
export function ownEphemeral(state: BotState, params: Params) {
  const chat = openChat(state, params);
  const id = Number(params['ephemeral_message_id']);
  const message = chat.ephemerals.get(id);
  if (message === undefined || message.receiver !== Number(params['receiver_user_id'])) {
    throw badRequest('message to edit not found');
  }
  return { chat, id, message, keyboard: checkKeyboard(params['reply_markup']) };
}
