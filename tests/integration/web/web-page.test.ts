import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { InboundEvent } from '#core/inbox/inbound.ts';
import { Browser, type Page } from '#tests/support/browser.ts';
import { openWebStage, type WebStage } from '#tests/support/web-stage.ts';

/** What models and strangers write to break out of a page. */
const hostile = `# <img src=x onerror="window.owned=1">

<script>window.owned=1</script> <svg/onload=window.owned=1> <iframe srcdoc="<script>parent.owned=1</script>"></iframe>

[click](javascript:window.owned=1) [data](data:text/html,<script>1</script>) <a href="javascript:window.owned=1">x</a>
![pixel](https://evil.example/pixel.png?leak=1) ![rel](/logout) [ref][1] <https://ok.example/?a="><script>window.owned=1</script>

\`\`\`html"><script>window.owned=1</script>
</code></pre><script>window.owned=1</script>
\`\`\`

| <style>*{display:none}</style> | b |
|---|---|
| <form action=/logout><button>x</button></form> | \`</td><script>window.owned=1</script>\` |

- [x] <input autofocus onfocus=window.owned=1>

[1]: javascript:window.owned=1 "t\\" onmouseover=window.owned=1"
&lt;script&gt;window.owned=1&lt;/script&gt; {{7*7}} \${7*7} </textarea><base href=//evil.example>`;

