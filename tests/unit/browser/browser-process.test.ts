import { pino } from 'pino';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { toolContext } from '#tests/support/tool-context.ts';
import { BrowserProcess } from '#workers/browser/browser-process.ts';
import { BrowserSessions } from '#workers/browser/browser-sessions.ts';
import { type DriverCommand, replyBytesMax } from '#workers/browser/driver-protocol.ts';
import type { ProcessRequest, Sandbox } from '#workers/sandbox/sandbox.ts';

const log = pino({ level: 'silent' });
const page = { url: 'http://shop.test/', title: 'Shop', tab: 1, tabs: 1 };
const tabs: DriverCommand = { action: 'tabs' };
const never = new AbortController().signal;

interface Sent {
  readonly id?: number;
  readonly cancel?: number;
  readonly command?: DriverCommand;
}

/** A driver played by the test: `answer` is given each line it is sent. */
class FakeDriver {
  readonly sent: Sent[] = [];
  isHeld = 0;
  request: ProcessRequest | undefined;
  readonly #exited = Promise.withResolvers<number | undefined>();
  readonly answer: (driver: FakeDriver, sent: Sent) => void;

  constructor(answer: (driver: FakeDriver, sent: Sent) => void) {
    this.answer = answer;
  }

  says(text: string): void {
    void this.request?.onStdout(Buffer.from(text));
  }

  done(id: number | undefined, rest: object = {}): void {
    this.says(`${JSON.stringify({ id, ok: true, hasMoved: false, notices: [], page, ...rest })}\n`);
  }

  ends(code: number | undefined): void {
    this.#exited.resolve(code);
  }

  async sandbox(): Promise<Sandbox> {
    return await toolContext({
      start: async (request) => {
        this.request = request;
        request.signal.addEventListener('abort', () => this.ends(undefined));
        return {
          write: async (chunk) => {
            for (const line of Buffer.from(chunk).toString().trim().split('\n')) {
              const sent = JSON.parse(line) as Sent;
              this.sent.push(sent);
              this.answer(this, sent);
            }
          },
          end: () => this.ends(0),
          kill: () => this.ends(undefined),
          hold: () => {
            this.isHeld += 1;
            return {
              [Symbol.dispose]: () => {
                this.isHeld -= 1;
              },
            };
          },
          exited: this.#exited.promise,
        };
      },
    }).sandbox();
  }
}

async function open(answer: (driver: FakeDriver, sent: Sent) => void) {
  const driver = new FakeDriver(answer);
  const browser = await BrowserProcess.start({ log }, await driver.sandbox());
  return {
    driver,
    browser,
    call: async (signal = never) => await browser.call({ command: tabs, timeoutMs: 1_000, signal }),
  };
}

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }));
afterEach(() => void vi.useRealTimers());

test('the container is held awake for a call and may rest between calls', async () => {
  const { driver, browser, call } = await open((own, { id }) => {
    expect(own.isHeld).toBe(1);
    own.says('{"ready":true}\n');
    own.done(id, { text: '1: x' });
  });
  expect(await call()).toMatchObject({ ok: true, text: '1: x' });
  expect(driver.isHeld).toBe(0);
  expect(driver.request?.mayRest).toBe(true);
  expect(browser.page).toEqual(page);
});

test.each([
  ['nonsense', 'not json\n'],
  ['another shape', '{"id":1,"ok":true}\n'],
  ['a field nobody knows', `${JSON.stringify({ id: 1, ok: true, hasMoved: false, notices: [], page, extra: 1 })}\n`],
  ['too many notices', `${JSON.stringify({ id: 1, ok: true, hasMoved: false, notices: Array(50).fill('x'), page })}\n`],
  [
    'a giant address',
    `${JSON.stringify({ id: 1, ok: true, hasMoved: false, notices: [], page: { ...page, url: 'x'.repeat(5000) } })}\n`,
  ],
  ['a line without end', 'x'.repeat(replyBytesMax + 1)],
])('%s from the driver ends the browser with a clear error and nothing else', async (_name, text) => {
  const { driver, browser, call } = await open((own) => own.says(text));
  await expect(call()).rejects.toMatchObject({ code: 'sandbox.protocol' });
  expect(browser.isOver).toBe(true);
  expect(driver.request?.signal.aborted).toBe(true);
  await expect(call()).rejects.toMatchObject({ code: 'sandbox.lost' });
});

test('answers nobody waits for change nothing, not even the page', async () => {
  const { browser, call } = await open((own, { id }) => {
    own.done(99, { page: { ...page, url: 'http://evil.test/' } });
    own.done(id);
  });
  await call();
  expect(browser.page?.url).toBe(page.url);
});

test('a driver that never answers is ended', async () => {
  const { browser, call } = await open(() => undefined);
  const failed = expect(call()).rejects.toMatchObject({
    code: 'sandbox.protocol',
    message: 'The browser does not answer.',
  });
  await vi.advanceTimersByTimeAsync(60_000);
  await failed;
  expect(browser.isOver).toBe(true);
});

test('a stop is passed on to the driver and ends the call at once', async () => {
  const stop = new AbortController();
  const { driver, browser, call } = await open(() => undefined);
  const failed = expect(call(stop.signal)).rejects.toThrow('enough');
  await Promise.resolve();
  stop.abort(new Error('enough'));
  await failed;
  expect(driver.sent.at(-1)).toEqual({ cancel: 1 });
  expect(browser.isOver).toBe(false);
});

test('a driver that ends fails the call that runs, and the next one gets a new browser', async () => {
  const sessions = new BrowserSessions({ log });
  const call = { command: tabs, timeoutMs: 1_000, signal: never };
  const first = new FakeDriver((own) => own.ends(3));
  await expect(sessions.call('s', await first.sandbox(), call)).rejects.toMatchObject({ code: 'sandbox.lost' });
  expect(sessions.pageOf('s')).toBeUndefined();
  const second = new FakeDriver((own, { id }) => own.done(id));
  const sandbox = await second.sandbox();
  expect(await sessions.call('s', sandbox, call)).toMatchObject({ isNew: true });
  expect(await sessions.call('s', sandbox, call)).toMatchObject({ isNew: false });
  expect(sessions.pageOf('s')).toEqual(page);
  expect(sessions.pageOf('other')).toBeUndefined();
});

test('an idle browser is closed after a while', async () => {
  const sessions = new BrowserSessions({ log });
  const driver = new FakeDriver((own, { id }) => own.done(id));
  await sessions.call('s', await driver.sandbox(), { command: tabs, timeoutMs: 1_000, signal: never });
  await vi.advanceTimersByTimeAsync(16 * 60_000);
  expect(driver.request?.signal.aborted).toBe(true);
  expect(sessions.pageOf('s')).toBeUndefined();
});
