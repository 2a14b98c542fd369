import { type Api, InputFile } from 'grammy';
import type { Clock } from '#core/kit/clock.ts';
import type { Log } from '#core/kit/log.ts';
import type { ChannelCapabilities, MessageRef } from '#core/outbox/channel-sender.ts';
import type { OutboundBody } from '#core/outbox/outbound.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import {
  buttonTokenBytesMax,
  type FileUnit,
  partsMax,
  renderBody,
  renderPreview,
  type TextUnit,
  textMax,
  uploadBytesMax,
} from './render-body.ts';
import { classifyTelegramError, refusalOf, toChannelError } from './telegram-errors.ts';

/** Ids of file messages are marked, because only the channel knows that they are edited in another way. */
const filePrefix = 'file:';
/** Half-sent messages remembered for their retry. */
const unfinishedMax = 1_000;

/** The sending half of the Telegram channel. */
export class TelegramSender {
  readonly #api: Api;
  readonly #log: Log;
  readonly #clock: Clock;
  /**
   * Platform messages already made for an outbox entry whose later parts failed. The retry goes on from there: Telegram
   * would show a second copy of everything that is sent again.
   */
  readonly #unfinished = new Map<string, string[]>();
  /** Rooms in which previews are throttled, and until when (ms since the epoch). */
  readonly #draftsPausedUntil = new Map<string, number>();
  #hasDrafts = true;

  constructor(deps: { readonly api: Api; readonly log: Log; readonly clock: Clock }) {
    this.#api = deps.api;
    this.#log = deps.log;
    this.#clock = deps.clock;
  }

  capabilities(conversation: Conversation): ChannelCapabilities {
    const isPrivate = conversation.kind === 'dm';
    const hasDrafts = isPrivate && this.#hasDrafts;
    return {
      textMax,
      partsMax,
      canEdit: true,
      canDelete: true,
      nativeStream: hasDrafts ? 'draft' : 'none',
      // Telegram's FAQ: about one message a second per chat and 20 a minute per group, edits included. Drafts have no
      // published limit; three a second is what clients can animate.
      editIntervalMs: hasDrafts ? 350 : isPrivate ? 1_100 : 3_100,
      sendIntervalMs: isPrivate ? 50 : 3_000,
      buttonTokenBytesMax,
      threads: 'topic',
      modal: false,
      ephemeral: 'none',
      reactions: false,
      // The sign lasts five seconds.
      typingIntervalMs: 4_000,
      uploadBytesMax,
      downloadBytesMax: 0,
      buttonsPerRowMax: 8,
      commands: 'everywhere',
      tables: 'code',
      progress: 'edited-message',
      idempotentSend: 'none',
    };
  }

  /** @throws AppError `channel.*`, to be read with `classifyTelegramError`. */
  async send(conversation: Conversation, body: OutboundBody, outboxId: string): Promise<MessageRef> {
    return this.#reconcile(conversation, [], body, outboxId);
  }

  /**
   * Texts are edited in place, files replaced in place, missing messages are added and surplus ones deleted.
   * @throws AppError `channel.*`; kind `gone` when the first message no longer exists: then nothing of it is left.
   */
  async edit(conversation: Conversation, ref: MessageRef, body: OutboundBody, outboxId: string): Promise<MessageRef> {
    return this.#reconcile(conversation, ref.ids, body, outboxId);
  }

