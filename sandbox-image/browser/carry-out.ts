import { rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Frame, Locator, Page, Request } from 'playwright-core';
import type { DriverCommand, ElementTarget } from '../../workers/browser/driver-protocol.ts';
import { addressOf, type BrowserHost } from './browser-host.ts';
import { CommandError } from './command-error.ts';
import { compactTree } from './compact-tree.ts';
import { describeTarget, findElement } from './find-element.ts';

export interface Outcome {
  readonly text?: string;
  readonly textTotal?: number;
  readonly file?: { readonly path: string; readonly name: string };
}

/** After an action, how long a navigation may take to begin, to arrive, and to load what belongs to it. */
const beginMs = 120;
const arriveMs = 10_000;
const loadMs = 1_500;
/** Pictures are cut at this height; what is further down is scrolled to. */
const shotHeightMax = 4_000;
const shotsKept = 4;
const downloadMs = 30_000;
const fileNameMax = 200;
/** An option that is not there does not come by waiting. */
const optionMs = 1_500;

let shots = 0;
let downloads = 0;

/** Does one thing in the browser. @throws CommandError and whatever the browser throws. */
export async function carryOut(host: BrowserHost, command: DriverCommand, signal: AbortSignal): Promise<Outcome> {
  switch (command.action) {
    case 'navigate':
      return await navigate(host, command, signal);
    case 'back':
      return await back(host, signal);
    case 'read':
      return await read(host.page, command, signal);
    case 'screenshot':
      return await screenshot(host, command, signal);
    case 'click':
      return await withElement(host, command.target, signal, async (element) => await element.click({ signal }));
    case 'type':
      return await withElement(host, command.target, signal, async (element) => {
        await element.fill(command.text, { signal });
        if (command.isSubmit) await element.press('Enter', { signal });
      });
    case 'press':
      return await press(host, command, signal);
    case 'select':
      return await withElement(host, command.target, signal, async (element) => {
        await element.selectOption([...command.values], { signal, timeout: optionMs });
      });
    case 'scroll':
      return await scroll(host.page, command, signal);
    case 'evaluate':
      return await evaluate(host, command, signal);
    case 'tabs':
      return await listTabs(host);
    case 'switch':
      host.switchTo(host.tabAt(command.tab));
      return {};
    case 'close':
      await host.tabAt(command.tab).close();
      return {};
    case 'wait':
      return await wait(host.page, command, signal);
    case 'download':
      return await download(host, command, signal);
    case 'upload':
      return await upload(host.page, command, signal);
  }
}

async function navigate(
  host: BrowserHost,
  { url, isNewTab }: Extract<DriverCommand, { action: 'navigate' }>,
  signal: AbortSignal,
): Promise<Outcome> {
  const scheme = URL.parse(url)?.protocol;
  if (scheme !== 'http:' && scheme !== 'https:') {
    throw new CommandError('refused', `Only http and https addresses can be opened, not ${url.slice(0, 100)}.`);
  }
  const page = isNewTab || !host.hasPage ? await host.openTab() : host.page;
  try {
    const response = await page.goto(url, { waitUntil: 'domcontentloaded', signal });
    if (response !== null) host.noteStatus(page, response.status());
  } catch (err) {
    // What is downloaded and not shown ends the navigation; the notice tells of it.
    if (String(err).includes('Download is starting')) return {};
    throw new CommandError('failed', explainNetwork(err, url), { cause: err });
  }
  await loaded(page);
  return {};
}

/** What a failed navigation means to whoever asked for it. */
function explainNetwork(err: unknown, url: string): string {
  const code = /net::(ERR_[A-Z_]+)/.exec(String(err))?.[1];
  const host = URL.parse(url)?.host ?? url;
  if (code === 'ERR_PROXY_CONNECTION_FAILED') {
    return 'This browser has no way out: the agent has no egress rules. Its profile decides which hosts it may reach.';
  }
  if (code === 'ERR_TUNNEL_CONNECTION_FAILED') {
    return `The gateway refused ${host}: https needs an egress rule for it with methods: ['*'], and a host that answers.`;
  }
  if (code?.startsWith('ERR_CERT_') === true) {
    return `${host} was not opened: its certificate is not valid for it (${code}).`;
  }
  if (code !== undefined) return `${host} could not be opened: ${code}.`;
  return `${host} could not be opened: ${firstLine(err)}`;
}

