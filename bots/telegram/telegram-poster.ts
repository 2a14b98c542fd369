import { type Api, InputFile } from 'grammy';
import type { ForceReply, InlineKeyboardMarkup } from 'grammy/types';
import type { Log } from '#core/kit/log.ts';
import type { OutboundBody } from '#core/outbox/outbound.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import type { FileUnit } from './plan-files.ts';
import { formatId, type PlatformId, parseId } from './platform-id.ts';
import type { TextUnit } from './render-body.ts';
import type { StyledUnit } from './render-text.ts';
import { classifyTelegramError, isNotOffered, isParentGone, isThreadGone, refusalOf } from './telegram-errors.ts';
import type { Topics } from './topics.ts';

/** Where a message goes: the conversation, or around it when it is for one person only. */
export interface Place {
  readonly conversation: Conversation;
  /** Shown in the conversation, but only to this person. */
  readonly ephemeralTo?: number;
  /** Sent to this person's private chat instead. */
  readonly dmTo?: number;
}

/** An ephemeral message was asked for and the server showed it to everyone, as one that does not know them does. */
export class NotEphemeral extends Error {}

/** The refusal of a rich message; the same words go as plain ones. */
export class NotRich extends Error {}

const topicNotice = 'ℹ️ The topic this was asked in is closed or deleted; I go on here.';

/** Single platform messages: posting and editing them, around what the platform refuses although the words are fine. */
export class TelegramPoster {
  readonly #api: Api;
  readonly #log: Log;
  readonly #topics: Topics;

  constructor(deps: { readonly api: Api; readonly log: Log; readonly topics: Topics }) {
    this.#api = deps.api;
    this.#log = deps.log;
    this.#topics = deps.topics;
  }