  async delete(conversation: Conversation, ref: MessageRef): Promise<void> {
    for (const id of ref.ids) {
      await this.#attempt('gone', async () =>
        this.#api.raw.deleteMessage({ chat_id: chatId(conversation), message_id: messageId(id) }),
      );
    }
  }

  /** Best effort: a preview that cannot be shown is only logged. */
  async draft(conversation: Conversation, draftId: number, markdown: string): Promise<void> {
    if (conversation.kind !== 'dm' || !this.#hasDrafts) return;
    const now = this.#clock.now().getTime();
    if ((this.#draftsPausedUntil.get(conversation.room) ?? 0) > now) return;
    const { text, entities } = renderPreview(markdown);
    try {
      await this.#api.raw.sendMessageDraft({
        chat_id: chatId(conversation),
        draft_id: draftId,
        text,
        entities: [...entities],
        can_stop: true,
        keep_on_stop: true,
        ...threadOf(conversation),
      });
    } catch (err) {
      const failure = classifyTelegramError(err);
      // Servers before Bot API 9.3 do not know the method; answers then stream by edits.
      if (refusalOf(err)?.error_code === 404) this.#hasDrafts = false;
      if (failure.kind === 'throttled') {
        this.#draftsPausedUntil.set(conversation.room, now + (failure.afterMs ?? 0));
        for (const [room, until] of this.#draftsPausedUntil) if (until <= now) this.#draftsPausedUntil.delete(room);
      }
      this.#log.debug({ reason: failure.reason }, 'preview was not shown');
    }
  }

  async typing(conversation: Conversation): Promise<void> {
    try {
      await this.#api.raw.sendChatAction({
        chat_id: chatId(conversation),
        action: 'typing',
        ...threadOf(conversation),
      });
    } catch (err) {
      this.#log.debug({ reason: classifyTelegramError(err).reason }, 'typing was not shown');
    }
  }

  async #reconcile(
    conversation: Conversation,
    known: readonly string[],
    body: OutboundBody,
    outboxId: string,
  ): Promise<MessageRef> {
    const { texts, files } = renderBody(body, { shieldMentions: conversation.kind !== 'dm' });
    const before = this.#unfinished.get(outboxId) ?? known;
    const oldTexts = before.filter((id) => !id.startsWith(filePrefix));
    const oldFiles = before.filter((id) => id.startsWith(filePrefix));
    const newTexts: string[] = [];
    const newFiles: string[] = [];
    try {
      for (const [index, unit] of texts.entries()) {
        const old = oldTexts[index];
        const isEdited = old !== undefined && (await this.#editText(conversation, old, unit, index === 0));
        newTexts.push(isEdited ? old : await this.#postText(conversation, unit, body, index === 0));
      }
      for (const [index, unit] of files.entries()) {
        const old = oldFiles[index];
        const isEdited = old !== undefined && (await this.#editFile(conversation, old, unit));
        newFiles.push(
          isEdited ? old : await this.#postFile(conversation, unit, body, texts.length === 0 && index === 0),
        );
      }
    } catch (err) {
      await this.#afterFailure(conversation, err, outboxId, [
        ...newTexts,
        ...oldTexts.slice(newTexts.length),
        ...newFiles,
        ...oldFiles.slice(newFiles.length),
      ]);
      throw toChannelError(err);
    }
    const surplus = [...oldTexts.slice(texts.length), ...oldFiles.slice(files.length)];
    await this.#discard(conversation, surplus);
    this.#unfinished.delete(outboxId);
    return { ids: [...newTexts, ...newFiles] };
  }

  async #afterFailure(
    conversation: Conversation,
    err: unknown,
    outboxId: string,
    ids: readonly string[],
  ): Promise<void> {
    if (classifyTelegramError(err).kind === 'gone') {
      // The caller posts the message anew; what is left of the old one would stand there twice.
      this.#unfinished.delete(outboxId);
      await this.#discard(conversation, ids);
      return;
    }
    if (ids.length > 0) this.#unfinished.set(outboxId, [...ids]);
    const oldest = this.#unfinished.keys().next().value;
    if (this.#unfinished.size > unfinishedMax && oldest !== undefined) this.#unfinished.delete(oldest);
  }

  async #postText(conversation: Conversation, unit: TextUnit, body: OutboundBody, isFirst: boolean): Promise<string> {
    const { message_id: id } = await this.#withEntities(unit, (entities) =>
      this.#api.raw.sendMessage({
        chat_id: chatId(conversation),
        text: unit.text,
        entities,
        link_preview_options: { is_disabled: true },
        ...markupOf(unit),
        ...postOptions(conversation, body, isFirst),
      }),
    );
    return String(id);
  }

  async #postFile(conversation: Conversation, unit: FileUnit, body: OutboundBody, isFirst: boolean): Promise<string> {
    const { message_id: id } = await this.#api.raw.sendDocument({
      chat_id: chatId(conversation),
      document: new InputFile(unit.bytes, unit.name),
      disable_content_type_detection: true,
      ...postOptions(conversation, body, isFirst),
    });
    return `${filePrefix}${id}`;
  }

  /** False when the message is not there to be edited and may be posted again in its place. */
  async #editText(conversation: Conversation, id: string, unit: TextUnit, isFirst: boolean): Promise<boolean> {
    return this.#isEdited(isFirst, () =>
      this.#withEntities(unit, (entities) =>
        this.#api.raw.editMessageText({
          chat_id: chatId(conversation),
          message_id: messageId(id),
          text: unit.text,
          entities,
          link_preview_options: { is_disabled: true },
          ...markupOf(unit),
        }),
      ),
    );
  }

  async #editFile(conversation: Conversation, id: string, unit: FileUnit): Promise<boolean> {
    return this.#isEdited(false, () =>
      this.#api.raw.editMessageMedia({
        chat_id: chatId(conversation),
        message_id: messageId(id),
        media: { type: 'document', media: new InputFile(unit.bytes, unit.name), disable_content_type_detection: true },
      }),
    );
  }

  async #isEdited(mustExist: boolean, edit: () => Promise<unknown>): Promise<boolean> {
    try {
      await edit();
    } catch (err) {
      const { kind } = classifyTelegramError(err);
      if (kind === 'gone' && !mustExist) return false;
      if (kind !== 'no_op') throw err;
    }
    return true;
  }

  /** Entities cannot fail to parse, but a newer server may refuse one we make; the words must arrive all the same. */
  async #withEntities<T>(unit: TextUnit, call: (entities: TextUnit['entities'][number][]) => Promise<T>): Promise<T> {
    try {
      return await call([...unit.entities]);
    } catch (err) {
      const description = refusalOf(err)?.description ?? '';
      if (unit.entities.length === 0 || !/can't parse entities|ENTIT(?:Y|IES)_/i.test(description)) throw err;
      this.#log.warn({ description }, 'telegram refused the styles of a message');
      return call([]);
    }
  }

  async #discard(conversation: Conversation, ids: readonly string[]): Promise<void> {
    try {
      await this.delete(conversation, { ids });
    } catch (err) {
      this.#log.debug({ reason: classifyTelegramError(err).reason }, 'surplus messages were not deleted');
    }
  }

  async #attempt(harmless: 'gone', call: () => Promise<unknown>): Promise<void> {
    try {
      await call();
    } catch (err) {
      if (classifyTelegramError(err).kind !== harmless) throw toChannelError(err);
    }
  }
}

function chatId(conversation: Conversation): number {
  return Number(conversation.room);
}

function messageId(id: string): number {
  return Number(id.startsWith(filePrefix) ? id.slice(filePrefix.length) : id);
}

function threadOf(conversation: Conversation): { message_thread_id?: number } {
  return conversation.thread === undefined ? {} : { message_thread_id: Number(conversation.thread) };
}

function postOptions(conversation: Conversation, body: OutboundBody, isFirst: boolean) {
  const reply = isFirst && body.replyTo !== undefined ? messageId(body.replyTo) : Number.NaN;
  return {
    ...threadOf(conversation),
    ...(body.isSilent === true ? { disable_notification: true } : {}),
    ...(Number.isSafeInteger(reply)
      ? { reply_parameters: { message_id: reply, allow_sending_without_reply: true } }
      : {}),
  };
}

function markupOf(unit: TextUnit) {
  return unit.keyboard === undefined ? {} : { reply_markup: { inline_keyboard: unit.keyboard.map((row) => [...row]) } };
}
