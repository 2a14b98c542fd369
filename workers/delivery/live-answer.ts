import { setTimeout as delay } from 'node:timers/promises';
import type { ChannelSender } from '#core/outbox/channel-sender.ts';
import { paceKey } from '#core/outbox/outbox-store.ts';
import type { LiveStage } from './live-stage.ts';
import { draftView, postView, streamView, type View, type ViewContext } from './live-views.ts';
import type { Painter } from './preview-pump.ts';

/** A status line shows only for work that takes longer than a person notices. */
const statusDelayMs = 1500;
/** How long a model may think before the thread shows that something is happening. */
const firstSignMs = 300;
/** A preview that was refused without being told for how long is not tried again for this long. */
const refusedMs = 1000;
/** A platform that answers no sooner does not hold up the turn: a stop must be seen within a second. */
const farewellMs = 700;

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

export interface LiveAnswerOptions extends Omit<ViewContext, 'sender'> {
  readonly stage: LiveStage;
  /** Undefined in a worker that does not hold the account's token. */
  readonly sender: ChannelSender | undefined;
}

/** Picks the way the channel can show a growing answer: native draft, native stream, edits of a message, or not at all. */
export function createLiveAnswer(options: LiveAnswerOptions): LiveAnswer {
  const { sender, conversation } = options;
  if (sender === undefined) return silent;
  const context: ViewContext = { ...options, sender };
  const { nativeStream, canEdit } = sender.capabilities(conversation);
  if (nativeStream === 'draft') return new PacedView(context, draftView(context));
  if (nativeStream === 'append' && sender.openStream !== undefined) return new PacedView(context, streamView(context));
  return canEdit ? new PacedView(context, postView(context)) : silent;
}

const silent: LiveAnswer = {
  push: () => {},
  status: () => {},
  begin: () => {},
  reset: () => {},
  pause: async () => {},
  close: async () => {},
};

/** One show in flight, always of the latest state: a slow platform slows the preview, never the turn. */
class PacedView implements LiveAnswer, Painter {
  readonly #context: ViewContext;
  readonly #view: View;
  readonly #paceKey: string;
  #key = '';
  #text = '';
  #status = '';
  #firstTextAt = 0;
  #statusAt = 0;
  #shownAt = 0;
  #pausedUntil = 0;
  #slowdown = 1;
  #isDirty = false;
  #isPaused = true;
  #isClosed = false;
  #isSeen = false;
  #begun: Promise<void> = Promise.resolve();
  #inFlight: Promise<void> | undefined;

  constructor(context: ViewContext, view: View) {
    this.#context = context;
    this.#view = view;
    this.#paceKey = paceKey(context.conversation, context.sender.capabilities(context.conversation));
  }

  get isFirst(): boolean {
    return !this.#isSeen && this.#text !== '';
  }

  begin(key: string): void {
    const { stage } = this.#context;
    this.#key = key;
    this.#isPaused = false;
    this.#isSeen = false;
    this.#text = '';
    this.#status = '';
    this.#begun = this.#view.begin(key).catch((err: unknown) => {
      stage.log.debug({ err }, 'preview could not be begun');
    });
    void stage.readPace(this.#paceKey).then(
      ({ pausedMs, slowdown }) => {
        this.#pausedUntil = Math.max(this.#pausedUntil, Date.now() + pausedMs);
        this.#slowdown = slowdown;
      },
      () => undefined,
    );
    this.#ask(firstSignMs);
  }

  reset(): void {
    if (this.#text !== '') this.#view.restart();
    this.#text = '';
    this.#status = '';
  }

  push(delta: string): void {
    if (this.#text === '') this.#firstTextAt = Date.now();
    this.#text += delta;
    this.#status = '';
    this.#changed();
  }

  status(text: string): void {
    this.#isPaused = false;
    this.#status = text;
    this.#statusAt = Date.now();
    this.#isDirty = true;
    this.#ask(statusDelayMs);
  }

  async pause(): Promise<void> {
    this.#isPaused = true;
    this.#context.stage.pump.forget(this);
    await this.#settled();
    this.#text = '';
    this.#status = '';
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#context.stage.pump.forget(this);
    await this.#settled();
  }

  async #settled(): Promise<void> {
    if (this.#inFlight === undefined) return;
    await Promise.race([this.#inFlight, delay(farewellMs, undefined, { ref: false })]);
  }

  #changed(): void {
    this.#isDirty = true;
    const firstMs = Date.now() - this.#firstTextAt;
    if (this.#view.isReady(this.#text, firstMs)) {
      this.#ask(this.#shownAt + this.#view.intervalMs * this.#slowdown - Date.now());
      return;
    }
    // Counted from the first word: words that drip in must not put it off one by one.
    const waitMs = this.#isSeen ? this.#shownAt + this.#view.patienceMs - Date.now() : this.#view.patienceMs - firstMs;
    this.#ask(Math.max(waitMs, 1));
  }

  #ask(ms: number): void {
    if (this.#isClosed || this.#isPaused || this.#inFlight !== undefined) return;
    this.#context.stage.pump.ask(this, Math.max(ms, this.#pausedUntil - Date.now()));
  }

  async paint(): Promise<void> {
    if (this.#isClosed || this.#isPaused || this.#inFlight !== undefined) return;
    this.#inFlight = this.#show().finally(() => {
      this.#inFlight = undefined;
      if (this.#isDirty) this.#changed();
      else if (this.#view.keepAliveMs > 0) this.#ask(this.#view.keepAliveMs);
    });
    await this.#inFlight;
  }

  async #show(): Promise<void> {
    await this.#begun;
    if (this.#isClosed || this.#isPaused) return;
    this.#isDirty = false;
    // A sign that something happens is not an edit: the first text must not wait behind it.
    if (this.#text !== '') {
      this.#shownAt = Date.now();
      this.#isSeen = true;
    }
    const status = this.#status !== '' && Date.now() - this.#statusAt >= statusDelayMs / 2 ? this.#status : '';
    try {
      await this.#view.show({ key: this.#key, text: this.#text, status });
    } catch (err) {
      this.#refused(err);
    }
  }

  /** A preview that fails is not worth a word: the final message is what counts. But nobody is asked twice to wait. */
  #refused(err: unknown): void {
    const { stage, sender } = this.#context;
    const failure = sender.classify(err);
    stage.log.debug({ reason: failure.reason, kind: failure.kind }, 'preview was not shown');
    const afterMs = failure.afterMs ?? refusedMs;
    this.#pausedUntil = Date.now() + afterMs;
    this.#isDirty = true;
    if (failure.kind !== 'throttled') return;
    this.#slowdown = Math.min(16, this.#slowdown * 2);
    const key = failure.scope === 'account' ? `${sender.channel}:${sender.account}` : this.#paceKey;
    stage.noteThrottled(key, afterMs).catch(() => undefined);
  }
}
