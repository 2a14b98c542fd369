import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { WebSocket } from 'ws';
import { z } from 'zod';

const program = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
].find((file) => existsSync(file));

const replySchema = z.object({
  id: z.number().optional(),
  sessionId: z.string().optional(),
  method: z.string().optional(),
  params: z.record(z.string(), z.unknown()).optional(),
  result: z.record(z.string(), z.unknown()).optional(),
  error: z.object({ message: z.string() }).optional(),
});

type Reply = z.infer<typeof replySchema>;

/** A real browser without a screen, driven by its own debugging protocol. */
export class Browser implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #socket: WebSocket;
  readonly #folder: string;
  readonly #waiting = new Map<number, (reply: Reply) => void>();
  readonly #listeners = new Set<(reply: Reply) => void>();
  #calls = 0;

  private constructor(child: ChildProcess, socket: WebSocket, folder: string) {
    this.#child = child;
    this.#socket = socket;
    this.#folder = folder;
    socket.on('message', (data) => {
      const reply = replySchema.parse(JSON.parse(String(data)));
      if (reply.id === undefined) for (const tell of this.#listeners) tell(reply);
      else this.#waiting.get(reply.id)?.(reply);
    });
  }

  /** @throws when there is no browser to test pages with. */
  static async start(): Promise<Browser> {
    if (program === undefined) throw new Error('There is no browser: install chromium.');
    const folder = mkdtempSync(path.join(tmpdir(), 'sw-browser-'));
    const child = spawn(
      program,
      [
        '--headless=new',
        '--no-sandbox',
        '--disable-gpu',
        '--disable-dev-shm-usage',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
        '--remote-debugging-port=0',
        `--user-data-dir=${folder}`,
        'about:blank',
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    const url = await new Promise<string>((resolve, reject) => {
      createInterface({ input: child.stderr }).on('line', (line) => {
        const found = /DevTools listening on (ws:\S+)/.exec(line)?.[1];
        if (found !== undefined) resolve(found);
      });
      child.once('exit', (code) => reject(new Error(`the browser ended with ${code}`)));
    });
    const socket = new WebSocket(url, { perMessageDeflate: false });
    await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
    return new Browser(child, socket, folder);
  }

  /** A page of a visitor of its own: nothing is shared with other pages. */
  async open(url: string, size = { width: 1200, height: 800 }): Promise<Page> {
    const { browserContextId } = await this.call('Target.createBrowserContext');
    const { targetId } = await this.call('Target.createTarget', { url: 'about:blank', browserContextId });
    const { sessionId } = await this.call('Target.attachToTarget', { targetId, flatten: true });
    const page = new Page(this, String(sessionId));
    this.#listeners.add((reply) => page.hear(reply));
    for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await page.call(`${domain}.enable`);
    await page.resize(size);
    await page.goto(url);
    return page;
  }

  async call(method: string, params: object = {}, sessionId?: string): Promise<Record<string, unknown>> {
    this.#calls += 1;
    const id = this.#calls;
    return await new Promise((resolve, reject) => {
      this.#waiting.set(id, (reply) => {
        this.#waiting.delete(id);
        if (reply.error === undefined) resolve(reply.result ?? {});
        else reject(new Error(`${method}: ${reply.error.message}`));
      });
      this.#socket.send(JSON.stringify({ id, method, params, ...(sessionId === undefined ? {} : { sessionId }) }));
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.close();
    const gone = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await gone;
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 20 });
  }
}

/** One tab. */
export class Page {
  readonly #browser: Browser;
  readonly #sessionId: string;
  /** Everything the page complained about: exceptions, refused loads, broken policies. */
  readonly problems: string[] = [];
  /** Every address the page asked for. */
  readonly requests: string[] = [];

  constructor(browser: Browser, sessionId: string) {
    this.#browser = browser;
    this.#sessionId = sessionId;
  }

  hear(reply: Reply): void {
    if (reply.sessionId !== this.#sessionId) return;
    if (reply.method === 'Runtime.exceptionThrown') this.problems.push(JSON.stringify(reply.params));
    if (reply.method === 'Log.entryAdded') {
      const { level, text, url } = z
        .object({ entry: z.object({ level: z.string(), text: z.string(), url: z.string().optional() }) })
        .parse(reply.params).entry;
      if (level === 'error') this.problems.push(`${text} ${url ?? ''}`);
    }
    if (reply.method === 'Network.requestWillBeSent') {
      this.requests.push(z.object({ request: z.object({ url: z.string() }) }).parse(reply.params).request.url);
    }
  }

  async call(method: string, params: object = {}): Promise<Record<string, unknown>> {
    return await this.#browser.call(method, params, this.#sessionId);
  }

  async goto(url: string): Promise<void> {
    await this.call('Page.navigate', { url });
  }

  async resize({ width, height }: { readonly width: number; readonly height: number }): Promise<void> {
    await this.call('Emulation.setDeviceMetricsOverride', {
      width,
      height,
      deviceScaleFactor: 1,
      mobile: width < 600,
    });
  }

  /** The value of a JavaScript expression; promises are awaited. */
  async evaluate(expression: string): Promise<unknown> {
    const { result, exceptionDetails } = z
      .object({
        result: z.object({ value: z.unknown().optional() }),
        exceptionDetails: z.object({ text: z.string(), exception: z.unknown() }).optional(),
      })
      .parse(await this.call('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true }));
    if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails));
    return result.value;
  }

  /** The text a person reads in an element; empty when it is hidden. */
  async text(selector: string): Promise<string> {
    const element = `document.querySelector(${JSON.stringify(selector)})`;
    return String(await this.evaluate(`${element}?.checkVisibility() ? ${element}.innerText : ''`));
  }

  async click(selector: string): Promise<void> {
    await this.evaluate(`document.querySelector(${JSON.stringify(selector)}).click()`);
  }

  /** Types into whatever has the focus, as a keyboard does. */
  async type(text: string): Promise<void> {
    await this.call('Input.insertText', { text });
  }

  async key(key: string, options: { readonly shift?: boolean } = {}): Promise<void> {
    const codes: Record<string, number> = { Enter: 13, Tab: 9, Escape: 27 };
    const event = {
      key,
      code: key,
      windowsVirtualKeyCode: codes[key] ?? 0,
      modifiers: options.shift === true ? 8 : 0,
      ...(key === 'Enter' ? { text: '\r' } : {}),
    };
    await this.call('Input.dispatchKeyEvent', { type: 'keyDown', ...event });
    await this.call('Input.dispatchKeyEvent', { type: 'keyUp', ...event });
  }
}
