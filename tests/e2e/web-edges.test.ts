import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '#tests/support/eventually.ts';
import { Browser, type Page } from '../support/browser.ts';
import { freePort } from '../support/free-port.ts';
import { Product } from '../support/product.ts';
import { memoryAsker, scriptedBrain } from '../support/scripted-brain.ts';

let product: Product;
let browser: Browser;
/** Of the operator. */
let page: Page;

beforeAll(async () => {
  product = await Product.prepare({
    agents: [memoryAsker],
    script: scriptedBrain,
    env: { TELEGRAM_BOT_TOKEN: '', SWITCHYARD_PORT: String(await freePort()) },
  });
  await product.start('up');
  browser = await Browser.start();
  page = await opens();
});
afterAll(async () => {
  await browser[Symbol.asyncDispose]();
  await product[Symbol.asyncDispose]();
});

/** A tab of the operator, logged in by the printed link; it shows their newest conversation. */
async function opens(): Promise<Page> {
  const link = /In a browser\s+(\S+#login=\S+)/.exec(product.output)?.[1];
  if (link === undefined) throw new Error(`no link was printed:\n${product.output}`);
  const opened = await browser.open(link);
  await connected(opened);
  return opened;
}

async function connected(tab: Page): Promise<void> {
  const state = `document.querySelector('#connection')?.textContent ?? 'loading'`;
  await eventually(async () => expect(await tab.evaluate(state)).toBe(''));
}

async function says(tab: Page, text: string): Promise<void> {
  await tab.evaluate('document.querySelector("#text").focus()');
  await tab.type(text);
  await tab.key('Enter');
}

/** Asks for something that needs a word; waits for its buttons. */
async function asksFor(tab: Page, what: string): Promise<void> {
  await says(tab, `call: memory_save {"text":"${what}"}`);
  await shows(tab, what);
}

/** Waits until the card that asks about this is there, and keeps its Approve button as `card` even after it is gone. */
async function shows(tab: Page, what: string): Promise<void> {
  const find = `window.card = [...document.querySelectorAll('#log button')].findLast((button) =>
    button.textContent === 'Approve' && button.closest('li').innerText.includes(${JSON.stringify(what)}))`;
  await expect.poll(() => tab.evaluate(`(${find}) !== undefined`)).toBe(true);
}

/** Begins a new conversation; what stood in the old one is gone when it returns. */
async function begins(tab: Page): Promise<void> {
  // Only the stream of the new conversation takes this away.
  await tab.evaluate(`document.querySelector('#connection').textContent = 'of before'`);
  await tab.click('#new');
  await connected(tab);
}

/** The words stay in their element after they are hidden. */
async function toast(tab: Page, pattern: RegExp): Promise<void> {
  await expect.poll(() => tab.evaluate(`document.querySelector('#toast').textContent`)).toMatch(pattern);
}

const buttons = `[...document.querySelectorAll('#log .buttons button:not([disabled])')].length`;

test('Stop ends the run at once and keeps what was written as a message', async () => {
  await says(page, `endless: ${'word '.repeat(60).trim()}`);
  await expect.poll(() => page.text('#live')).toContain('word word');
  await page.click('#stop');
  await expect.poll(() => page.text('#log')).toContain('Stopped.');
  await expect.poll(() => page.text('#live')).toBe('');
  const answers = `[...document.querySelectorAll('#log li.out')].filter((item) => /word word/.test(item.innerText)).length`;
  await expect.poll(() => page.evaluate(answers)).toBe(1);
  await product.rests();
  const [run] = await product.database.query<{ state: string; took: number }>(
    `select t.state, extract(epoch from t.finished_at - i.received_at)::float8 as took
     from turn t, inbox i where t.payload ->> 'text' like 'endless:%' and i.raw ->> 'kind' = 'stop'`,
  );
  expect(run?.state).toBe('cancelled');
  expect(run?.took).toBeLessThan(10);
});

test('an approval in two tabs at once is decided once, and the other tab reads by whom', async () => {
  await begins(page);
  await asksFor(page, 'a heron');
  const other = await opens();
  await shows(other, 'a heron');
  // A second click on the same button does nothing: it is switched off by the first.
  await Promise.all([page.evaluate('card.click(), card.click()'), other.evaluate('card.click()')]);
  await expect.poll(() => page.text('#log')).toContain('Remembered: a heron');
  // The words stay in their element after they are hidden.
  const told = async (): Promise<string> =>
    (await Promise.all([page, other].map((tab) => tab.evaluate(`document.querySelector('#toast').textContent`))))
      .map(String)
      .sort()
      .join(' | ');
  await expect.poll(told).toMatch(/^Approved\. \| This was already approved by .+ at .+$/);
  await expect.poll(() => other.evaluate(buttons)).toBe(0);
  const verdicts = `select 1 from approval_verdict v join approval a on a.id = v.approval_id where a.summary like '%heron%'`;
  expect(await product.database.query(verdicts)).toHaveLength(1);
});

test('whoever may not decide is told alone, the buttons stay and the attempt is on the audit', async () => {
  const { stdout } = await product.cli(['pair', '--role', 'member', '--json']);
  const { code } = JSON.parse(stdout) as { code: string };
  const guest = await browser.open(`${String(await page.evaluate('location.origin'))}/chat#pair=${code}`);
  await connected(guest);
  await expect.poll(() => guest.evaluate(`document.querySelector('#code').value`)).toBe(code);
  await guest.click('#pair button');
  await expect.poll(() => guest.text('#log')).toContain('We are paired');
  await expect.poll(() => guest.evaluate(`document.querySelector('#composer').hidden`)).toBe(false);
  await asksFor(guest, 'a stork');
  await guest.evaluate('card.click()');
  await toast(guest, /You may not decide this/);
  await expect.poll(() => guest.evaluate(buttons)).toBeGreaterThan(0);
  expect(await page.text('#toast')).not.toMatch(/You may not decide/);
  const refused = `select 1 from audit_body where body ->> 'kind' = 'approval.refused'`;
  expect(await product.database.query(refused)).toHaveLength(1);
});

test('a button of before a restart whose time is over says so, and the card has no buttons any more', async () => {
  await begins(page);
  await asksFor(page, 'an egret');
  await product.kill('up');
  await product.database.query(
    `update approval set created_at = now() - interval '2 hours', expires_at = now() - interval '1 hour'
     where state = 'pending'`,
  );
  await product.start('up');
  await expect.poll(() => page.text('#log')).toContain('Expired');
  await expect.poll(() => page.evaluate(buttons)).toBe(0);
  await page.evaluate('card.click()');
  await toast(page, /This request expired at/);
  expect(await page.text('#log')).not.toContain('Remembered: an egret');
});
