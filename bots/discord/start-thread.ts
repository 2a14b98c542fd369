import type { Conversation } from '#core/sessions/origin.ts';
import type { DiscordApi } from './discord-api.ts';
import { codeOf, codes, toChannelError } from './discord-errors.ts';
import { nonceOf } from './message-payload.ts';
import { flags, renderBody } from './render-body.ts';

/** Names of threads hold 100 characters. */
const threadNameMax = 100;

/**
 * Makes a thread below a message, or below a first message of its own. Repeating it with the same key gives the same one.
 * @returns undefined where there are no threads, or none for us.
 * @throws AppError `channel.*`.
 */
export async function startThread(
  api: DiscordApi,
  conversation: Conversation,
  options: { readonly title: string; readonly key: string; readonly messageId?: string },
): Promise<Conversation | undefined> {
  if (conversation.kind === 'dm' || conversation.thread !== undefined) return undefined;
  const name = options.title.replace(/\s+/g, ' ').trim().toWellFormed().slice(0, threadNameMax).toWellFormed() || '…';
  try {
    const anchor = options.messageId ?? (await postAnchor(api, conversation, name, options.key));
    return { ...conversation, thread: await threadBelow(api, conversation.room, anchor, name) };
  } catch (err) {
    if (roomsWithoutThreads.has(codeOf(err))) return undefined;
    throw toChannelError(err);
  }
}

/** Wrong kind of channel, missing rights, too many threads, a message that is gone: the work goes on in the room itself. */
const roomsWithoutThreads: ReadonlySet<number> = new Set([10_008, 50_001, 50_013, 50_024, 50_068, 160_006]);

async function postAnchor(api: DiscordApi, conversation: Conversation, name: string, key: string): Promise<string> {
  const [title] = renderBody({ parts: [{ type: 'markdown', markdown: `**${name.replace(/[*_~`|\\<]/g, '')}**` }] });
  const message = await api.createMessage(conversation.room, {
    content: title?.kind === 'text' ? title.content : name,
    flags: flags.suppressEmbeds,
    allowed_mentions: { parse: [] },
    nonce: nonceOf(key),
    enforce_nonce: true,
  });
  return message.id;
}

async function threadBelow(api: DiscordApi, room: string, messageId: string, name: string): Promise<string> {
  try {
    return await api.startThread(room, messageId, name);
  } catch (err) {
    // A thread has the id of the message it began with.
    if (codeOf(err) === codes.threadExists) return messageId;
    throw err;
  }
}
