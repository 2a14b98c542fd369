import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { isAppError } from '#core/kit/errors.ts';
import { attack } from '#tests/support/attack.ts';
import { type BrowserStage, type BrowserWorker, openBrowserStage, read } from '#tests/support/browser-stage.ts';
import { eventually } from '#tests/support/eventually.ts';
import type { ElementTarget } from '#workers/browser/driver-protocol.ts';
import { injected } from '../fakes/web/pages/shop.ts';

let stage: BrowserStage;
let worker: BrowserWorker;
let sessions = 0;

beforeAll(async () => {
  stage = await openBrowserStage();
  worker = stage.worker();
}, 600_000);
afterAll(async () => await stage[Symbol.asyncDispose]());
// A browser is a heavy thing to leave standing about.
afterEach(async () => await stage.removeContainers());

const never = new AbortController().signal;

function newSession(): string {
  sessions += 1;
  return `b-${process.pid}-${sessions}`;
}

async function visit(session: string, path = '/') {
  return await worker.use(session, { action: 'navigate', url: `${stage.url}${path}`, isNewTab: false });
}

async function click(session: string, target: ElementTarget) {
  return await worker.use(session, { action: 'click', target });
}

async function script(session: string, text: string, timeoutMs = 40_000) {
  return await worker.use(session, { action: 'evaluate', script: text, charsMax: 2_000 }, { timeoutMs });
}

function textOf(reply: Awaited<ReturnType<BrowserWorker['use']>>): string {
  return reply.ok ? (reply.text ?? '') : reply.message;
}

test('a page is opened through the gateway, read as a tree, and used by role and name', async () => {
  const session = newSession();
  expect(await visit(session)).toMatchObject({
    ok: true,
    isNew: true,
    page: { title: 'Tea shop', status: 200, tab: 1 },
  });
  const tree = textOf(await worker.use(session, read));
  expect(tree).toMatch(/link "Price list" \[ref=e\d+\]/);
  expect(tree).toMatch(/button "Add Sencha to cart" \[ref=e\d+\]/);
  expect(tree).not.toContain('Nobody sees this');

  expect(await click(session, { role: 'button', name: 'Add Assam to cart' })).toMatchObject({
    ok: true,
    hasMoved: false,
  });
  const status = { role: 'status' };
  expect(textOf(await worker.use(session, { ...read, target: status }))).toContain('Assam is in the cart.');

  const search = { name: 'Search' };
  const typed = await worker.use(session, { action: 'type', target: search, text: 'green', isSubmit: true });
  expect(typed).toMatchObject({
    ok: true,
    hasMoved: true,
    page: { title: 'Found', url: `${stage.url}/found?q=green` },
  });
  expect(await worker.use(session, { action: 'back' })).toMatchObject({ ok: true, page: { title: 'Tea shop' } });

  const ref = /link "About us" \[ref=(e\d+|f\d+e\d+)\]/.exec(textOf(await worker.use(session, read)))?.[1] ?? '';
  expect(await click(session, { ref })).toMatchObject({ ok: true, page: { title: 'About' } });
  expect(stage.shop.requests).toContain('GET /found?q=green');
  expect(stage.records.find(({ host }) => host === 'shop.test')).toBeDefined();
});