  /** @throws NotRich, NotEphemeral; what the client library throws. */
  async postText(place: Place, unit: TextUnit, body: OutboundBody, isFirst: boolean): Promise<string> {
    const { rich } = unit;
    const markup = markupOf(unit, place, body);
    const message = await this.#post(place, body, isFirst, async (options) => {
      if (rich !== undefined) {
        return await asRich(() => this.#api.raw.sendRichMessage({ ...options, rich_message: rich, ...markup }));
      }
      return await this.#withEntities(unit, (entities) =>
        this.#api.raw.sendMessage({ ...options, ...noPreview, text: unit.text, entities, ...markup }),
      );
    });
    return await this.#idOf(place, message);
  }

  /** One document or picture. A picture the platform cannot read as one goes as a document. */
  async postFile(place: Place, unit: FileUnit, body: OutboundBody, isFirst: boolean): Promise<string> {
    const message = await this.#post(place, body, isFirst, (options) =>
      this.#withEntities(unit.caption ?? noText, async (entities) => {
        const caption = captionOf(unit, entities);
        if (unit.kind === 'photo') {
          try {
            return await this.#api.raw.sendPhoto({ ...options, photo: inputOf(unit), ...caption });
          } catch (err) {
            if (!isPictureRefused(err)) throw err;
          }
        }
        return await this.#api.raw.sendDocument({
          ...options,
          document: inputOf(unit),
          disable_content_type_detection: true,
          ...caption,
        });
      }),
    );
    return fileId(place, message);
  }

  /**
   * Several pictures as one album.
   * @returns undefined when the platform takes them only one by one.
   */
  async postAlbum(
    place: Place,
    units: readonly FileUnit[],
    body: OutboundBody,
    isFirst: boolean,
  ): Promise<readonly string[] | undefined> {
    const [first] = units;
    try {
      const messages = await this.#post(place, body, isFirst, (options) =>
        this.#withEntities(first?.caption ?? noText, (entities) =>
          this.#api.raw.sendMediaGroup({
            ...options,
            media: units.map((unit) => ({
              type: 'photo',
              media: inputOf(unit),
              ...captionOf(unit, unit === first ? entities : [...(unit.caption?.entities ?? [])]),
            })),
          }),
        ),
      );
      return messages.map((message) => fileId(place, message));
    } catch (err) {
      if (!isPictureRefused(err)) throw err;
      return undefined;
    }
  }

  async editText(conversation: Conversation, id: string, unit: TextUnit): Promise<void> {
    const at = parseId(id);
    const { rich } = unit;
    const markup = keyboardOf(unit);
    const content = async (entities: StyledUnit['entities'][number][]): Promise<unknown> => {
      const what = rich === undefined ? { text: unit.text, entities, ...noPreview } : { rich_message: rich };
      if (at.kind === 'ephemeral') {
        return await this.#api.raw.editEphemeralMessageText({ ...ephemeralOf(conversation, at), ...what, ...markup });
      }
      return await this.#api.raw.editMessageText({ ...messageOf(conversation, at), ...what, ...markup });
    };
    if (rich !== undefined) await asRich(() => content([]));
    else await this.#withEntities(unit, content);
  }

  async editFile(conversation: Conversation, id: string, unit: FileUnit): Promise<void> {
    const edit = async (kind: FileUnit['kind']): Promise<unknown> =>
      await this.#withEntities(unit.caption ?? noText, (entities) =>
        this.#api.raw.editMessageMedia({
          ...messageOf(conversation, parseId(id)),
          media: {
            ...(kind === 'photo' ? { type: 'photo' } : { type: 'document', disable_content_type_detection: true }),
            media: inputOf(unit),
            ...captionOf(unit, entities),
          },
        }),
      );
    try {
      await edit(unit.kind);
    } catch (err) {
      if (unit.kind !== 'photo' || !isPictureRefused(err)) throw err;
      await edit('document');
    }
  }

  async delete(conversation: Conversation, id: string): Promise<void> {
    const at = parseId(id);
    if (at.kind === 'ephemeral') await this.#api.raw.deleteEphemeralMessage(ephemeralOf(conversation, at));
    else await this.#api.raw.deleteMessage(messageOf(conversation, at));
  }

  /** Posts in the topic it belongs to, or, when that cannot be written to, in the room's main stream. */
  async #post<T>(
    place: Place,
    body: OutboundBody,
    isFirst: boolean,
    call: (options: PostOptions) => Promise<T>,
  ): Promise<T> {
    const { conversation } = place;
    const options = postOptions(place, body, isFirst);
    if (options.message_thread_id === undefined) return await this.#withReply(options, call);
    if (!this.#topics.isLost(conversation)) {
      try {
        return await this.#withReply(options, call);
      } catch (err) {
        if (!isThreadGone(err)) throw err;
      }
      if (await this.#topics.noteLost(conversation)) await this.#tellOfLostTopic(conversation);
    }
    // What was answered is in the lost topic, and a reply would drag the message back there.
    const { message_thread_id: _thread, reply_parameters: _reply, ...rest } = options;
    return await call(rest);
  }

  async #withReply<T>(options: PostOptions, call: (options: PostOptions) => Promise<T>): Promise<T> {
    try {
      return await call(options);
    } catch (err) {
      if (options.reply_parameters === undefined || !isParentGone(err)) throw err;
      const { reply_parameters: _reply, ...rest } = options;
      return await call(rest);
    }
  }

  async #tellOfLostTopic(conversation: Conversation): Promise<void> {
    this.#log.info({ room: conversation.room, thread: conversation.thread }, 'topic cannot be written to');
    try {
      await this.#api.raw.sendMessage({
        chat_id: Number(conversation.room),
        text: topicNotice,
        disable_notification: true,
      });
    } catch (err) {
      this.#log.debug({ reason: classifyTelegramError(err).reason }, 'lost topic was not told');
    }
  }

  async #idOf(place: Place, message: PostedMessage): Promise<string> {
    if (place.ephemeralTo !== undefined) {
      if (message.ephemeral_message_id !== undefined) {
        return formatId({ kind: 'ephemeral', receiver: place.ephemeralTo, messageId: message.ephemeral_message_id });
      }
      const { conversation } = place;
      await this.#api.raw
        .deleteMessage({ chat_id: Number(conversation.room), message_id: message.message_id })
        .catch((err: unknown) =>
          this.#log.warn({ reason: classifyTelegramError(err).reason }, 'message was shown to all'),
        );
      throw new NotEphemeral();
    }
    return formatId({
      kind: 'text',
      messageId: message.message_id,
      ...(place.dmTo === undefined ? {} : { chatId: place.dmTo }),
    });
  }

  /** Entities cannot fail to parse, but a newer server may refuse one we make; the words must arrive all the same. */
  async #withEntities<T>(
    unit: StyledUnit,
    call: (entities: StyledUnit['entities'][number][]) => Promise<T>,
  ): Promise<T> {
    try {
      return await call([...unit.entities]);
    } catch (err) {
      const description = refusalOf(err)?.description ?? '';
      if (unit.entities.length === 0 || !/can't parse entities|ENTIT(?:Y|IES)_|USER_ID_INVALID/i.test(description)) {
        throw err;
      }
      this.#log.warn({ description }, 'telegram refused the styles of a message');
      return await call([]);
    }
  }
}

