import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { type Browser, type BrowserContext, chromium, type Download, type Page } from 'playwright-core';
import type { PageState } from '../../workers/browser/driver-protocol.ts';
import { CommandError } from './command-error.ts';

export interface HostOptions {
  /** The browser's executable. */
  readonly program: string;
  /** The only way out; everything goes there, local addresses included. */
  readonly proxy: string;
  /** Where downloads and pictures are put. */
  readonly folder: string;
}

const viewport = { width: 1280, height: 800 };
const tabsMax = 10;
const downloadsMax = 20;
const noticesMax = 20;
const noticeCharsMax = 300;
const actionMs = 5_000;
const navigationMs = 20_000;
const titleMs = 300;
const stuckMs = 1_000;
const windowMs = 3_000;

/** What a page cannot have: ways to talk past the proxy, and prompts nobody would answer. */
const withoutPeerConnections = `for (const name of ['RTCPeerConnection', 'webkitRTCPeerConnection', 'RTCDataChannel'])
  Reflect.deleteProperty(globalThis, name);`;

const switches = [
  // The container is the sandbox: user namespaces, which Chromium's own needs, are denied in it.
  '--no-sandbox',
  // Without this, Chromium goes past the proxy for local addresses.
  '--proxy-bypass-list=<-loopback>',
  // Names are resolved by the gateway alone. The proxy itself stands at a number.
  '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1',
  '--disable-quic',
  '--force-webrtc-ip-handling-policy=disable_non_proxied_udp',
  '--dns-prefetch-disable',
  '--disable-domain-reliability',
  '--no-pings',
  '--disable-gpu',
  '--disable-notifications',
  '--disable-speech-api',
  '--deny-permission-prompts',
  '--mute-audio',
];

interface KeptDownload {
  readonly download: Download;
  isTaken: boolean;
}

/** The browser of one session: one context, its tabs, and what happened in it that nobody asked for. */
export class BrowserHost {
  readonly #browser: Browser;
  readonly #context: BrowserContext;
  readonly #folder: string;
  readonly #downloads: KeptDownload[] = [];
  #pages: Page[] = [];
  #current: Page | undefined;
  #notices: string[] = [];
  #status = new WeakMap<Page, number>();
  /** Windows that pages have opened and that are not there yet. */
  #windowsUnderWay = 0;

