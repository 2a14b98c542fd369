import type { Api } from 'grammy';
import type { Clock } from '#core/kit/clock.ts';
import type { Log } from '#core/kit/log.ts';
import type { ChannelCapabilities, MessageRef, ReactionSign, SendProgress } from '#core/outbox/channel-sender.ts';
import type { OutboundBody } from '#core/outbox/outbound.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { downloadBytesMax } from './download-file.ts';
import { groupFiles, uploadBytesMax } from './plan-files.ts';
import { parseId } from './platform-id.ts';
import { Previews } from './previews.ts';
import { buttonTokenBytesMax, partsMax, type RenderedBody, renderBody, textMax, withCaption } from './render-body.ts';
import { Signs } from './signs.ts';
import { classifyTelegramError, isThreadGone, refusalOf, toChannelError } from './telegram-errors.ts';
import { NotEphemeral, NotRich, type Place, TelegramPoster } from './telegram-poster.ts';
import type { Topics } from './topics.ts';

/** Rich messages in a row that are refused before none is tried any more in this process. */
const richRefusalsMax = 3;

/** The sending half of the Telegram channel. */
export class TelegramSender {
  readonly #log: Log;
  readonly #poster: TelegramPoster;
  readonly #previews: Previews;
  readonly #signs: Signs;
  #hasEphemeral = true;
  #hasRich: boolean;
  #richRefusals = 0;

  constructor(deps: {
    readonly api: Api;
    readonly log: Log;
    readonly clock: Clock;
    readonly topics: Topics;
    readonly hasRichMessages: boolean;
  }) {
    this.#log = deps.log;
    this.#hasRich = deps.hasRichMessages;
    this.#poster = new TelegramPoster(deps);
    this.#previews = new Previews(deps);
    this.#signs = new Signs(deps);
  }