describe('the page in a real browser', () => {
  let stage: WebStage;
  let browser: Browser;
  let events: InboundEvent[];
  beforeAll(async () => {
    stage = await openWebStage({ loginAttemptsMax: 1_000 });
    browser = await Browser.start();
  });
  beforeEach(() => {
    events = [];
    stage.state.turns = [];
    stage.onEvent = async (event) => void events.push(event);
  });
  afterAll(async () => {
    await browser[Symbol.asyncDispose]();
    await stage[Symbol.asyncDispose]();
  });

  async function open(): Promise<Page> {
    const page = await browser.open(`${stage.server.url}/chat#login=${stage.loginToken}`);
    await connected(page);
    // The operator's newest conversation is open: that of the test before.
    await page.click('#new');
    await expect.poll(() => page.text('#empty')).toContain('What can I do');
    await connected(page);
    return page;
  }

  /** The conversation in the address is the one that is followed. */
  async function connected(page: Page): Promise<void> {
    const state = `({ thread: location.hash.slice(1), text: document.querySelector('#connection')?.textContent })`;
    await expect
      .poll(async () => {
        const { thread, text } = (await page.evaluate(state)) as { thread: string; text: string | undefined };
        return page.requests.some((url) => url.includes(`/chat/api/stream?thread=${thread}&`)) ? text : 'not asked for';
      })
      .toBe('');
  }

  async function says(page: Page, text: string): Promise<InboundEvent['conversation']> {
    const before = events.length;
    await page.evaluate(`document.querySelector('#text').focus()`);
    await page.type(text);
    await page.key('Enter');
    await expect.poll(() => events.length).toBe(before + 1);
    return events.at(-1)?.conversation ?? Promise.reject(new Error('nothing was said'));
  }

  const markdown = (text: string) => ({ parts: [{ type: 'markdown' as const, markdown: text }] });

  it('nothing a model, a stranger or a file name says runs, loads or leads anywhere it should not', async () => {
    const page = await open();
    const conversation = await says(page, hostile);
    await stage.turn(conversation, 'started');
    await stage.channel.draft(conversation, 5, hostile);
    await expect.poll(() => page.text('#live')).toContain('owned');
    await stage.channel.send(conversation, { ...markdown(hostile), draftId: 5 }, 'hostile');
    await stage.channel.send(
      conversation,
      {
        parts: [
          { type: 'notice', level: 'warn', markdown: hostile },
          { type: 'code', language: '"><script>window.owned=1</script>', text: hostile },
          { type: 'fields', fields: [['<b>x</b>', hostile]] },
          { type: 'progress', title: hostile, tasks: [{ id: '1', title: hostile, state: 'running', detail: hostile }] },
          {
            type: 'buttons',
            rows: [
              [
                { label: hostile, token: 'v1.a' },
                { label: 'go', url: 'javascript:window.owned=1' },
              ],
            ],
          },
          { type: 'file', name: '"><script>window.owned=1</script>.html', mime: 'text/html', dataBase64: 'AAAA' },
        ],
      },
      'hostile-2',
    );
    await expect.poll(() => page.text('#log')).toContain('{{7*7}}');
    await expect.poll(() => page.evaluate(`document.querySelectorAll('#log .file').length`)).toBe(1);
    const found = await page.evaluate(`({
      owned: window.owned ?? 0,
      inMessages: [...document.querySelectorAll('#log *, #live *')].map((element) => element.localName)
        .filter((name) => ['script','iframe','svg','img','style','form','base','object','embed','textarea'].includes(name)),
      handlers: [...document.querySelectorAll('#log *, #live *')]
        .flatMap((element) => element.getAttributeNames()).filter((name) => name.startsWith('on') || name === 'style'),
      links: [...document.querySelectorAll('#log a')].map((link) => [new URL(link.href).protocol, link.rel, link.target]),
      local: [...document.querySelectorAll('#log a:not(.file)')].filter((link) => link.host === location.host).length,
      text: document.querySelector('#log li.out').innerText,
    })`);
    expect(found).toMatchObject({ owned: 0, inMessages: [], handlers: [], local: 0 });
    const { links, text } = found as { links: string[][]; text: string };
    for (const [protocol, rel, target] of links) {
      expect(['http:', 'https:']).toContain(protocol);
      if (target === '_blank') expect(rel).toContain('noopener');
    }
    expect(text).toContain('<script>window.owned=1</script>');
    // Only our own server was ever asked for anything.
    expect(page.requests.filter((url) => !url.startsWith(stage.server.url) && url !== 'about:blank')).toEqual([]);
    expect(page.problems).toEqual([]);
  });

  it('a gateway that restarts is waited for, and what was said meanwhile is there once', async () => {
    const page = await open();
    const conversation = await says(page, 'before');
    await stage.channel.send(conversation, markdown('first answer'), 'r1');
    await expect.poll(() => page.text('#log')).toContain('first answer');
    await stage.restart();
    await stage.channel.send(conversation, markdown('second answer'), 'r2');
    await expect.poll(() => page.text('#log')).toContain('second answer');
    expect((await page.text('#log')).match(/second answer/g)).toHaveLength(1);
    expect((await page.text('#log')).match(/first answer/g)).toHaveLength(1);
  });

  it('words that could not be taken stay in the box, and trying again says them once', async () => {
    const page = await open();
    stage.state.refusals = 1;
    await page.evaluate(`document.querySelector('#text').focus()`);
    await page.type('do not lose me');
    await page.key('Enter');
    await expect.poll(() => page.text('#problem')).toContain('try again');
    expect(await page.evaluate(`document.querySelector('#text').value`)).toBe('do not lose me');
    await page.key('Enter');
    await expect.poll(() => events.length).toBe(1);
    await expect.poll(() => page.text('#log')).toContain('do not lose me');
    // The stream may show it before the answer comes that empties the box.
    await expect.poll(() => page.evaluate(`document.querySelector('#text').value`)).toBe('');
    expect((await page.text('#log')).match(/do not lose me/g)).toHaveLength(1);
  });

  it('buttons, forms and stop work, and an answer that grows is replaced by the final one', async () => {
    const page = await open();
    const conversation = await says(page, 'may I?');
    await stage.turn(conversation, 'started');
    await expect.poll(() => page.text('#busy')).toBe('Working…');
    await page.click('#stop');
    await expect.poll(() => events.at(-1)?.type).toBe('stop');
    await stage.channel.draft(conversation, 9, 'Half a **sent');
    await expect.poll(() => page.text('#live')).toBe('Half a sent');
    const buttons = { type: 'buttons' as const, rows: [[{ label: 'Deny with reason', token: 'v1.reason' }]] };
    await stage.channel.send(
      conversation,
      { parts: [{ type: 'markdown', markdown: 'Done.' }, buttons], draftId: 9 },
      'b1',
    );
    await expect.poll(() => page.text('#live')).toBe('');
    stage.onEvent = async (event) => {
      events.push(event);
      if (event.type !== 'action') return;
      await stage.channel.openForm(event.interactionToken, {
        token: 'form.1',
        title: 'Why not?',
        submitLabel: 'Deny',
        fields: [{ name: 'reason', label: 'Reason', isLong: true, isRequired: true, charsMax: 500 }],
      });
    };
    await page.click('#log .buttons button');
    await expect.poll(() => page.text('#dialog')).toContain('Why not?');
    await page.type('Too risky');
    await page.click('#submit');
    await expect
      .poll(() => events.at(-1))
      .toMatchObject({
        type: 'form',
        token: 'form.1',
        values: { reason: 'Too risky' },
      });
    await expect.poll(() => page.text('#dialog')).toBe('');
    await stage.channel.acknowledge(JSON.stringify({ ...conversation, key: 'other-press' }), {
      text: 'no',
      isAlert: true,
    });
    await stage.channel.edit(conversation, { ids: ['b1'] }, markdown('Denied by you.'), 'b1');
    await expect.poll(() => page.text('#log')).toContain('Denied by you.');
    expect(await page.evaluate(`document.querySelectorAll('#log .buttons').length`)).toBe(0);
    await stage.channel.delete(conversation, { ids: ['b1'] });
    await expect.poll(() => page.text('#log')).not.toContain('Denied by you.');
    expect(page.problems).toEqual([]);
  });

  it('the keyboard alone is enough, and every control has a name', async () => {
    const page = await open();
    await page.type('/he');
    await stage.channel.registerCommands([{ name: 'help', description: 'What I can do' }]);
    page.requests.length = 0;
    await page.goto(`${stage.server.url}/chat`);
    await connected(page);
    await page.evaluate(`document.querySelector('#text').focus()`);
    await page.type('/he');
    await expect.poll(() => page.text('#suggestions')).toContain('/help');
    await page.key('Tab');
    expect(await page.evaluate(`document.querySelector('#text').value`)).toBe('/help ');
    await page.type('line one');
    await page.key('Enter', { shift: true });
    await page.type('line two');
    await page.key('Enter');
    await expect.poll(() => events.at(-1)).toMatchObject({ type: 'command', name: 'help' });
    const nameless = await page.evaluate(`[...document.querySelectorAll('button, input, textarea, a')]
      .filter((element) => !(element.innerText || element.textContent.trim() || element.getAttribute('aria-label') ||
        element.labels?.[0]?.innerText || element.labels?.[0]?.textContent.trim())).map((element) => element.outerHTML)`);
    expect(nameless).toEqual([]);
    expect(await page.evaluate(`document.querySelector('#log').getAttribute('aria-live')`)).toBe('polite');
  });

  it.each([
    { width: 320, height: 640 },
    { width: 390, height: 780 },
    { width: 768, height: 1024 },
    { width: 1600, height: 900 },
  ])('at $width by $height nothing sticks out and the composer is in reach', async (size) => {
    const page = await open();
    await page.resize(size);
    const conversation = await says(page, `${'long'.repeat(100)} words`);
    const wide = `\`\`\`\n${'x'.repeat(400)}\n\`\`\`\n\n|${'head|'.repeat(12)}\n|${'-|'.repeat(12)}\n|${'cell cell|'.repeat(12)}`;
    await stage.channel.send(
      conversation,
      markdown(`${wide}\n\nhttps://example.com/${'a'.repeat(300)}`),
      `w${size.width}`,
    );
    await stage.turn(conversation, 'waiting', { waitingFor: 'approval' });
    await expect.poll(() => page.text('#log')).toContain('example.com');
    await expect.poll(() => page.text('#busy')).toBe('Waiting for a decision.');
    const box = await page.evaluate(`({
      page: document.documentElement.scrollWidth - innerWidth,
      scroll: document.querySelector('#scroll').scrollWidth - document.querySelector('#scroll').clientWidth,
      out: [...document.querySelectorAll('#log *')].filter((element) => element.getBoundingClientRect().right > innerWidth
        && element.closest('.wide, pre') === null).map((element) => element.outerHTML.slice(0, 80)),
      send: document.querySelector('#send').getBoundingClientRect().bottom <= innerHeight &&
        document.querySelector('#send').getBoundingClientRect().right <= innerWidth,
      text: document.querySelector('#text').getBoundingClientRect().width,
    })`);
    expect(box).toMatchObject({ out: [], page: 0, scroll: 0, send: true });
    expect((box as { text: number }).text).toBeGreaterThan(100);
  });

  it('whoever reads the end stays there, and whoever reads above is left alone', async () => {
    const page = await open();
    const conversation = await says(page, 'tell me a long story');
    const paragraph = 'Once upon a time there was a very long story.\n\n'.repeat(30);
    await stage.channel.send(conversation, markdown(paragraph), 'story-1');
    const left = `(() => { const box = document.querySelector('#scroll'); return box.scrollHeight - box.scrollTop - box.clientHeight; })()`;
    await expect.poll(() => page.text('#log')).toContain('Once upon a time');
    await expect.poll(() => page.evaluate(left)).toBeLessThan(5);
    await stage.turn(conversation, 'started');
    await stage.channel.draft(conversation, 4, paragraph);
    await expect.poll(() => page.text('#live')).toContain('Once upon a time');
    await expect.poll(() => page.evaluate(left)).toBeLessThan(5);
    await page.evaluate(`document.querySelector('#scroll').scrollTop = 100`);
    await stage.channel.send(conversation, { ...markdown('The end.'), draftId: 4 }, 'story-2');
    await expect.poll(() => page.text('#log')).toContain('The end.');
    // What follows the end does so when the next picture is drawn.
    await page.evaluate(`new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))`);
    expect(await page.evaluate(`document.querySelector('#scroll').scrollTop`)).toBe(100);
  });

  it('conversations are listed, and a new one begins empty', async () => {
    const page = await open();
    await says(page, 'the first conversation of this test');
    await expect.poll(() => page.text('#threads')).toContain('the first conversation of this test');
    await page.click('#new');
    await expect.poll(() => page.text('#log')).toBe('');
    await connected(page);
    await says(page, 'the second conversation of this test');
    await expect.poll(() => page.text('#threads')).toContain('the second conversation');
    const first = `[...document.querySelectorAll('#threads a')].find((link) => link.textContent.includes('the first conversation'))`;
    await page.evaluate(`${first}.click()`);
    await expect.poll(() => page.text('#log')).toContain('the first conversation');
    expect(await page.text('#log')).not.toContain('the second');
    expect(await page.evaluate(`${first}.getAttribute('aria-current')`)).toBe('page');
  });
});
