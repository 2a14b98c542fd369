import { type Card, toCard } from './approval-card.ts';
import { cleanLine, cleanText } from './clean-text.ts';
import { type Paint, renderParts } from './render-message.ts';
import type { ChatEvent, ChatMessage } from './stream-event.ts';

/** What the transcript writes on. */
export interface TranscriptScreen {
  print(text: string): void;
  setLive(text: string): void;
}

interface SharedFile {
  readonly messageId: string;
  readonly index: number;
  readonly name: string;
}

/**
 * Turns events into what a person reads. Printed text cannot be changed any more, so the newest message stays in the
 * live region while its turn runs, and an edit of an older one is printed again when the turn ends.
 */
export class Transcript {
  readonly #screen: TranscriptScreen;
  readonly #paint: Paint;
  readonly #columns: () => number;
  readonly #printed = new Map<string, string>();
  readonly #edited = new Map<string, ChatMessage>();
  readonly #own = new Set<string>();
  readonly #cards = new Map<string, Card>();
  readonly #doneDrafts = new Set<number>();
  readonly #turns = new Set<string>();
  readonly #files: SharedFile[] = [];
  #live: ChatMessage | undefined;
  #draft: { readonly id: number; readonly text: string } | undefined;
  #lastClosed: Card | undefined;
  #isTyping = false;
  #isDisconnected = false;

  constructor(deps: {
    readonly screen: TranscriptScreen;
    readonly paint: Paint;
    /** The width prose is broken at; asked each time, because windows change. */
    readonly columns: () => number;
  }) {
    this.#screen = deps.screen;
    this.#paint = deps.paint;
    this.#columns = deps.columns;
  }

  /** The oldest card nobody answered. */
  get openCard(): Card | undefined {
    return this.#cards.values().next().value;
  }

  /** Whether a turn runs or waits. */
  get isBusy(): boolean {
    return this.#turns.size > 0 || this.#draft !== undefined;
  }

  /** Files of the conversation, in the order they were numbered. */
  get files(): readonly SharedFile[] {
    return this.#files;
  }

  /** Our own line stands there already: its echo is not printed. */
  expectOwn(key: string): void {
    this.#own.add(key);
  }

  /** Takes a card away that was just answered; it comes back if the answer is refused. */
  closeCard(messageId: string): void {
    this.#lastClosed = this.#cards.get(messageId);
    this.#cards.delete(messageId);
  }

  take(event: ChatEvent): void {
    switch (event.type) {
      case 'message':
        this.#takeMessage(event.message);
        break;
      case 'draft':
        if (this.#doneDrafts.has(event.draftId)) return;
        this.#commit();
        this.#draft = { id: event.draftId, text: `${event.isTail ? '… ' : ''}${cleanText(event.markdown)}` };
        break;
      case 'typing':
        this.#isTyping = true;
        break;
      case 'turn':
        if (event.turn.state === 'started' || event.turn.state === 'waiting') this.#turns.add(event.turn.turnId);
        else this.#turns.delete(event.turn.turnId);
        if (event.turn.state !== 'started') this.#isTyping = false;
        if (event.turn.state !== 'started' && event.turn.state !== 'absorbed') this.#flush();
        break;
      case 'ack':
        if (event.isAlert && this.#lastClosed !== undefined) {
          this.#cards.set(this.#lastClosed.messageId, this.#lastClosed);
          this.#lastClosed = undefined;
        }
        if (event.text !== undefined) this.#print(this.#paint(event.isAlert ? 'yellow' : 'dim', cleanText(event.text)));
        break;
      case 'ready':
        if (this.#isDisconnected) this.#print(this.#paint('dim', 'Connected again.'));
        this.#isDisconnected = false;
        if (!this.isBusy) this.#commit();
        break;
      case 'disconnected':
        // Turns may end unseen; what is left of them is not shown as work in progress.
        this.#draft = undefined;
        this.#turns.clear();
        this.#flush();
        if (!this.#isDisconnected) this.#print(this.#paint('yellow', `${event.reason} Trying again …`));
        this.#isDisconnected = true;
        break;
    }
    this.#drawLive();
  }

  #takeMessage(message: ChatMessage): void {
    const { messageId, direction } = message;
    if (direction === 'in') {
      if (this.#own.delete(messageId) || message.isDeleted || this.#printed.has(messageId)) return;
      this.#commit();
      this.#printed.set(messageId, '');
      this.#print(`${this.#paint('bold', cleanLine(message.author ?? ''))} › ${this.#render(message)}`);
      return;
    }
    this.#isTyping = false;
    if (message.draftId !== undefined) {
      this.#doneDrafts.add(message.draftId);
      if (this.#draft?.id === message.draftId) this.#draft = undefined;
    }
    const card = toCard(message);
    const wasCard = this.#cards.has(messageId) || this.#lastClosed?.messageId === messageId;
    if (card === undefined) {
      this.#cards.delete(messageId);
      if (this.#lastClosed?.messageId === messageId) this.#lastClosed = undefined;
    } else if (!this.#printed.has(messageId)) this.#cards.set(messageId, card);
    if (this.#live?.messageId !== messageId && this.#printed.has(messageId)) {
      // A settled card is news now; other edits wait until the turn is over.
      if (wasCard && card === undefined) this.#printMessage(message);
      else this.#edited.set(messageId, message);
      return;
    }
    if (this.#live?.messageId !== messageId) this.#commit();
    this.#live = message;
    if (card !== undefined || !this.isBusy) this.#commit();
  }

  /** Prints what is kept live: something newer has come, or nothing will change it any more. */
  #commit(): void {
    const message = this.#live;
    this.#live = undefined;
    if (message !== undefined && !message.isDeleted) this.#printMessage(message);
  }

  #flush(): void {
    this.#commit();
    for (const message of this.#edited.values()) if (!message.isDeleted) this.#printMessage(message);
    this.#edited.clear();
  }

  #printMessage(message: ChatMessage): void {
    const text = this.#render(message);
    if (text === '' || this.#printed.get(message.messageId) === text) return;
    this.#printed.set(message.messageId, text);
    this.#print(`${text}\n`);
  }

  #print(text: string): void {
    this.#screen.setLive('');
    this.#screen.print(text);
  }

  #render(message: ChatMessage, paint: Paint = this.#paint): string {
    const card = this.#cards.get(message.messageId);
    const keys = new Map([...(card?.keys ?? [])].map(([key, token]) => [token, key]));
    return renderParts(message.parts, {
      paint,
      columns: this.#columns(),
      keys,
      fileHint: (index) => {
        const part = message.parts[index];
        const known = this.#files.findIndex((file) => file.messageId === message.messageId && file.index === index);
        if (known >= 0) return ` /save ${known + 1}`;
        this.#files.push({ messageId: message.messageId, index, name: part?.type === 'file' ? part.name : 'file' });
        return ` /save ${this.#files.length}`;
      },
    });
  }

  #drawLive(): void {
    // Without colours: these rows are cut to the width of the terminal, and a cut colour would run on.
    const message = this.#live === undefined || this.#live.isDeleted ? '' : this.#render(this.#live, plain);
    const busy = this.#isTyping || this.#turns.size > 0 ? '· working …' : '';
    this.#screen.setLive([message, this.#draft?.text ?? '', busy].filter((text) => text !== '').join('\n'));
  }
}

const plain: Paint = (_format, text) => text;