  capabilities(conversation: Conversation): ChannelCapabilities {
    const isPrivate = conversation.kind === 'dm';
    const hasDrafts = isPrivate && this.#previews.hasDrafts;
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
      ephemeral: 'native',
      reactions: true,
      // The sign lasts five seconds.
      typingIntervalMs: 4_000,
      uploadBytesMax,
      downloadBytesMax,
      buttonsPerRowMax: 8,
      commands: 'everywhere',
      tables: this.#hasRich ? 'native' : 'code',
      progress: 'edited-message',
      idempotentSend: 'none',
      pacedPer: 'room',
    };
  }

  /**
   * Posts a message; what `progress` says was posted by an earlier try is made equal to its part instead.
   * @throws AppError `channel.*`, to be read with `classifyTelegramError`.
   */
  async send(conversation: Conversation, body: OutboundBody, progress?: SendProgress): Promise<MessageRef> {
    const known = progress?.posted ?? [];
    const receiver = body.ephemeralTo;
    if (receiver === undefined || conversation.kind === 'dm' || !/^\d{1,15}$/.test(receiver) || known.length > 0) {
      return await this.#show(placeOf(conversation, known), known, body, progress);
    }
    return await this.#sendPrivately(conversation, Number(receiver), body, progress);
  }

  /**
   * Texts are edited in place, files replaced in place, missing messages are added and surplus ones deleted.
   * @throws AppError `channel.*`; kind `gone` when the first message no longer exists: then nothing of it is left.
   */
  async edit(
    conversation: Conversation,
    ref: MessageRef,
    body: OutboundBody,
    progress?: SendProgress,
  ): Promise<MessageRef> {
    return await this.#show(placeOf(conversation, ref.ids), ref.ids, body, progress);
  }

  async delete(conversation: Conversation, ref: MessageRef): Promise<void> {
    for (const id of ref.ids) {
      try {
        await this.#poster.delete(conversation, id);
      } catch (err) {
        if (classifyTelegramError(err).kind !== 'gone') throw toChannelError(err);
      }
    }
  }

  async draft(conversation: Conversation, draftId: number, markdown: string): Promise<void> {
    await this.#previews.draft(conversation, draftId, markdown);
  }

  async typing(conversation: Conversation): Promise<void> {
    await this.#previews.typing(conversation);
  }

  async react(conversation: Conversation, messageId: string, sign: ReactionSign | undefined): Promise<void> {
    await this.#signs.show(conversation, messageId, sign);
  }

  /** For one person's eyes: in the group where the server can, else in private, else for all to see. */
  async #sendPrivately(
    conversation: Conversation,
    receiver: number,
    body: OutboundBody,
    progress: SendProgress | undefined,
  ): Promise<MessageRef> {
    const hasFiles = body.parts.some((part) => part.type === 'file');
    const { interactionToken, ...afterwards } = body;
    const inGroup = { conversation, ephemeralTo: receiver };
    const ways: { readonly place: Place; readonly body: OutboundBody }[] = [
      ...(this.#hasEphemeral && !hasFiles && interactionToken !== undefined ? [{ place: inGroup, body }] : []),
      // The press it answers may be too old by now.
      ...(this.#hasEphemeral && !hasFiles ? [{ place: inGroup, body: afterwards }] : []),
      { place: { conversation, dmTo: receiver }, body: afterwards },
    ];
    for (const way of ways) {
      if (way.place.ephemeralTo !== undefined && !this.#hasEphemeral) continue;
      try {
        return await this.#show(way.place, [], way.body, progress);
      } catch (err) {
        if (err instanceof NotEphemeral) this.#hasEphemeral = false;
        else if (!isRefused(err)) throw err;
        this.#log.debug({ reason: classifyTelegramError(err).reason }, 'message could not be shown to one person');
      }
    }
    return await this.#show({ conversation }, [], afterwards, progress);
  }

  /** Makes the platform messages equal to the body; a rich message that is refused goes in plain words. */
  async #show(
    place: Place,
    known: readonly string[],
    body: OutboundBody,
    progress: SendProgress | undefined,
  ): Promise<MessageRef> {
    const { kind, thread } = place.conversation;
    const options = { shieldMentions: kind !== 'dm', thread };
    const rendered = renderBody(body, { ...options, mayBeRich: this.#hasRich });
    try {
      const ref = await this.#reconcile(place, known, { body, rendered, progress });
      if (rendered.texts.some(({ rich }) => rich !== undefined)) this.#richRefusals = 0;
      return ref;
    } catch (err) {
      if (!(err instanceof NotRich)) throw err;
      this.#noteRichRefusal(err.cause);
      return await this.#reconcile(place, known, { body, rendered: renderBody(body, options), progress });
    }
  }

  async #reconcile(place: Place, known: readonly string[], message: Message): Promise<MessageRef> {
    const { conversation } = place;
    const oldTexts = known.filter((id) => parseId(id).kind !== 'file');
    const oldFiles = known.filter((id) => parseId(id).kind === 'file');
    // A message that was shown as text stays one: taking it away for a caption would look like a new message.
    const rendered = oldTexts.length === 0 ? withCaption(message.rendered) : message.rendered;
    const shown: Shown = { texts: [], files: [] };
    try {
      await this.#showTexts(place, oldTexts, { ...message, rendered }, shown);
      await this.#showFiles(place, oldFiles, { ...message, rendered }, shown);
    } catch (err) {
      if (err instanceof NotRich || err instanceof NotEphemeral) throw err;
      if (classifyTelegramError(err).kind === 'gone') {
        // The caller posts the message anew; what is left of the old one would stand there twice.
        await this.#discard(conversation, [
          ...shown.texts,
          ...oldTexts.slice(shown.texts.length),
          ...shown.files,
          ...oldFiles.slice(shown.files.length),
        ]);
      }
      throw toChannelError(err);
    }
    await this.#discard(conversation, [
      ...oldTexts.slice(rendered.texts.length),
      ...oldFiles.slice(rendered.files.length),
    ]);
    return { ids: [...shown.texts, ...shown.files] };
  }

  async #showTexts(place: Place, old: readonly string[], message: Message, shown: Shown): Promise<void> {
    const { body, rendered, progress } = message;
    for (const [index, unit] of rendered.texts.entries()) {
      const id = old[index];
      const isEdited =
        id !== undefined && (await isDone(index === 0, () => this.#poster.editText(place.conversation, id, unit)));
      if (isEdited) {
        shown.texts.push(id);
        continue;
      }
      const posted = await this.#poster.postText(place, unit, body, index === 0);
      shown.texts.push(posted);
      await progress?.onPosted(posted);
    }
  }

  async #showFiles(place: Place, old: readonly string[], message: Message, shown: Shown): Promise<void> {
    const { body, rendered, progress } = message;
    for (const group of groupFiles(rendered.files)) {
      const from = shown.files.length;
      const isFirst = rendered.texts.length === 0 && from === 0;
      const album =
        group.length > 1 && old.length <= from ? await this.#poster.postAlbum(place, group, body, isFirst) : undefined;
      if (album !== undefined) {
        shown.files.push(...album);
        for (const id of album) await progress?.onPosted(id);
        continue;
      }
      for (const [index, unit] of group.entries()) {
        const id = old[from + index];
        if (id !== undefined && (await isDone(false, () => this.#poster.editFile(place.conversation, id, unit)))) {
          shown.files.push(id);
          continue;
        }
        const posted = await this.#poster.postFile(place, unit, body, isFirst && index === 0);
        shown.files.push(posted);
        await progress?.onPosted(posted);
      }
    }
  }

  #noteRichRefusal(cause: unknown): void {
    const refusal = refusalOf(cause);
    this.#richRefusals += 1;
    if (refusal?.error_code === 404 || this.#richRefusals >= richRefusalsMax) this.#hasRich = false;
    this.#log.info({ description: refusal?.description, hasRich: this.#hasRich }, 'telegram refused a rich message');
  }

  async #discard(conversation: Conversation, ids: readonly string[]): Promise<void> {
    try {
      await this.delete(conversation, { ids });
    } catch (err) {
      this.#log.debug({ reason: classifyTelegramError(err).reason }, 'surplus messages were not deleted');
    }
  }
}

interface Message {
  readonly body: OutboundBody;
  readonly rendered: RenderedBody;
  readonly progress: SendProgress | undefined;
}

/** Platform ids so far, in the order of their units. */
interface Shown {
  readonly texts: string[];
  readonly files: string[];
}

/** Where a message that was shown before is: what is added to one person's message is for that person too. */
function placeOf(conversation: Conversation, known: readonly string[]): Place {
  const first = known[0] === undefined ? undefined : parseId(known[0]);
  if (first?.kind === 'ephemeral') return { conversation, ephemeralTo: first.receiver ?? 0 };
  return first?.chatId === undefined ? { conversation } : { conversation, dmTo: first.chatId };
}

/** False when the message is not there to be edited and may be posted again in its place. */
async function isDone(mustExist: boolean, edit: () => Promise<void>): Promise<boolean> {
  try {
    await edit();
  } catch (err) {
    if (err instanceof NotRich) throw err;
    // It stands in a topic where nothing can be changed any more; what it says now goes to the main stream.
    if (isThreadGone(err)) return false;
    const { kind } = classifyTelegramError(err);
    if (kind === 'gone' && !mustExist) return false;
    if (kind !== 'no_op') throw err;
  }
  return true;
}

/** The platform will not have it this way; what is not known to have failed must not be shown a second time. */
function isRefused(err: unknown): boolean {
  const { kind } = classifyTelegramError(err);
  return kind === 'unreachable' || kind === 'bad_format' || kind === 'expired';
}
