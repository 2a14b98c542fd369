import { AppError } from '#core/kit/errors.ts';
import type { Log } from '#core/kit/log.ts';
import type { Sandbox, SandboxProcess } from '../sandbox/sandbox.ts';
import {
  type DriverCommand,
  type DriverDone,
  type DriverFailed,
  type DriverRequest,
  driverReplySchema,
  type PageState,
  replyBytesMax,
} from './driver-protocol.ts';
import { LineReader } from './line-reader.ts';

/** The driver in the image; see `sandbox-image/browser`. */
const argv = ['node', '/usr/local/lib/switchyard/browser/driver.js'];

/** The driver answers within a command's time and a little; after this much more it is taken for dead. */
const answerGraceMs = 6_000;
/** Until the browser answers at all. */
const startMs = 20_000;
const diagnosticsMax = 2_000;

export interface BrowserCall {
  readonly command: DriverCommand;
  readonly timeoutMs: number;
  readonly onHost?: string;
  readonly signal: AbortSignal;
}

interface Waiting {
  readonly resolve: (reply: DriverDone | DriverFailed) => void;
  readonly reject: (reason: Error) => void;
}

/** One running browser with its driver. It ends with its container, with its worker, or when it answers nonsense. */
export class BrowserProcess {
  readonly #log: Log;
  readonly #stop = new AbortController();
  readonly #waiting = new Map<number, Waiting>();
  #process: SandboxProcess | undefined;
  #calls = 0;
  #page: PageState | undefined;
  #isOver = false;
  #diagnostics = '';

  private constructor(log: Log) {
    this.#log = log;
  }

  /** Starts the driver; the browser itself comes up while the first command is under way. */
  static async start(deps: { readonly log: Log }, sandbox: Sandbox): Promise<BrowserProcess> {
    const browser = new BrowserProcess(deps.log);
    const reader = new LineReader(replyBytesMax, (line) => browser.#hear(line));
    browser.#process = await sandbox.start({
      argv,
      onStdout: (chunk) => {
        if (!reader.push(chunk)) browser.#fail('The browser sent a line that is too long.');
      },
      onStderr: (chunk) => {
        browser.#diagnostics = (browser.#diagnostics + chunk.toString('utf8')).slice(-diagnosticsMax);
      },
      signal: browser.#stop.signal,
      mayRest: true,
    });
    void browser.#process.exited.then((code) => {
      if (!browser.#isOver) browser.#log.info({ code, said: browser.#diagnostics }, 'browser ended');
      browser.#end(
        new AppError('sandbox.lost', 'The browser ended.', { mend: 'Navigate again; a new one is started.' }),
      );
    });
    return browser;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** What the last answer said about the current page; the browser's word, not checked. */
  get page(): PageState | undefined {
    return this.#page;
  }

  /**
   * Does one thing.
   * @throws AppError `sandbox.lost`, `sandbox.protocol`, `sandbox.timeout`; the signal's reason.
   */
  async call({ command, timeoutMs, onHost, signal }: BrowserCall): Promise<DriverDone | DriverFailed> {
    signal.throwIfAborted();
    const process = this.#process;
    if (process === undefined || this.#isOver) throw new AppError('sandbox.lost', 'The browser has ended.');
    using _awake = process.hold();
    this.#calls += 1;
    const id = this.#calls;
    const answer = Promise.withResolvers<DriverDone | DriverFailed>();
    this.#waiting.set(id, answer);
    answer.promise.catch(() => undefined);
    const cancel = () => {
      void this.#send({ cancel: id }).catch(() => undefined);
      answer.reject(signal.reason instanceof Error ? signal.reason : new Error('cancelled'));
    };
    signal.addEventListener('abort', cancel, { once: true });
    const isFirst = this.#page === undefined;
    const timer = setTimeout(
      () => this.#fail('The browser does not answer.'),
      timeoutMs + answerGraceMs + (isFirst ? startMs : 0),
    );
    try {
      await this.#send({ id, command, timeoutMs, ...(onHost === undefined ? {} : { onHost }) });
      const reply = await answer.promise;
      this.#page = reply.page;
      return reply;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', cancel);
      this.#waiting.delete(id);
    }
  }

  /** Ends the browser and its driver. */
  close(): void {
    this.#end(new AppError('sandbox.lost', 'The browser was closed.'));
  }

  async #send(request: DriverRequest): Promise<void> {
    await this.#process?.write(Buffer.from(`${JSON.stringify(request)}\n`));
  }

  /** Everything here comes from the side of the web pages. */
  #hear(line: string): void {
    const parsed = driverReplySchema.safeParse(readJson(line));
    if (!parsed.success) {
      this.#fail('The browser answered nonsense.');
      return;
    }
    // Answers to what was given up, or never asked, are nobody's.
    if ('id' in parsed.data) this.#waiting.get(parsed.data.id)?.resolve(parsed.data);
  }

  #fail(why: string): void {
    this.#log.warn({ why, said: this.#diagnostics }, 'browser failed');
    this.#end(new AppError('sandbox.protocol', why, { mend: 'Navigate again; a new browser is started.' }));
  }

  #end(reason: AppError): void {
    if (!this.#isOver) this.#stop.abort();
    this.#isOver = true;
    for (const waiting of this.#waiting.values()) waiting.reject(reason);
    this.#waiting.clear();
  }
}

function readJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
