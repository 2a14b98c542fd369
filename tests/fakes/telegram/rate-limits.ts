import { BotApiError } from './bot-api-error.ts';

/**
 * Telegram's FAQ: about one message a second in a chat, bursts let through, and twenty a minute in a group, edits
 * included. Previews (drafts) and chat actions have no published limit.
 */
const privateRate = { count: 10, perMs: 10_000 };
const groupRate = { count: 20, perMs: 60_000 };
const counted = /^(?:send(?!MessageDraft|RichMessageDraft|ChatAction)|editMessage|copyMessage|forwardMessage)/;

/** Counts what is posted and edited in each chat and refuses what is over the limit. */
export class RateLimits {
  readonly #calls = new Map<number, number[]>();
  /** Refusals by chat. */
  readonly refused = new Map<number, number>();

  /** @throws BotApiError 429 with `retry_after`. */
  take(method: string, chatId: unknown, now: number): void {
    const chat = Number(chatId);
    if (!counted.test(method) || !Number.isSafeInteger(chat)) return;
    const rate = chat < 0 ? groupRate : privateRate;
    const recent = (this.#calls.get(chat) ?? []).filter((at) => now - at < rate.perMs);
    const [oldest = now] = recent;
    if (recent.length >= rate.count) {
      this.refused.set(chat, (this.refused.get(chat) ?? 0) + 1);
      const seconds = Math.max(1, Math.ceil((oldest + rate.perMs - now) / 1_000));
      throw new BotApiError(429, `Too Many Requests: retry after ${seconds}`, { retry_after: seconds });
    }
    recent.push(now);
    this.#calls.set(chat, recent);
  }
}