async function back(host: BrowserHost, signal: AbortSignal): Promise<Outcome> {
  const { page } = host;
  const response = await page.goBack({ waitUntil: 'domcontentloaded', signal });
  if (response === null && addressOf(page) === 'about:blank') {
    throw new CommandError('failed', 'There is no page before this one.');
  }
  if (response !== null) host.noteStatus(page, response.status());
  await loaded(page);
  return {};
}

async function read(
  page: Page,
  { isText, offset, charsMax, target }: Extract<DriverCommand, { action: 'read' }>,
  signal: AbortSignal,
): Promise<Outcome> {
  const root = target === undefined ? undefined : await findElement(page, target, signal);
  if (isText) {
    // Cut inside the page: the text of a hostile one may be endless.
    const [total, part] = await (root ?? page.locator('body')).evaluate(
      (element: { readonly innerText?: unknown }, [from, to]): [number, string] => {
        const text = String(element.innerText ?? '');
        return [text.length, text.slice(from, to)];
      },
      [offset, offset + charsMax] as const,
    );
    return { text: part.slice(0, charsMax).toWellFormed(), textTotal: total };
  }
  // A large page on a busy machine takes longer than an action may: the time of the call is the bound.
  const tree = compactTree(await (root ?? page).ariaSnapshot({ mode: 'ai', timeout: 0, signal }));
  return { text: tree.slice(offset, offset + charsMax).toWellFormed(), textTotal: tree.length };
}

async function screenshot(
  host: BrowserHost,
  { isFullPage, target }: Extract<DriverCommand, { action: 'screenshot' }>,
  signal: AbortSignal,
): Promise<Outcome> {
  const { page } = host;
  shots += 1;
  const file = path.join(host.folder, 'shots', `shot-${shots}.png`);
  rmSync(path.join(host.folder, 'shots', `shot-${shots - shotsKept}.png`), { force: true });
  const options = { path: file, type: 'png', scale: 'css', signal } as const;
  if (target !== undefined) {
    const element = await findElement(page, target, signal);
    const { width = 0, height = 0 } = (await element.boundingBox({ signal })) ?? {};
    if (Math.max(width, height) > shotHeightMax) {
      throw new CommandError(
        'refused',
        `It is ${Math.round(width)} by ${Math.round(height)} pixels, which is too large.`,
      );
    }
    await element.screenshot(options);
  } else if (isFullPage) {
    const height = Number(await page.evaluate('document.documentElement.scrollHeight'));
    const width = page.viewportSize()?.width ?? 1280;
    const clip = { x: 0, y: 0, width, height: Math.min(Math.max(height || 0, 1), shotHeightMax) };
    await page.screenshot({ ...options, fullPage: true, clip });
  } else {
    await page.screenshot(options);
  }
  return { file: { path: file, name: `page-${shots}.png` } };
}

/** Acts on an element and waits for what follows from it. */
async function withElement(
  host: BrowserHost,
  target: ElementTarget,
  signal: AbortSignal,
  act: (element: Locator) => Promise<void>,
): Promise<Outcome> {
  const { page } = host;
  const element = await findElement(page, target, signal);
  await settled(host, page, async () => {
    try {
      await act(element);
    } catch (err) {
      signal.throwIfAborted();
      throw new CommandError('failed', explainAction(err, target), { cause: err });
    }
  });
  return {};
}

function explainAction(err: unknown, target: ElementTarget): string {
  const text = String(err);
  const what = describeTarget(target);
  const cover = /<([^>]{1,120})>[^\n]{0,120} intercepts pointer events/.exec(text)?.[1];
  if (cover !== undefined) return `${what} is covered by <${cover}>. Close or scroll away what covers it first.`;
  if (text.includes('element is not visible')) return `${what} is there but not visible.`;
  if (text.includes('element is not enabled')) return `${what} is disabled.`;
  if (text.includes('did not find some options')) return `${what} has no such option. Read it to see its options.`;
  if (text.includes('outside of the viewport')) return `${what} cannot be scrolled into view.`;
  return `${what}: ${firstLine(err)}`;
}

