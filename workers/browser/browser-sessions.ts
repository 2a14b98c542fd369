import type { Log } from '#core/kit/log.ts';
import type { Sandbox } from '../sandbox/sandbox.ts';
import { type BrowserCall, BrowserProcess } from './browser-process.ts';
import type { DriverDone, DriverFailed, PageState } from './driver-protocol.ts';

/** Browsers nobody has used for this long are closed: each is some 200 MB. */
const idleMs = 15 * 60_000;

interface Entry {
  browser: Promise<BrowserProcess>;
  /** The browser once it is there, for questions that cannot wait. */
  ready?: BrowserProcess;
  idle?: NodeJS.Timeout;
}

/**
 * The browsers of one worker: one a session, kept from turn to turn. A browser that ended, or whose worker ended, is
 * gone with its pages and logins; the next call gets a new one and is told so.
 */
export class BrowserSessions implements AsyncDisposable {
  readonly #log: Log;
  readonly #entries = new Map<string, Entry>();

  constructor(deps: { readonly log: Log }) {
    this.#log = deps.log;
  }

  /** Where the session's browser was when it last answered. */
  pageOf(sessionId: string): PageState | undefined {
    const browser = this.#entries.get(sessionId)?.ready;
    return browser === undefined || browser.isOver ? undefined : browser.page;
  }

  /**
   * Does one thing in the session's browser, started when there is none.
   * @throws AppError `sandbox.lost`, `sandbox.protocol` when the browser failed; the signal's reason.
   */
  async call(
    sessionId: string,
    sandbox: Sandbox,
    call: BrowserCall,
  ): Promise<{ readonly reply: DriverDone | DriverFailed; readonly isNew: boolean }> {
    const { entry, isNew } = await this.#entryOf(sessionId, sandbox);
    clearTimeout(entry.idle);
    const browser = await entry.browser;
    try {
      return { reply: await browser.call(call), isNew };
    } finally {
      if (browser.isOver) this.#drop(sessionId, entry);
      else {
        clearTimeout(entry.idle);
        entry.idle = setTimeout(() => this.#drop(sessionId, entry), idleMs).unref();
      }
    }
  }

  /** Closes every browser. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const [sessionId, entry] of this.#entries) this.#drop(sessionId, entry);
  }

  async #entryOf(sessionId: string, sandbox: Sandbox): Promise<{ readonly entry: Entry; readonly isNew: boolean }> {
    const known = this.#entries.get(sessionId);
    if (known !== undefined) {
      const browser = await known.browser.catch(() => undefined);
      if (browser !== undefined && !browser.isOver) return { entry: known, isNew: false };
      this.#drop(sessionId, known);
    }
    const entry: Entry = { browser: BrowserProcess.start({ log: this.#log.child({ sessionId }) }, sandbox) };
    this.#entries.set(sessionId, entry);
    try {
      entry.ready = await entry.browser;
    } catch (err) {
      this.#drop(sessionId, entry);
      throw err;
    }
    return { entry, isNew: true };
  }

  #drop(sessionId: string, entry: Entry): void {
    clearTimeout(entry.idle);
    if (this.#entries.get(sessionId) === entry) this.#entries.delete(sessionId);
    void entry.browser.then(
      (browser) => browser.close(),
      () => undefined,
    );
  }
}