interface PostedMessage {
  readonly message_id: number;
  readonly ephemeral_message_id?: number;
}

interface PostOptions {
  readonly chat_id: number;
  readonly message_thread_id?: number;
  readonly disable_notification?: boolean;
  readonly reply_parameters?: { readonly message_id: number; readonly allow_sending_without_reply: boolean };
  readonly ephemeral_message_parameters?: { readonly receiver_user_id: number; readonly callback_query_id?: string };
}

const noText: StyledUnit = { text: '', entities: [] };
const noPreview = { link_preview_options: { is_disabled: true } } as const;

/** The topic of a conversation; the General topic of a forum must not be named. */
export function threadOf({ thread, kind }: Conversation): { message_thread_id?: number } {
  return thread === undefined || (kind !== 'dm' && thread === '1') ? {} : { message_thread_id: Number(thread) };
}

function postOptions({ conversation, ephemeralTo, dmTo }: Place, body: OutboundBody, isFirst: boolean): PostOptions {
  const reply = isFirst && body.replyTo !== undefined ? parseId(body.replyTo) : undefined;
  const isSilent = body.isSilent === true || body.priority === 'low';
  const silence = isSilent ? { disable_notification: true } : {};
  if (dmTo !== undefined) return { chat_id: dmTo, ...silence };
  return {
    chat_id: Number(conversation.room),
    ...threadOf(conversation),
    ...silence,
    ...(reply === undefined || reply.messageId === 0 || reply.chatId !== undefined || reply.kind === 'ephemeral'
      ? {}
      : { reply_parameters: { message_id: reply.messageId, allow_sending_without_reply: true } }),
    ...(ephemeralTo === undefined
      ? {}
      : {
          ephemeral_message_parameters: {
            receiver_user_id: ephemeralTo,
            ...(body.interactionToken === undefined ? {} : { callback_query_id: body.interactionToken }),
          },
        }),
  };
}

function markupOf(
  unit: TextUnit,
  { conversation }: Place,
  body: OutboundBody,
): { reply_markup?: InlineKeyboardMarkup | ForceReply } {
  const { reply_markup: keyboard } = keyboardOf(unit);
  if (body.asksReply !== true) return keyboard === undefined ? {} : { reply_markup: keyboard };
  if (keyboard !== undefined) return { reply_markup: { ...keyboard, force_reply: true } };
  // In a group it opens for whoever is answered or mentioned; with neither it would open for nobody.
  const isSelective = conversation.kind !== 'dm' && body.replyTo !== undefined;
  return {
    reply_markup: {
      force_reply: true,
      input_field_placeholder: 'Your answer',
      ...(isSelective ? { selective: true } : {}),
    },
  };
}

/** For edits too, which cannot open a reply. */
function keyboardOf(unit: TextUnit): { reply_markup?: InlineKeyboardMarkup } {
  return unit.keyboard === undefined ? {} : { reply_markup: { inline_keyboard: unit.keyboard.map((row) => [...row]) } };
}

function messageOf(conversation: Conversation, at: PlatformId): { chat_id: number; message_id: number } {
  return { chat_id: at.chatId ?? Number(conversation.room), message_id: at.messageId };
}

function ephemeralOf(conversation: Conversation, at: PlatformId) {
  return {
    chat_id: Number(conversation.room),
    receiver_user_id: at.receiver ?? 0,
    ephemeral_message_id: at.messageId,
  };
}

function fileId({ dmTo }: Place, { message_id: messageId }: PostedMessage): string {
  return formatId({ kind: 'file', messageId, ...(dmTo === undefined ? {} : { chatId: dmTo }) });
}

function inputOf(unit: FileUnit): InputFile {
  return new InputFile(unit.bytes, unit.name);
}

function captionOf(unit: FileUnit, entities: StyledUnit['entities'][number][]) {
  return unit.caption === undefined ? {} : { caption: unit.caption.text, caption_entities: entities };
}

async function asRich<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (err) {
    if (isNotOffered(err) && !isThreadGone(err)) throw new NotRich('refused', { cause: err });
    throw err;
  }
}

/** What the platform says of pictures it cannot use as such: broken, too long, too wide. */
function isPictureRefused(err: unknown): boolean {
  const description = refusalOf(err)?.description ?? '';
  return /PHOTO_|IMAGE_|WEBPAGE_|wrong (?:type of the web page|file)|can't be sent as photo|MEDIA_INVALID|WEBP/i.test(
    description,
  );
}