async function press(
  host: BrowserHost,
  { key, target }: Extract<DriverCommand, { action: 'press' }>,
  signal: AbortSignal,
): Promise<Outcome> {
  if (target !== undefined) {
    return await withElement(host, target, signal, async (element) => await element.press(key, { signal }));
  }
  const { page } = host;
  await settled(host, page, async () => {
    try {
      await page.keyboard.press(key);
    } catch (err) {
      signal.throwIfAborted();
      throw new CommandError('failed', firstLine(err), { cause: err });
    }
  });
  return {};
}

async function scroll(
  page: Page,
  { pixels, target }: Extract<DriverCommand, { action: 'scroll' }>,
  signal: AbortSignal,
): Promise<Outcome> {
  if (target !== undefined) {
    const element = await findElement(page, target, signal);
    await element.scrollIntoViewIfNeeded({ signal });
    return {};
  }
  // Many pages scroll inside an element: the one in the middle of the window that can.
  const place: unknown = await page.evaluate(
    `(() => {
      let element = document.elementFromPoint(innerWidth / 2, innerHeight / 2);
      while (element && !(element.scrollHeight > element.clientHeight + 1 && /auto|scroll/.test(getComputedStyle(element).overflowY)))
        element = element.parentElement;
      element ??= document.scrollingElement ?? document.documentElement;
      element.scrollBy({ top: ${pixels}, behavior: 'instant' });
      return Math.round(element.scrollTop) + ' of ' + Math.max(0, element.scrollHeight - element.clientHeight);
    })()`,
  );
  return { text: `Scrolled to ${String(place).slice(0, 40)} pixels.` };
}

async function evaluate(
  host: BrowserHost,
  { script, charsMax }: Extract<DriverCommand, { action: 'evaluate' }>,
  signal: AbortSignal,
): Promise<Outcome> {
  const { page } = host;
  const trimmed = script.trim().replace(/;+$/, '');
  const terminal = await page.context().newCDPSession(page);
  // A script that never ends would hold the page for ever.
  const stop = () => void terminal.send('Runtime.terminateExecution').catch(() => undefined);
  signal.addEventListener('abort', stop, { once: true });
  try {
    const value: unknown = await page.evaluate(wrap(`await (${trimmed}\n)`, charsMax)).catch(async (err: unknown) => {
      if (!String(err).includes('SyntaxError')) throw err;
      // Not an expression, so statements; a `return` among them gives the result.
      return await page.evaluate(wrap(`await (async () => { ${script}\n })()`, charsMax));
    });
    const text = typeof value === 'string' ? value : '';
    return { text: text.slice(0, charsMax).toWellFormed(), textTotal: text.length };
  } catch (err) {
    signal.throwIfAborted();
    throw new CommandError('failed', `The script failed: ${firstLine(err)}`, { cause: err });
  } finally {
    signal.removeEventListener('abort', stop);
    void terminal.detach().catch(() => undefined);
  }
}

/** The result comes back as text, cut inside the page; a function is called. */
function wrap(expression: string, charsMax: number): string {
  return `(async () => {
    let value = ${expression};
    if (typeof value === 'function') value = await value();
    const text = typeof value === 'string' ? value : JSON.stringify(value, undefined, 1);
    return String(text).slice(0, ${charsMax + 1});
  })()`;
}

async function listTabs(host: BrowserHost): Promise<Outcome> {
  const current = host.hasPage ? host.page : undefined;
  const lines = host.tabs.map(
    (page, index) => `${index + 1}${page === current ? ' (current)' : ''}: ${addressOf(page)}`,
  );
  return { text: lines.join('\n') };
}

async function wait(
  page: Page,
  { text, waitMs }: Extract<DriverCommand, { action: 'wait' }>,
  signal: AbortSignal,
): Promise<Outcome> {
  if (text === undefined) {
    await delay(waitMs, undefined, { signal });
    return {};
  }
  try {
    await page.getByText(text).filter({ visible: true }).first().waitFor({ timeout: waitMs, signal });
  } catch (err) {
    signal.throwIfAborted();
    throw new CommandError('timeout', `${JSON.stringify(text)} did not appear in ${waitMs / 1000} s.`, { cause: err });
  }
  return {};
}

