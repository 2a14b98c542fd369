import { createInterface, type Interface } from 'node:readline';
import { PassThrough } from 'node:stream';
import type { ChatInput, ChatOutput } from './chat-options.ts';
import { wrapText } from './clean-text.ts';

/** Stands for a newline in the one line that is edited; a pasted text keeps its lines this way. */
const newlineMark = '⏎';
const pasteStart = '\u001b[200~';
const pasteEnd = '\u001b[201~';

export interface ScreenOptions {
  readonly stdin: ChatInput;
  readonly stdout: ChatOutput;
  readonly history: readonly string[];
  /** Completions of what stands before the cursor. */
  readonly complete: (line: string) => readonly string[];
  readonly onLine: (text: string) => void;
  /** Takes single keys before the line does; true when the key is used up. */
  readonly onKey: (key: string) => boolean;
  readonly onInterrupt: () => void;
  readonly onEnd: () => void;
}

/**
 * A terminal with three parts: what was said scrolls away above, then a live region that is redrawn in place, then the
 * line that is being written. Nothing printed here is ever cleared but the live region.
 */
export class Screen implements Disposable {
  readonly #options: ScreenOptions;
  readonly #line: Interface;
  readonly #keys = new PassThrough();
  #liveRows: readonly string[] = [];
  #isClosed = false;
  #isLineClosed = false;
  #pasting: string | undefined;

  constructor(options: ScreenOptions) {
    this.#options = options;
    this.#line = createInterface({
      input: this.#keys,
      output: options.stdout,
      terminal: true,
      history: [...options.history],
      historySize: 500,
      removeHistoryDuplicates: true,
      completer: (line: string) => [options.complete(line), line],
      // A lone escape must not eat the key after it for half a second.
      escapeCodeTimeout: 50,
    });
    this.#line.on('line', (line) => options.onLine(line.replaceAll(newlineMark, '\n')));
    this.#line.on('SIGINT', () => options.onInterrupt());
    this.#line.on('SIGTSTP', this.#suspend);
    // Ctrl-D closes the line under us; from then on it must not be drawn.
    this.#line.on('close', () => {
      this.#isLineClosed = true;
      if (!this.#isClosed) options.onEnd();
    });
    this.#takeTerminal(true);
    options.stdin.on('data', this.#onData);
    options.stdin.on('end', this.#onEnd);
  }

  /** Whether something is written in the line. */
  get hasText(): boolean {
    return this.#line.line !== '';
  }

  /** What was written in earlier lines, newest first. */
  get history(): readonly string[] {
    return 'history' in this.#line && Array.isArray(this.#line.history) ? this.#line.history.map(String) : [];
  }

  setPrompt(prompt: string): void {
    const { rows } = this.#line.getCursorPos();
    this.#line.setPrompt(prompt);
    this.#paint('', this.#liveRows, rows);
  }

  /** Empties the line that is being written. */
  clearLine(): void {
    // Ctrl-E, Ctrl-U: to the end, then delete back to the start.
    this.#keys.write('\u0005\u0015');
  }

  /** Writes above the live region; a newline is added. */
  print(text: string): void {
    this.#paint(`${text}\n`);
  }

  /** Redraws the live region: the last rows of `text` that fit. */
  setLive(text: string): void {
    const { columns = 80, rows = 24 } = this.#options.stdout;
    const wrapped = text === '' ? [] : wrapText(text, Math.max(columns - 1, 10));
    const next = wrapped.slice(-Math.max(3, Math.min(rows - 6, 20)));
    if (next.join('\n') === this.#liveRows.join('\n')) return;
    this.#paint('', next);
  }

  [Symbol.dispose](): void {
    if (this.#isClosed) return;
    this.#paint('', []);
    this.#isClosed = true;
    this.#options.stdin.off('data', this.#onData);
    this.#options.stdin.off('end', this.#onEnd);
    this.#options.stdin.pause();
    this.#line.close();
    this.#options.stdout.write('\r\u001b[J');
    this.#takeTerminal(false);
  }

  /** Single keys, and pastes that are marked as such, while we have the terminal. */
  #takeTerminal(isOurs: boolean): void {
    this.#options.stdin.setRawMode?.(isOurs);
    this.#options.stdout.write(isOurs ? '\u001b[?2004h' : '\u001b[?2004l');
  }

  readonly #suspend = (): void => {
    this.#takeTerminal(false);
    process.once('SIGCONT', () => {
      if (this.#isClosed) return;
      this.#takeTerminal(true);
      this.#paint('');
    });
    process.kill(process.pid, 'SIGTSTP');
  };

  readonly #onEnd = (): void => this.#options.onEnd();

  readonly #onData = (chunk: Buffer | string): void => {
    let text = chunk.toString();
    while (text !== '') {
      if (this.#pasting !== undefined) {
        const end = text.indexOf(pasteEnd);
        this.#pasting += end < 0 ? text : text.slice(0, end);
        if (end < 0) return;
        this.#type(
          this.#pasting
            .trimEnd()
            .replaceAll(/\r\n?|\n/g, newlineMark)
            .replaceAll(/[\u0000-\u001f]/g, ' '),
        );
        this.#pasting = undefined;
        text = text.slice(end + pasteEnd.length);
        continue;
      }
      const start = text.indexOf(pasteStart);
      this.#type(start < 0 ? text : text.slice(0, start));
      if (start < 0) return;
      this.#pasting = '';
      text = text.slice(start + pasteStart.length);
    }
  };

  #type(text: string): void {
    if (text === '' || this.#options.onKey(text)) return;
    // What Enter leaves standing above is what was written, not a half-drawn preview.
    if (/[\r\n]/.test(text) && this.#liveRows.length > 0) this.#paint('', []);
    this.#keys.write(text);
  }

  /**
   * Erases live region and line, writes `text`, and draws both again below it. `rows` is how far below the start of the
   * line the cursor stands now.
   */
  #paint(
    text: string,
    liveRows: readonly string[] = this.#liveRows,
    rows: number = this.#line.getCursorPos().rows,
  ): void {
    if (this.#isClosed) return;
    const up = rows + this.#liveRows.length;
    this.#liveRows = liveRows;
    const live = liveRows.map((row) => `${row}\n`).join('');
    // readline goes up by the rows it has drawn before it draws again: give it rows to go up.
    const back = '\n'.repeat(rows);
    this.#options.stdout.write(`\r${up > 0 ? `\u001b[${up}A` : ''}\u001b[J${text}${live}${back}`);
    if (!this.#isLineClosed) this.#line.prompt(true);
  }
}