test('what cannot be found is told with names that are near, and what fits twice with refs', async () => {
  const session = newSession();
  await visit(session);
  const missed = await click(session, { role: 'button', name: 'Add Senca to cart' });
  expect(missed).toMatchObject({ ok: false, kind: 'not_found' });
  expect(textOf(missed)).toMatch(/Near: button "Add Sencha to cart" \((f\d+)?e\d+\)/);
  const several = await click(session, { role: 'button', name: 'to cart' });
  expect(several).toMatchObject({ ok: false, kind: 'ambiguous' });
  expect(textOf(several)).toMatch(/^3 elements fit button "to cart". Use a ref: button "Add Sencha/);
  expect(await click(session, { ref: 'e99999' })).toMatchObject({ ok: false, kind: 'not_found' });
  expect(await click(session, { css: '#nothing' })).toMatchObject({ ok: false, kind: 'not_found' });
});

test('options are selected, waiting ends with the text, dialogs are dismissed and told', async () => {
  const session = newSession();
  await visit(session);
  const size = { role: 'combobox', name: 'Size' };
  expect(await worker.use(session, { action: 'select', target: size, values: ['Large bag'] })).toMatchObject({
    ok: true,
  });
  expect(textOf(await script(session, 'document.querySelector("select").value'))).toBe('l');
  expect(textOf(await worker.use(session, { action: 'select', target: size, values: ['Huge bag'] }))).toContain(
    'no such option',
  );
  await click(session, { name: 'Deliver later' });
  expect(await worker.use(session, { action: 'wait', text: 'Delivered', waitMs: 30_000 })).toMatchObject({ ok: true });
  expect(await click(session, { name: 'Ask me' })).toMatchObject({
    ok: true,
    notices: [expect.stringContaining('dismissed: Really?')],
    page: { title: 'not confirmed' },
  });
});

test('scripts give their value as text; one that never ends is stopped and the page lives on', async () => {
  const session = newSession();
  await visit(session);
  expect(textOf(await script(session, 'document.title'))).toBe('Tea shop');
  expect(textOf(await script(session, 'const a = 1; return { a }'))).toBe('{\n "a": 1\n}');
  expect(
    textOf(await script(session, 'async () => [...document.querySelectorAll("h2")].map((each) => each.textContent)')),
  ).toContain('Assam');
  expect(textOf(await script(session, 'nowhere.x'))).toContain('nowhere is not defined');
  expect(await script(session, 'for (;;);', 1_000)).toMatchObject({ ok: false, kind: 'timeout' });
  expect(textOf(await script(session, 'document.title'))).toBe('Tea shop');
});

test('tabs are listed, opened by pages, switched to and closed', async () => {
  const session = newSession();
  await visit(session);
  const opened = await click(session, { role: 'link', name: 'In a new tab' });
  expect(opened).toMatchObject({ ok: true, page: { title: 'About', tab: 2, tabs: 2 } });
  expect(opened.notices.join()).toContain('new tab');
  expect(textOf(await worker.use(session, { action: 'tabs' }))).toBe(
    `1: ${stage.url}/\n2 (current): ${stage.url}/about`,
  );
  expect(await worker.use(session, { action: 'switch', tab: 1 })).toMatchObject({
    ok: true,
    page: { title: 'Tea shop' },
  });
  expect(await worker.use(session, { action: 'close', tab: 1 })).toMatchObject({
    ok: true,
    page: { title: 'About', tabs: 1 },
  });
  expect(await worker.use(session, { action: 'switch', tab: 7 })).toMatchObject({ ok: false, kind: 'not_found' });
});

test('downloads and pictures are files of the container, and files are given to pages', async () => {
  const session = newSession();
  await visit(session);
  const sandbox = await worker.open(session);
  const loaded = await worker.use(session, { action: 'download', target: { role: 'link', name: 'Price list' } });
  if (!loaded.ok || loaded.file === undefined) throw new Error(textOf(loaded));
  // The name is the site's wish and nothing else: where the file lies is ours.
  expect(loaded.file.path).toMatch(/^\/workspace\/downloads\/download-\d+\.csv$/);
  const { bytes } = await sandbox.readBytes(loaded.file.path, { bytesMax: 1_000, signal: never });
  expect(bytes.toString()).toBe('tea,price\nSencha,4\n');

  const shot = await worker.use(session, { action: 'screenshot', isFullPage: true });
  if (!shot.ok || shot.file === undefined) throw new Error(textOf(shot));
  const picture = await sandbox.readBytes(shot.file.path, { bytesMax: 5_000_000, signal: never });
  expect(picture.bytes.subarray(1, 4).toString()).toBe('PNG');
  expect(picture.bytes.readUInt32BE(16)).toBe(1280);
  expect(picture.bytes.readUInt32BE(20)).toBeGreaterThan(3_000);

  await sandbox.writeFile('/workspace/uploads/cup.txt', 'a cup of tea', { append: false, signal: never });
  const upload = { action: 'upload', target: { name: 'Photo' }, path: '/workspace/uploads/cup.txt' } as const;
  expect(await worker.use(session, upload)).toMatchObject({ ok: true });
  expect(await click(session, { name: 'Send photo' })).toMatchObject({ ok: true, page: { title: 'Thanks' } });
  expect(stage.shop.uploads.at(-1)?.toString()).toContain('a cup of tea');
});

test('a long page is read in parts, with its whole length told', async () => {
  const session = newSession();
  await visit(session, '/huge');
  const first = await worker.use(session, { action: 'read', isText: true, offset: 0, charsMax: 1_000 });
  expect(textOf(first)).toHaveLength(1_000);
  if (!first.ok) throw new Error(first.message);
  expect(first.textTotal).toBeGreaterThan(800_000);
  const last = { action: 'read', isText: true, offset: (first.textTotal ?? 0) - 10, charsMax: 1_000 } as const;
  expect(textOf(await worker.use(session, last)).length).toBeLessThanOrEqual(10);
  expect(textOf(await worker.use(session, { ...read, charsMax: 500 }))).toHaveLength(500);
});

attack('browser', 'every other way out, whatever a page tries', 'no network but the gateway', async () => {
  const session = newSession();
  await visit(session);
  const refused = await worker.use(session, { action: 'navigate', url: 'http://other.test/', isNewTab: false });
  expect(refused.page.status).toBe(403);
  const tunnel = await worker.use(session, { action: 'navigate', url: 'https://other.test/', isNewTab: false });
  expect(tunnel).toMatchObject({ ok: false });
  expect(textOf(tunnel)).toContain('gateway refused other.test');
  // An allowed host is reached through a tunnel, as its certificate shows, and not believed.
  const forged = await worker.use(session, { action: 'navigate', url: stage.secureUrl, isNewTab: false });
  expect(textOf(forged)).toContain('its certificate is not valid for it (ERR_CERT_AUTHORITY_INVALID)');
  for (const url of [
    'file:///etc/passwd',
    'chrome://version',
    'view-source:http://shop.test',
    'javascript:1',
    'data:text/html,x',
  ]) {
    const reply = await worker.use(session, { action: 'navigate', url, isNewTab: false });
    expect(reply, url).toMatchObject({ ok: false, kind: 'refused' });
  }
  await visit(session);
  // 127.0.0.1 with any port is the container itself, where only the forwarder to the gateway listens.
  for (const url of [
    'http://169.254.169.254/latest/meta-data/',
    'http://127.0.0.1:1/',
    'http://[::1]:1/',
    'http://localhost:1/',
  ]) {
    const reached = await script(
      session,
      `fetch(${JSON.stringify(url)}, { mode: 'no-cors' }).then((r) => r.type, () => 'failed')`,
    );
    const isSeen = stage.records.some(
      ({ host }) => new URL(url).hostname === host || new URL(url).hostname === `[${host}]`,
    );
    expect(`${url} ${textOf(reached) === 'failed' || isSeen}`).toBe(`${url} true`);
  }
  const away = await visit(session, `/away?to=${encodeURIComponent('http://169.254.169.254/')}`);
  expect(away.page.status).toBe(403);
  await visit(session);
  expect(textOf(await script(session, 'typeof RTCPeerConnection + typeof webkitRTCPeerConnection'))).toBe(
    'undefinedundefined',
  );
  expect(
    textOf(await script(session, "navigator.permissions.query({ name: 'geolocation' }).then((p) => p.state)")),
  ).toBe('denied');
});

attack(
  'browser',
  'a page that hangs, opens tabs or asks without end',
  'it costs its tab',
  async () => {
    const session = newSession();
    await visit(session, '/pushy');
    const pushed = await click(session, { name: 'More' });
    expect(pushed.page.tabs).toBeLessThanOrEqual(10);
    expect(pushed.notices.length).toBeLessThanOrEqual(20);
    await visit(session, '/busy');
    const stuck = await eventually(async () => {
      const reply = await worker.use(session, read, { timeoutMs: 1_000 });
      expect(reply.ok).toBe(false);
      return reply;
    });
    expect(stuck.notices.join()).toContain('did not respond any more');
    expect(await visit(session)).toMatchObject({ ok: true, isNew: false, page: { title: 'Tea shop' } });
  },
  90_000,
);

attack(
  'browser',
  'a page that takes all memory',
  'it costs a tab or the browser',
  async () => {
    const session = newSession();
    await visit(session);
    const hog = 'const all = []; for (;;) all.push(new Uint8Array(8_000_000).fill(1));';
    const ended = await script(session, hog, 30_000).then(
      (reply) => (reply.ok ? 'answered' : `told: ${reply.message} ${reply.notices.join(' ')}`),
      (err: unknown) => (isAppError(err) ? `ended: ${err.code}` : String(err)),
    );
    expect(ended).toMatch(/^told: .*(crashed|memory|allocation|closed)|^ended: sandbox\.(lost|oom)$/s);
    await eventually(
      async () => expect(await visit(session)).toMatchObject({ ok: true, page: { title: 'Tea shop' } }),
      { interval: 500 },
    );
  },
  120_000,
);

attack('browser', 'an endless download, a site that never answers', 'ended at their time', async () => {
  const session = newSession();
  await visit(session);
  const endless = { action: 'download', target: { role: 'link', name: 'All prices' } } as const;
  expect(await worker.use(session, endless, { timeoutMs: 2_000 })).toMatchObject({ ok: false });
  const silent = { action: 'navigate', url: `${stage.url}/silent`, isNewTab: false } as const;
  expect(await worker.use(session, silent, { timeoutMs: 1_500 })).toMatchObject({ ok: false });
  expect(await visit(session)).toMatchObject({ ok: true, isNew: false, page: { title: 'Tea shop' } });
  const sandbox = await worker.open(session);
  const command = 'du -sk /workspace | cut -f1';
  // What was loaded of it goes.
  await eventually(async () => {
    const used = await sandbox.exec({ command, timeoutMs: 20_000, outputBytesMax: 1_000, signal: never });
    expect(Number(used.output)).toBeLessThan(10_000);
  });
});

attack('browser', 'file://, local pages and the debugging port', 'closed: the driver speaks over pipes', async () => {
  const session = newSession();
  await visit(session);
  expect(textOf(await script(session, "fetch('file:///etc/passwd').then((r) => r.text(), () => 'failed')"))).toBe(
    'failed',
  );
  const framed = `new Promise((resolve) => {
    const frame = document.createElement('iframe');
    frame.src = 'file:///etc/passwd';
    frame.onload = frame.onerror = () => resolve(String(frame.contentDocument?.body?.innerText ?? 'foreign'));
    document.body.append(frame);
    setTimeout(() => resolve('nothing'), 1_000);
  })`;
  expect(textOf(await script(session, framed))).not.toContain('root:');
  const sandbox = await worker.open(session);
  // Listening sockets: the forwarder to the gateway, and no port to debug the browser by.
  const command = 'awk \'$4 == "0A" { print $2 }\' /proc/net/tcp /proc/net/tcp6';
  const { output } = await sandbox.exec({ command, timeoutMs: 20_000, outputBytesMax: 1_000, signal: never });
  expect(output.trim()).toBe('0100007F:0C38');
});

attack(
  'browser',
  'a page that becomes another site under an action',
  'the site is compared before the action',
  async () => {
    const session = newSession();
    await visit(session);
    const reply = await worker.use(session, { action: 'click', target: { name: 'Find' } }, { onHost: 'bank.test' });
    expect(reply).toMatchObject({ ok: false, kind: 'refused' });
  },
);

test('a stop gives the call up at once and leaves the browser usable', async () => {
  const session = newSession();
  await visit(session);
  const stop = new AbortController();
  const waiting = worker.use(session, { action: 'wait', text: 'never there', waitMs: 15_000 }, { signal: stop.signal });
  setTimeout(() => stop.abort(new Error('stopped')), 300);
  await expect(waiting).rejects.toThrow('stopped');
  expect(await worker.use(session, read)).toMatchObject({ ok: true, isNew: false });
});

test('a browser that dies is replaced, and so is one whose container died', async () => {
  const session = newSession();
  await visit(session);
  const sandbox = await worker.open(session);
  await sandbox.exec({ command: 'pkill -9 chromium', timeoutMs: 20_000, outputBytesMax: 1_000, signal: never });
  await eventually(() => expect(worker.browsers.pageOf(session)).toBeUndefined());
  expect(await visit(session)).toMatchObject({ ok: true, isNew: true });
  const [container] = await stage.engine.listContainers({ filters: { label: [`switchyard.session=${session}`] } });
  await stage.engine.getContainer(container?.Id ?? '').kill();
  await eventually(() => expect(worker.browsers.pageOf(session)).toBeUndefined());
  expect(await visit(session)).toMatchObject({ ok: true, isNew: true });
});

test('an idle browser is frozen with its page, and woken by the next call', async () => {
  const quick = stage.worker({ pauseAfterMs: 300 });
  const session = newSession();
  await quick.use(session, { action: 'navigate', url: `${stage.url}/about`, isNewTab: false });
  const filters = { label: [`switchyard.session=${session}`], status: ['paused'] };
  await eventually(async () => expect(await stage.engine.listContainers({ filters })).toHaveLength(1));
  const woken = await quick.use(session, read);
  expect(woken).toMatchObject({ ok: true, isNew: false, page: { title: 'About' } });
  await quick.close();
});

test('another worker takes the session over with a browser of its own', async () => {
  const first = stage.worker();
  const session = newSession();
  await first.use(session, { action: 'navigate', url: `${stage.url}/about`, isNewTab: false });
  const second = stage.worker();
  expect(await second.use(session, read)).toMatchObject({ ok: false, kind: 'no_page', isNew: true });
  expect(await second.use(session, { action: 'navigate', url: `${stage.url}/`, isNewTab: false })).toMatchObject({
    ok: true,
    isNew: false,
  });
});

attack('browser', 'instructions to the model in a page', 'given as the words of a page', async () => {
  const session = newSession();
  await visit(session);
  expect(textOf(await worker.use(session, { ...read, isText: true }))).toContain(injected);
});

attack('browser', 'the browser’s own rights', 'a container of its own, with none', async () => {
  const session = newSession();
  await visit(session);
  const [found] = await stage.engine.listContainers({ filters: { label: [`switchyard.session=${session}`] } });
  const { HostConfig, Mounts } = await stage.engine.getContainer(found?.Id ?? '').inspect();
  expect(HostConfig).toMatchObject({ NetworkMode: 'none', ReadonlyRootfs: true, CapDrop: ['ALL'], Memory: 1 << 30 });
  expect(Mounts.map(({ Destination }) => Destination)).toEqual(['/run/host']);
  const sandbox = await worker.open(session);
  const command = "ps -eo uid,comm | grep -E 'node|chrom' | awk '{print $1}' | sort -u; cat /proc/net/dev | grep -c :";
  const { output } = await sandbox.exec({ command, timeoutMs: 20_000, outputBytesMax: 1_000, signal: never });
  expect(output.trim().split('\n')[0]).toBe('10001');
});