async function download(
  host: BrowserHost,
  { target }: Extract<DriverCommand, { action: 'download' }>,
  signal: AbortSignal,
): Promise<Outcome> {
  if (target !== undefined) {
    const { page } = host;
    const began = page.waitForEvent('download', { timeout: downloadMs }).catch(() => undefined);
    await withElement(host, target, signal, async (element) => await element.click({ signal }));
    await began;
  }
  const found = host.takeDownload();
  if (found === undefined) {
    throw new CommandError('not_found', 'No download began. Name the link or button that starts it.');
  }
  downloads += 1;
  // The name is the site's: only its end is kept, below a name of our own.
  const ending = /\.[A-Za-z0-9]{1,10}$/.exec(found.suggestedFilename())?.[0] ?? '';
  const file = path.join(host.folder, 'downloads', `download-${downloads}${ending}`);
  const stop = () => void found.cancel().catch(() => undefined);
  signal.addEventListener('abort', stop, { once: true });
  try {
    await found.saveAs(file);
  } catch (err) {
    signal.throwIfAborted();
    throw new CommandError('failed', `The download failed: ${(await found.failure()) ?? firstLine(err)}`, {
      cause: err,
    });
  } finally {
    signal.removeEventListener('abort', stop);
    void found.delete().catch(() => undefined);
  }
  return { file: { path: file, name: found.suggestedFilename().slice(0, fileNameMax).toWellFormed() } };
}

async function upload(
  page: Page,
  { target, path: file }: Extract<DriverCommand, { action: 'upload' }>,
  signal: AbortSignal,
): Promise<Outcome> {
  const element = await findElement(page, target, signal);
  const isInput = await element.evaluate(
    (node: { readonly tagName?: unknown; readonly type?: unknown }) => node.tagName === 'INPUT' && node.type === 'file',
  );
  if (isInput) {
    await element.setInputFiles(file, { signal });
    return {};
  }
  const chooser = page.waitForEvent('filechooser', { timeout: 3_000 }).catch(() => undefined);
  await element.click({ signal });
  const asked = await chooser;
  if (asked === undefined) throw new CommandError('failed', `${describeTarget(target)} asks for no file.`);
  await asked.setFiles(file);
  return {};
}

/** Acts, then waits for the navigation that began by it, if one did. */
async function settled(host: BrowserHost, page: Page, act: () => Promise<void>): Promise<void> {
  let isOnTheWay = false;
  const { promise: arrived, resolve: end } = Promise.withResolvers<void>();
  const begin = (request: Request) => {
    if (isNavigation(page, request)) isOnTheWay = true;
  };
  const fail = (request: Request) => {
    if (isNavigation(page, request)) end();
  };
  const arrive = (frame: Frame) => {
    if (frame === page.mainFrame()) end();
  };
  const finish = () => end();
  page.on('request', begin);
  page.on('requestfailed', fail);
  page.on('framenavigated', arrive);
  page.on('close', finish);
  page.on('download', finish);
  try {
    await act();
    await delay(beginMs);
    await host.tabsArrived();
    if (isOnTheWay) await Promise.race([arrived, delay(arriveMs)]);
  } finally {
    page.off('request', begin);
    page.off('requestfailed', fail);
    page.off('framenavigated', arrive);
    page.off('close', finish);
    page.off('download', finish);
  }
  // What was opened by it is the current page now.
  if (host.hasPage) await loaded(host.page);
}

function isNavigation(page: Page, request: Request): boolean {
  return request.isNavigationRequest() && request.frame() === page.mainFrame();
}

async function loaded(page: Page): Promise<void> {
  await page.waitForLoadState('domcontentloaded', { timeout: arriveMs }).catch(() => undefined);
  await page.waitForLoadState('load', { timeout: loadMs }).catch(() => undefined);
}

function firstLine(err: unknown): string {
  const text = err instanceof Error ? err.message : String(err);
  return (text.split('\n')[0] ?? '').replace(/^[a-zA-Z.]+: /, '').slice(0, 400);
}