  private constructor(browser: Browser, context: BrowserContext, folder: string) {
    this.#browser = browser;
    this.#context = context;
    this.#folder = folder;
    context.on('page', (page) => this.#adopt(page));
  }

  /** @throws when the browser does not start. */
  static async start({ program, proxy, folder }: HostOptions): Promise<BrowserHost> {
    for (const name of ['downloads', 'shots', 'uploads']) mkdirSync(path.join(folder, name), { recursive: true });
    const browser = await chromium.launch({
      executablePath: program,
      args: [...switches, `--proxy-server=${proxy}`],
      downloadsPath: path.join(folder, 'downloads'),
      // The container's shared memory is large enough; the stand-in below /tmp would fill the smaller one.
      ignoreDefaultArgs: ['--disable-dev-shm-usage'],
      handleSIGHUP: false,
      timeout: 20_000,
    });
    const context = await browser.newContext({
      viewport,
      locale: 'en-US',
      acceptDownloads: true,
      // Its fetches would be nobody's: they outlive the page they came from.
      serviceWorkers: 'block',
      permissions: [],
    });
    context.setDefaultTimeout(actionMs);
    context.setDefaultNavigationTimeout(navigationMs);
    await context.addInitScript(withoutPeerConnections);
    return new BrowserHost(browser, context, folder);
  }

  onGone(listener: () => void): void {
    this.#browser.on('disconnected', listener);
  }

  get folder(): string {
    return this.#folder;
  }

  get tabs(): readonly Page[] {
    return this.#pages;
  }

  /** @throws CommandError `no_page`. */
  get page(): Page {
    if (this.#current === undefined) {
      throw new CommandError('no_page', 'No page is open. Navigate to one first.');
    }
    return this.#current;
  }

  get hasPage(): boolean {
    return this.#current !== undefined;
  }

  async openTab(): Promise<Page> {
    if (this.#pages.length >= tabsMax) {
      throw new CommandError('refused', `${tabsMax} tabs are open, which is all there can be. Close one first.`);
    }
    const page = await this.#context.newPage();
    this.#adopt(page);
    this.#current = page;
    return page;
  }

  /** @throws CommandError `not_found`. */
  tabAt(number: number): Page {
    const page = this.#pages[number - 1];
    if (page === undefined) {
      throw new CommandError('not_found', `There is no tab ${number}; ${this.#pages.length} are open.`);
    }
    return page;
  }

  switchTo(page: Page): void {
    this.#current = page;
  }

  /** Waits for the tabs that pages are opening right now. */
  async tabsArrived(): Promise<void> {
    const deadline = performance.now() + windowMs;
    while (this.#windowsUnderWay > 0 && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    this.#windowsUnderWay = 0;
  }

  noteStatus(page: Page, status: number): void {
    this.#status.set(page, status);
  }

  /** Downloads that nobody has fetched yet, oldest first. */
  takeDownload(): Download | undefined {
    const kept = this.#downloads.findLast((each) => !each.isTaken);
    if (kept !== undefined) kept.isTaken = true;
    return kept?.download;
  }

  notice(text: string): void {
    if (this.#notices.length < noticesMax) this.#notices.push(text.slice(0, noticeCharsMax));
  }

  takeNotices(): readonly string[] {
    const taken = this.#notices;
    this.#notices = [];
    return taken;
  }

  async state(): Promise<PageState> {
    const page = this.#current;
    if (page === undefined) return { url: '', title: '', tab: 0, tabs: this.#pages.length };
    const status = this.#status.get(page);
    return {
      url: addressOf(page),
      title: await titleOf(page),
      tab: this.#pages.indexOf(page) + 1,
      tabs: this.#pages.length,
      ...(status === undefined ? {} : { status }),
    };
  }

  /** Closes the current tab when its page is too busy to answer: whatever came next would wait for it as well. */
  async dropIfStuck(): Promise<void> {
    const page = this.#current;
    if (page === undefined) return;
    const lives = page.evaluate('1').then(
      () => true,
      // Between two pages there is nothing to ask, which is no sign of death.
      (err: unknown) => !String(err).includes('crashed'),
    );
    const late = new Promise<boolean>((resolve) => setTimeout(() => resolve(false), stuckMs));
    if (await Promise.race([lives, late])) return;
    this.notice(`The page ${addressOf(page)} did not respond any more, so its tab was closed.`);
    this.drop(page);
  }

  /** Closes a tab that may not answer any more. */
  drop(page: Page): void {
    this.#forget(page);
    void page.close().catch(() => undefined);
  }

  #adopt(page: Page): void {
    if (this.#pages.includes(page)) return;
    if (this.#pages.length >= tabsMax) {
      this.notice('A page tried to open one tab too many; it was closed.');
      void page.close().catch(() => undefined);
      return;
    }
    this.#pages.push(page);
    page.on('close', () => this.#forget(page));
    page.on('crash', () => {
      this.notice(`The page ${addressOf(page)} crashed and was closed.`);
      this.drop(page);
    });
    page.on('dialog', (dialog) => {
      this.notice(`The page showed a dialog (${dialog.type()}), which was dismissed: ${dialog.message()}`);
      void dialog.dismiss().catch(() => undefined);
    });
    page.on('download', (download) => {
      if (this.#downloads.length >= downloadsMax) {
        this.notice('A download was refused: too many of them.');
        void download.cancel().catch(() => undefined);
        return;
      }
      this.#downloads.push({ download, isTaken: false });
      this.notice(`A download began: ${download.suggestedFilename()}. Fetch it with action download.`);
    });
    void this.#watchWindows(page).catch(() => undefined);
    page.on('popup', (popup) => {
      this.#windowsUnderWay = Math.max(0, this.#windowsUnderWay - 1);
      this.#adopt(popup);
      if (!this.#pages.includes(popup)) return;
      this.#current = popup;
      this.notice('A new tab was opened and is the current one now.');
    });
  }

  /** The tab itself comes a good while after the page has asked for it. */
  async #watchWindows(page: Page): Promise<void> {
    const terminal = await this.#context.newCDPSession(page);
    terminal.on('Page.windowOpen', () => {
      this.#windowsUnderWay += 1;
    });
    await terminal.send('Page.enable');
  }

  #forget(page: Page): void {
    const place = this.#pages.indexOf(page);
    if (place === -1) return;
    this.#pages = this.#pages.filter((each) => each !== page);
    if (this.#current === page) this.#current = this.#pages.at(Math.max(0, place - 1));
  }
}

/** Where a page is; the browser's own error page stands for nothing. */
export function addressOf(page: Page): string {
  const url = page.url();
  return url.startsWith('chrome-error:') ? 'about:blank' : url.slice(0, 4096);
}

/** A page that is busy gives no title; that must hold up nothing. */
async function titleOf(page: Page): Promise<string> {
  const title = page.title().catch(() => '');
  return (await Promise.race([title, new Promise<string>((resolve) => setTimeout(() => resolve(''), titleMs))])).slice(
    0,
    500,
  );
}
