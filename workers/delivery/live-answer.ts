import type { Db } from '#core/kit/database.ts';
import type { Log } from '#core/kit/log.ts';
import type { ChannelSender } from '#core/outbox/channel-sender.ts';
import { putMessages } from '#core/outbox/put-messages.ts';
import type { Conversation } from '#core/sessions/origin.ts';

/** A draft preview lasts 30 s on Telegram; refreshed in time it never vanishes during a long tool call. */
const draftKeepAliveMs = 20_000;
/** A posted message appears after this much text or time, so that a short answer is one message without edits. */
const firstPostChars = 120;
const firstPostMs = 2000;
/** A status line shows only for work that takes longer than a person notices. */
const statusDelayMs = 1500;

/** After an outage nobody wants to watch an old answer grow. */
const previewValidMs = 60_000;
/** Platforms drop their typing sign after about five seconds. */
const typingEveryMs = 4000;
/** How long a model may think before the thread shows that something is happening. */
const firstSignMs = 300;

/** Shows an answer while it is written. Everything here is best effort: the final message goes through the outbox. */
export interface LiveAnswer {
  /** Adds streamed text of the current message. */
  push(delta: string): void;
  /** Says what is being done between texts, such as a running command. */
  status(text: string): void;
  /** Begins another message; `key` is the outbox key its final form will carry. */
  begin(key: string): void;
  /** Forgets what was shown of the current message, when the model call that wrote it is made again. */
  reset(): void;
  /** Shows nothing until the next `begin`; resolves when nothing is in flight, so that nothing overtakes a final text. */
  pause(): Promise<void>;
  /** Stops showing; resolves when nothing is in flight any more, so that nothing follows the final message. */
  close(): Promise<void>;
}

export interface LiveAnswerOptions {
  readonly db: Db;
  readonly log: Log;
  /** Undefined in a worker that does not hold the account's token. */
  readonly sender: ChannelSender | undefined;
  readonly conversation: Conversation;
  readonly sessionId: string;
  readonly turnId: string;
  /** 31-bit id of the platform's draft, the same for the whole turn. */
  readonly draftId: number;
}

/** Picks the way the channel can show a growing answer: native draft, edits of a posted message, or not at all. */
export function createLiveAnswer(options: LiveAnswerOptions): LiveAnswer {
  const { sender, conversation } = options;
  const capabilities = sender?.capabilities(conversation);
  if (sender === undefined || capabilities === undefined) return silent;
  if (capabilities.nativeStream === 'draft')
    return new PacedView(draftView(options, sender), capabilities.editIntervalMs);
  if (capabilities.canEdit) return new PacedView(postView(options, sender), capabilities.editIntervalMs);
  return silent;
}

const silent: LiveAnswer = {
  push: () => {},
  status: () => {},
  begin: () => {},
  reset: () => {},
  pause: async () => {},
  close: async () => {},
};

interface View {
  show(state: { readonly key: string; readonly text: string; readonly status: string }): Promise<void>;
  /** Whether there is enough to be worth showing. */
  isReady(text: string, ageMs: number): boolean;
  /** Shows again after this long without news; 0 for never. */
  readonly keepAliveMs: number;
}

function draftView(options: LiveAnswerOptions, sender: ChannelSender): View {
  return {
    keepAliveMs: draftKeepAliveMs,
    isReady: () => true,
    show: async ({ text, status }) => {
      const shown = status === '' ? text : `${text}${text === '' ? '' : '\n\n'}_${status}_`;
      await sender.draft(options.conversation, options.draftId, shown);
    },
  };
}

function postView(options: LiveAnswerOptions, sender: ChannelSender): View {
  let posted = '';
  return {
    keepAliveMs: typingEveryMs,
    isReady: (text, ageMs) => text.length >= firstPostChars || (text !== '' && ageMs >= firstPostMs),
    show: async ({ key, text }) => {
      // Nothing new to read: the typing sign says that work goes on.
      if (text === '' || text === posted) return await sender.typing(options.conversation);
      posted = text;
      await putMessages(options.db, [
        {
          key,
          conversation: options.conversation,
          importance: 'progress',
          sessionId: options.sessionId,
          turnId: options.turnId,
          isFinal: false,
          validMs: previewValidMs,
          body: { parts: [{ type: 'markdown', markdown: `${text} …` }] },
        },
      ]);
    },
  };
}

/** One show in flight, always of the latest state: a slow platform slows the preview, never the turn. */
class PacedView implements LiveAnswer {
  readonly #view: View;
  readonly #intervalMs: number;
  #key = '';
  #text = '';
  #status = '';
  #startedAt = Date.now();
  #statusAt = 0;
  #shownAt = 0;
  #isDirty = false;
  #isPaused = true;
  #isClosed = false;
  #timer: NodeJS.Timeout | undefined;
  #inFlight: Promise<void> | undefined;

  constructor(view: View, intervalMs: number) {
    this.#view = view;
    this.#intervalMs = intervalMs;
  }

  begin(key: string): void {
    this.#key = key;
    this.#isPaused = false;
    this.#startedAt = Date.now();
    this.reset();
    this.#schedule(firstSignMs);
  }

  reset(): void {
    this.#text = '';
    this.#status = '';
  }

  push(delta: string): void {
    this.#text += delta;
    this.#status = '';
    this.#changed();
  }

  status(text: string): void {
    this.#isPaused = false;
    this.#status = text;
    this.#statusAt = Date.now();
    this.#isDirty = true;
    this.#schedule(statusDelayMs);
  }

  async pause(): Promise<void> {
    this.#isPaused = true;
    clearTimeout(this.#timer);
    await this.#inFlight;
    this.reset();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#inFlight;
  }

  #changed(): void {
    this.#isDirty = true;
    const ageMs = Date.now() - this.#startedAt;
    if (!this.#view.isReady(this.#text, ageMs)) {
      // Counted from the beginning: words that drip in must not put it off one by one.
      this.#schedule(Math.max(firstPostMs - ageMs, 1));
      return;
    }
    const waitMs = this.#shownAt + this.#intervalMs - Date.now();
    if (waitMs > 0) this.#schedule(waitMs);
    else this.#show();
  }

  #schedule(ms: number): void {
    if (this.#isClosed || this.#isPaused || ms <= 0) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#show(), ms);
  }

  #show(): void {
    if (this.#isClosed || this.#isPaused || this.#inFlight !== undefined) return;
    clearTimeout(this.#timer);
    this.#isDirty = false;
    // A sign that something happens is not an edit: the first text must not wait behind it.
    if (this.#text !== '') this.#shownAt = Date.now();
    const status = this.#status !== '' && Date.now() - this.#statusAt >= statusDelayMs / 2 ? this.#status : '';
    this.#inFlight = this.#view
      .show({ key: this.#key, text: this.#text, status })
      // A preview that fails is not worth a word: the final message is what counts.
      .catch(() => {})
      .finally(() => {
        this.#inFlight = undefined;
        if (this.#isDirty) this.#changed();
        else this.#schedule(this.#view.keepAliveMs);
      });
  }
}
