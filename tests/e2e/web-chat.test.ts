import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { Browser, type Page } from '../support/browser.ts';
import { Product } from '../support/product.ts';

const hands = {
  name: 'assistant',
  frontMatter: `tools: [exec, read_file, send_file]
autonomy: supervised
grants:
  - allow: file.*
  - ask: tool.exec`,
};

/** The link `up` prints, which logs a browser in as the operator. */
function loginLink(product: Product): string {
  const link = /In a browser\s+(\S+#login=\S+)/.exec(product.output)?.[1];
  if (link === undefined) throw new Error(`no link was printed:\n${product.output}`);
  return link;
}

async function ready(page: Page): Promise<void> {
  const state = `document.querySelector('#connection')?.textContent ?? 'loading'`;
  await expect.poll(() => page.evaluate(state)).toBe('');
}

async function says(page: Page, text: string): Promise<void> {
  await page.click('#text');
  await page.evaluate('document.querySelector("#text").focus()');
  await page.type(text);
  await page.key('Enter');
}

/** Gives files to the page as a person who picks them does. */
async function attaches(page: Page, folder: string, name: string, content: string | Buffer): Promise<void> {
  const file = path.join(folder, name);
  writeFileSync(file, content);
  const { root } = (await page.call('DOM.getDocument')) as { root: { nodeId: number } };
  const { nodeId } = (await page.call('DOM.querySelector', { nodeId: root.nodeId, selector: '#attach' })) as {
    nodeId: number;
  };
  await page.call('DOM.setFileInputFiles', { nodeId, files: [file] });
  await expect.poll(() => page.text('#files')).toMatch(/bytes|kB|MB/);
}

describe('the web chat of the whole product', () => {
  test('someone without any bot token chats, approves, gives a file and gets one back', async () => {
    await using product = await Product.prepare({
      agents: [hands],
      env: { TELEGRAM_BOT_TOKEN: '' },
      script: [
        {
          text: 'Let me look.',
          toolCalls: [{ name: 'exec', arguments: { command: 'sort inbox/list.csv > sorted.csv' } }],
        },
        { toolCalls: [{ name: 'send_file', arguments: { path: 'sorted.csv', caption: 'Here it **is**.' } }] },
        { text: 'Your list is sorted.' },
      ],
    });
    await product.start('up');
    await using browser = await Browser.start();
    const page = await browser.open(loginLink(product), { width: 390, height: 780 });
    await ready(page);
    await attaches(page, product.folder, 'list.csv', 'pear,2\napple,1\n');
    await says(page, 'Sort this, please');
    await expect.poll(() => page.text('#log'), { timeout: 40_000 }).toContain('Approve');
    await expect.poll(() => page.text('#busy')).toBe('Waiting for a decision.');
    await page.evaluate(
      `[...document.querySelectorAll('#log button')].find((button) => button.textContent === 'Approve').click()`,
    );
    await expect.poll(() => page.text('#log'), { timeout: 40_000 }).toContain('Your list is sorted.');
    const said = await page.text('#log');
    expect(said).toContain('list.csv');
    expect(said).toContain('sorted.csv · 15 bytes');
    await expect.poll(() => page.text('#log')).toMatch(/Approved by/);
    const sorted = await page.evaluate(
      `fetch([...document.querySelectorAll('#log a.file')].at(-1).href).then((answer) => answer.text())`,
    );
    expect(sorted).toBe('apple,1\npear,2\n');
    // The model was told where the file is and what it is.
    expect(JSON.stringify(product.model.requests[0]?.body)).toContain('[attached: inbox/list.csv (text/');
    expect(page.problems).toEqual([]);
  });

  test('a stranger pairs with a code in the browser and is answered only then', async () => {
    await using product = await Product.prepare({
      agents: [{ name: 'assistant', frontMatter: 'tools: []' }],
      script: [{ text: 'Hello **friend**.' }],
      env: { TELEGRAM_BOT_TOKEN: '' },
    });
    await product.start('up');
    const link = loginLink(product);
    const { stdout } = await product.cli(['pair', '--role', 'member']);
    const code = /([0-9A-Z]{4}-[0-9A-Z]{4})/.exec(stdout)?.[1] ?? '';
    await using browser = await Browser.start();
    const page = await browser.open(`${link.split('#')[0]}#pair=${code}`);
    await ready(page);
    await expect.poll(() => page.text('#pair')).toContain('pairing code');
    await expect.poll(() => page.evaluate(`document.querySelector('#code').value`)).toBe(code);
    expect(await page.text('#composer')).toBe('');
    await page.click('#pair button');
    await expect.poll(() => page.text('#log')).toContain('We are paired');
    await expect.poll(() => page.evaluate(`document.querySelector('#composer').hidden`)).toBe(false);
    await says(page, 'hi');
    await expect.poll(() => page.text('#log')).toContain('Hello friend.');
    expect(page.problems).toEqual([]);
  });
});
