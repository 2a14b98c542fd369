import type { Api } from 'grammy';
import type { ReactionTypeEmoji } from 'grammy/types';
import type { Clock } from '#core/kit/clock.ts';
import type { Log } from '#core/kit/log.ts';
import type { ReactionSign } from '#core/outbox/channel-sender.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { classifyTelegramError } from './telegram-errors.ts';

/** From the fixed set bots may use; neither an hourglass nor a check mark is in it. */
const emojiOf: Readonly<Record<ReactionSign, ReactionTypeEmoji['emoji']>> = {
  seen: '👀',
  working: '👨‍💻',
  done: '👍',
  failed: '👎',
};

/** A chat that refuses reactions is asked again after this long: its admins choose which are allowed. */
const refusedMs = 10 * 60_000;

/** Small reactions to people's messages, as light progress. */
export class Signs {
  readonly #deps: { readonly api: Api; readonly log: Log; readonly clock: Clock };
  /** Rooms in which reactions were refused or throttled, and until when (ms since the epoch). */
  readonly #quietUntil = new Map<string, number>();

  constructor(deps: { readonly api: Api; readonly log: Log; readonly clock: Clock }) {
    this.#deps = deps;
  }

  /** Best effort: what cannot be shown is only logged. A bot has one reaction per message; a new one replaces it. */
  async show(conversation: Conversation, messageId: string, sign: ReactionSign | undefined): Promise<void> {
    const { api, log, clock } = this.#deps;
    const now = clock.now().getTime();
    const id = Number(messageId);
    if (!Number.isSafeInteger(id) || (this.#quietUntil.get(conversation.room) ?? 0) > now) return;
    try {
      await api.raw.setMessageReaction({
        chat_id: Number(conversation.room),
        message_id: id,
        reaction: sign === undefined ? [] : [{ type: 'emoji', emoji: emojiOf[sign] }],
      });
    } catch (err) {
      const failure = classifyTelegramError(err);
      const quietMs =
        failure.kind === 'throttled' ? (failure.afterMs ?? 0) : failure.kind === 'bad_format' ? refusedMs : 0;
      if (quietMs > 0) {
        for (const [room, until] of this.#quietUntil) if (until <= now) this.#quietUntil.delete(room);
        this.#quietUntil.set(conversation.room, now + quietMs);
      }
      log.debug({ reason: failure.reason }, 'reaction was not shown');
    }
  }
}
