import { z } from 'zod';
import { badRequest } from './bot-api-error.ts';
import type { BotState } from './bot-state.ts';
import { applyEdit, openChat, ownEphemeral, ownMessage, postMessage, threadOf } from './chat-access.ts';
import { checkRich } from './check-rich.ts';
import { mediaMethods } from './media-methods.ts';
import type { BotRequest } from './read-request.ts';
import { allowedReactions, checkEntities, checkKeyboard, checkText } from './validate.ts';

type Method = (state: BotState, request: BotRequest) => unknown;

const chatActions: ReadonlySet<unknown> = new Set(['typing', 'upload_document', 'upload_photo']);

/** Every Bot API method the fake serves, except getUpdates. */
export const botMethods: Readonly<Record<string, Method>> = {
  ...mediaMethods,
  getMe: (state) => ({
    ...state.bot,
    can_join_groups: true,
    can_read_all_group_messages: state.readsAllGroupMessages,
    supports_inline_queries: false,
    has_topics_enabled: state.hasTopics,
    allows_users_to_create_topics: state.hasTopics,
  }),
  setWebhook: (state, { params }) => state.webhook.set(params),
  deleteWebhook: (state) => state.webhook.remove(),
  getWebhookInfo: (state) => state.webhook.info(),
  sendMessage: (state, { params }) => {
    const chat = openChat(state, params);
    const text = checkText(params['text'], 4096);
    const entities = checkEntities(text, params['entities']);
    return postMessage(state, chat, params, { text, entities, file: undefined });
  },
  sendRichMessage: (state, { params }) => {
    const chat = openChat(state, params);
    return postMessage(state, chat, params, { ...checkRich(params['rich_message']), entities: [], file: undefined });
  },
  editMessageText: (state, { params }) => {
    const { chat, message } = ownMessage(state, params);
    const content = textContent(params);
    if (message.file !== undefined) throw badRequest('there is no text in the message to edit');
    return applyEdit(chat, message, { ...content, buttons: checkKeyboard(params['reply_markup']), file: undefined });
  },
  editMessageReplyMarkup: (state, { params }) => {
    const { chat, message } = ownMessage(state, params);
    return applyEdit(chat, message, { ...message, buttons: checkKeyboard(params['reply_markup']) });
  },
  editEphemeralMessageText: (state, { params }) => {
    const { message, keyboard } = ownEphemeral(state, params);
    Object.assign(message, { text: textContent(params).text, buttons: keyboard });
    return true;
  },
  deleteEphemeralMessage: (state, { params }) => {
    const { chat, id } = ownEphemeral(state, params);
    chat.ephemerals.delete(id);
    return true;
  },
  deleteMessage: (state, { params }) => {
    const chat = openChat(state, params);
    if (!chat.messages.delete(Number(params['message_id']))) throw badRequest('message to delete not found');
    return true;
  },
  sendMessageDraft: (state, { params }) => {
    const text = checkText(params['text'], 4096, true);
    return showDraft(state, params, { text, entities: checkEntities(text, params['entities']) });
  },
  sendRichMessageDraft: (state, { params }) => {
    const { text } = checkRich(params['rich_message']);
    return showDraft(state, params, { text, entities: [] });
  },
  sendChatAction: (state, { params }) => {
    const chat = openChat(state, params);
    if (!chatActions.has(params['action'])) throw badRequest('wrong parameter action in request');
    threadOf(chat, params);
    chat.chatActions.push(String(params['action']));
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
    const wanted = z.array(z.object({ type: z.literal('emoji'), emoji: z.string() })).parse(params['reaction'] ?? []);
    if (wanted.length > 1) throw badRequest('REACTIONS_TOO_MANY');
    const emoji = wanted.map((reaction) => reaction.emoji);
    const isAllowed = emoji.every((each) => allowedReactions.has(each));
    if (!isAllowed || (emoji.length > 0 && !chat.allowsReactions)) throw badRequest('REACTION_INVALID');
    const [shown] = emoji;
    if (shown === undefined) chat.reactions.delete(messageId);
    else chat.reactions.set(messageId, shown);
    state.reactions.push({ chatId: chat.id, messageId, emoji });
    return true;
  },
  createForumTopic: (state, { params }) => {
    const chat = openChat(state, params);
    const name = typeof params['name'] === 'string' ? params['name'] : '';
    const length = [...name].length;
    if (length < 1 || length > 128) throw badRequest('TOPIC_NAME_INVALID');
    if (chat.type === 'private' ? !state.hasTopics : !chat.isForum) throw badRequest('the chat is not a forum');
    if (chat.type !== 'private' && !chat.canManageTopics) throw badRequest('not enough rights to create a topic');
    // Number 1 of a forum is its General topic.
    const id = Math.max(chat.nextMessageId, 2);
    chat.nextMessageId = id + 1;
    chat.topics.set(id, 'open');
    chat.topicNames.set(id, name);
    return { message_thread_id: id, name, icon_color: 7_322_096 };
  },
};

function textContent(params: Record<string, unknown>) {
  if (params['rich_message'] !== undefined) return { ...checkRich(params['rich_message']), entities: [] };
  const text = checkText(params['text'], 4096);
  return { text, entities: checkEntities(text, params['entities']), rich: undefined };
}

function showDraft(
  state: BotState,
  params: Record<string, unknown>,
  content: { readonly text: string; readonly entities: ReturnType<typeof checkEntities> },
): true {
  const chat = openChat(state, params);
  if (chat.type !== 'private') throw badRequest('TEXTDRAFT_PEER_INVALID');
  const draftId = params['draft_id'];
  if (typeof draftId !== 'number' || draftId === 0) throw badRequest('RANDOM_ID_INVALID');
  const draft = { draftId, ...content, threadId: threadOf(chat, params), at: state.now() };
  chat.drafts.push(draft);
  chat.liveDraft = draft;
  return true;
}
