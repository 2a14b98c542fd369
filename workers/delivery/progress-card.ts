import type { OutboundPart } from '#core/outbox/outbound.ts';
import type { NewMessage } from '#core/outbox/put-messages.ts';
import type { ViewContext } from './live-views.ts';
import type { Painter } from './preview-pump.ts';

/** Work of tools that is over sooner needs no card. */
const patienceMs = 2000;
/** Shortest time between two changes of a card, where the channel allows faster ones. */
const intervalMs = 1200;
const validMs = 60_000;
/** Steps a card lists; earlier ones are only counted. */
const tasksMax = 8;
const titleMax = 100;
const detailMax = 120;

type Progress = Extract<OutboundPart, { type: 'progress' }>;
type Task = Progress['tasks'][number];

/** How the work ended, as its card says it. */
type ProgressEnd = 'done' | 'failed' | 'cancelled';

/** What the tools of a turn do, in a message of its own that is edited in place and is apart from the answer. */
export interface ProgressCard {
  started(id: string, title: string): void;
  /** One line about where a running step is. */
  detail(id: string, text: string): void;
  finished(id: string, isError: boolean): void;
  /** The last state, to be written with the end of the turn; nothing when no card was shown. */
  last(end: ProgressEnd): readonly NewMessage[];
  /** Stops showing; resolves when nothing is in flight. */
  close(): Promise<void>;
}

export interface ProgressCardOptions extends Omit<ViewContext, 'sender' | 'draftId' | 'recipient'> {
  readonly sender: ViewContext['sender'] | undefined;
  /** Steps of earlier passes over the turn. */
  readonly earlier: readonly { readonly id: string; readonly title: string }[];
}

/** The outbox key of a turn's card. */
function progressKey(turnId: string): string {
  return `turn:${turnId}:progress`;
}

/** Opens the card of a turn where the channel shows progress and its preview does not already say what is being done. */
export function openProgressCard(options: ProgressCardOptions): ProgressCard {
  const { sender } = options;
  const capabilities = sender?.capabilities(options.conversation);
  if (capabilities === undefined || capabilities.progress === 'none' || capabilities.nativeStream === 'draft') {
    return hidden;
  }
  return new ShownCard(options, Math.max(intervalMs, capabilities.editIntervalMs));
}

const hidden: ProgressCard = {
  started: () => {},
  detail: () => {},
  finished: () => {},
  last: () => [],
  close: async () => {},
};

class ShownCard implements ProgressCard, Painter {
  readonly isFirst = false;
  readonly #options: ProgressCardOptions;
  readonly #intervalMs: number;
  readonly #tasks = new Map<string, Task>();
  #isShown = false;
  #shownAt = 0;
  #isDirty = false;
  #isClosed = false;
  #inFlight: Promise<void>;

  constructor(options: ProgressCardOptions, interval: number) {
    this.#options = options;
    this.#intervalMs = interval;
    for (const { id, title } of options.earlier) this.#tasks.set(id, { id, title, state: 'done' });
    // A card that an earlier worker showed is gone on with, and ended even when no step follows.
    this.#inFlight = options.isResumed
      ? options.stage.isBegun(progressKey(options.turnId)).then(
          (isBegun) => {
            this.#isShown = isBegun;
          },
          () => undefined,
        )
      : Promise.resolve();
  }

  started(id: string, title: string): void {
    this.#tasks.set(id, { id, title: oneLine(title, titleMax), state: 'running' });
    this.#changed(patienceMs);
  }

  detail(id: string, text: string): void {
    const task = this.#tasks.get(id);
    const detail = oneLine(text, detailMax);
    if (task === undefined || detail === '') return;
    this.#tasks.set(id, { ...task, detail });
    this.#changed(patienceMs);
  }

  finished(id: string, isError: boolean): void {
    const task = this.#tasks.get(id);
    if (task === undefined) return;
    const { detail: _, ...rest } = task;
    this.#tasks.set(id, { ...rest, state: isError ? 'failed' : 'done' });
    if (this.#isShown) this.#changed(0);
    // All of it was quicker than a person notices.
    else if (!this.#isWorking) this.#options.stage.pump.forget(this);
  }

  last(end: ProgressEnd): readonly NewMessage[] {
    if (!this.#isShown) return [];
    for (const [id, task] of this.#tasks) {
      if (task.state === 'running' || task.state === 'pending') this.#tasks.set(id, { ...task, state: 'skipped' });
    }
    const steps = this.#tasks.size === 1 ? '1 step' : `${this.#tasks.size} steps`;
    const titles = { done: `Done: ${steps}`, failed: `Failed after ${steps}`, cancelled: `Stopped after ${steps}` };
    return [{ ...this.#message(titles[end]), isFinal: true }];
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#options.stage.pump.forget(this);
    await this.#inFlight;
  }

  async paint(): Promise<void> {
    if (this.#isClosed) return;
    await this.#inFlight;
    // Closed meanwhile: nothing may follow the last state.
    if (this.#isClosed) return;
    this.#isDirty = false;
    this.#isShown = true;
    this.#shownAt = Date.now();
    this.#inFlight = this.#options.stage
      .put({ ...this.#message('Working on it'), isFinal: false, validMs })
      .catch((err: unknown) => this.#options.stage.log.debug({ err }, 'progress was not shown'));
    await this.#inFlight;
    if (this.#isDirty) this.#changed(0);
  }

  get #isWorking(): boolean {
    return [...this.#tasks.values()].some((task) => task.state === 'running');
  }

  #changed(ms: number): void {
    if (this.#isClosed) return;
    const wasDirty = this.#isDirty;
    this.#isDirty = true;
    if (this.#isShown) this.#options.stage.pump.ask(this, this.#shownAt + this.#intervalMs - Date.now());
    // Counted from the first step: further ones must not put it off.
    else if (!wasDirty || !this.#isWorking) this.#options.stage.pump.ask(this, ms);
  }

  #message(title: string): NewMessage {
    const { conversation, sessionId, turnId } = this.#options;
    const all = [...this.#tasks.values()];
    const tasks = all.slice(-tasksMax);
    const hiddenCount = all.length - tasks.length;
    return {
      key: progressKey(turnId),
      conversation,
      importance: 'progress',
      sessionId,
      turnId,
      body: {
        isSilent: true,
        parts: [
          { type: 'progress', title: hiddenCount === 0 ? title : `${title} (${hiddenCount} earlier not shown)`, tasks },
        ],
      },
    };
  }
}

function oneLine(text: string, charsMax: number): string {
  const line = text.replaceAll(/\s+/g, ' ').trim();
  return line.length <= charsMax ? line : `${line.slice(0, charsMax - 1).toWellFormed()}…`;
}
