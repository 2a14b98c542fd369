import type { Api } from 'grammy';
import type { Clock } from '#core/kit/clock.ts';
import type { Log } from '#core/kit/log.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { renderPreview, renderRichPreview } from './render-body.ts';
import { classifyTelegramError, isNotOffered, refusalOf } from './telegram-errors.ts';
import { threadOf } from './telegram-poster.ts';

/** A chat or topic that cannot be written to is not tried with every word of an answer. */
const unreachableMs = 30_000;

/** Signs that an answer is being written: drafts in private chats and the typing sign. All of it is best effort. */
export class Previews {
  readonly #deps: { readonly api: Api; readonly log: Log; readonly clock: Clock };
  /** Rooms in which previews are throttled, and until when (ms since the epoch). */
  readonly #pausedUntil = new Map<string, number>();
  #hasDrafts = true;
  #hasRichDrafts: boolean;

  constructor(deps: {
    readonly api: Api;
    readonly log: Log;
    readonly clock: Clock;
    readonly hasRichMessages: boolean;
  }) {
    this.#deps = deps;
    this.#hasRichDrafts = deps.hasRichMessages;
  }

  /** Whether the server shows drafts; known once it has refused one. */
  get hasDrafts(): boolean {
    return this.#hasDrafts;
  }

  /**
   * Shows the text so far. The platform drops a draft half a minute after the last call and when a message is sent, so
   * a worker that dies leaves nothing behind. With Stop pressed the text stays until the final message replaces it.
   */
  async draft(conversation: Conversation, draftId: number, markdown: string): Promise<void> {
    if (conversation.kind !== 'dm' || !this.#hasDrafts) return;
    const { clock, log } = this.#deps;
    const now = clock.now().getTime();
    if ((this.#pausedUntil.get(conversation.room) ?? 0) > now) return;
    try {
      if (await this.#richDraft(conversation, draftId, markdown)) return;
      const { text, entities } = renderPreview(markdown);
      await this.#deps.api.raw.sendMessageDraft({
        ...draftOptions(conversation, draftId),
        text,
        entities: [...entities],
      });
    } catch (err) {
      const failure = classifyTelegramError(err);
      // Servers before Bot API 9.3 do not know the method; answers then stream by edits.
      if (refusalOf(err)?.error_code === 404) this.#hasDrafts = false;
      const pauseMs = failure.kind === 'unreachable' ? unreachableMs : (failure.afterMs ?? 0);
      if (pauseMs > 0) {
        this.#pausedUntil.set(conversation.room, now + pauseMs);
        for (const [room, until] of this.#pausedUntil) if (until <= now) this.#pausedUntil.delete(room);
      }
      log.debug({ reason: failure.reason }, 'preview was not shown');
    }
  }

  async typing(conversation: Conversation): Promise<void> {
    try {
      await this.#deps.api.raw.sendChatAction({
        chat_id: Number(conversation.room),
        action: 'typing',
        ...threadOf(conversation),
      });
    } catch (err) {
      this.#deps.log.debug({ reason: classifyTelegramError(err).reason }, 'typing was not shown');
    }
  }

  /** @returns whether the preview was shown; tables and headings would change their look at the end otherwise. */
  async #richDraft(conversation: Conversation, draftId: number, markdown: string): Promise<boolean> {
    const rich = this.#hasRichDrafts ? renderRichPreview(markdown) : undefined;
    if (rich === undefined) return false;
    try {
      await this.#deps.api.raw.sendRichMessageDraft({ ...draftOptions(conversation, draftId), rich_message: rich });
      return true;
    } catch (err) {
      if (!isNotOffered(err)) throw err;
      this.#hasRichDrafts = false;
      return false;
    }
  }
}

function draftOptions(conversation: Conversation, draftId: number) {
  return {
    chat_id: Number(conversation.room),
    draft_id: draftId,
    can_stop: true,
    keep_on_stop: true,
    ...threadOf(conversation),
  };
}
