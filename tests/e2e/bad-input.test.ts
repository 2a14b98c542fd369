import { execFileSync } from 'node:child_process';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { eventually } from '#tests/support/eventually.ts';
import { prepareCrew, until } from '../support/crash-stage.ts';
import { freePort } from '../support/free-port.ts';
import { owner, Product } from '../support/product.ts';
import { scriptedBrain } from '../support/scripted-brain.ts';

vi.setConfig({ testTimeout: 300_000 });

const megabyte = 2 ** 20;
const assistant = {
  name: 'assistant',
  frontMatter: `tools: [exec]
autonomy: autonomous
grants:
  - allow: tool.exec`,
};

/** A terminal of the operator, over the gateway's own interface. */
function terminal(product: Product) {
  const dataDir = path.join(product.folder, 'data');
  const request = async (place: string, body?: unknown): Promise<Response> => {
    const { url } = JSON.parse(readFileSync(path.join(dataDir, 'gateway.json'), 'utf8')) as { url: string };
    return await fetch(new URL(place, url), {
      method: body === undefined ? 'GET' : 'POST',
      headers: {
        authorization: `Bearer ${readFileSync(path.join(dataDir, 'operator-token'), 'utf8').trim()}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  };
  return {
    says: async (text: string): Promise<Response> =>
      await request('/api/console/messages', { key: crypto.randomUUID(), room: 'desk', user: 'op', text }),
    hears: async (pattern: RegExp): Promise<void> =>
      await until(product, 60_000, async () => {
        const history = await (await request('/api/console/history?room=desk')).text();
        return pattern.test(history) ? true : history.slice(-500);
      }),
  };
}

describe('a running product', () => {
  let product: Product;
  beforeAll(async () => {
    product = await Product.up({ agents: [assistant], script: scriptedBrain });
  });
  afterAll(async () => {
    await product[Symbol.asyncDispose]();
  });
  const says = (text: string): number => product.telegram.people.says(owner, owner, text);
  const hears = async (pattern: RegExp): Promise<string> => await product.hears(owner, pattern, 60_000);

  test('a message of 10 MB is refused with its size and a mend, and holds up nothing', async () => {
    says('x'.repeat(10 * megabyte));
    says('say: after the giant');
    await hears(/This message has 10485760 characters[\s\S]*attach it as a file/);
    await hears(/^after the giant$/);
  });

  test('10 MB through the terminal are refused by the gateway, 900 kB by the router, and both are told why', async () => {
    const desk = terminal(product);
    const refused = await desk.says('x'.repeat(10 * megabyte));
    expect(refused.status).toBe(413);
    expect(await refused.json()).toMatchObject({ error: { code: 'message.too_large' } });
    expect((await desk.says('y'.repeat(900_000))).status).toBe(200);
    await desk.hears(/This message has 900000 characters/);
    await desk.says('say: still here');
    await desk.hears(/"still here"/);
  });

  test('lone surrogates and NUL in a text, a name and a command are replaced, not fatal', async () => {
    product.telegram.people.says(owner, owner, {
      text: 'say: odd \ud800 and \u0000 text',
      extra: { from: { ...product.telegram.people.user(owner), first_name: 'Od\udfffd\u0000' } },
    });
    await hears(/^odd \ufffd and {2}text$/);
    const desk = terminal(product);
    await desk.says('say: desk \ud800\u0000 text');
    await desk.hears(/desk \ufffd text/);
  });

  test('bytes of a command that are no text reach the model as text', async () => {
    says(String.raw`exec: printf 'begin\xff\x00\xed\xa0\x80end'`);
    expect(await hears(/Result: Exit code 0[\s\S]*begin[\s\S]*end/)).toMatch(/begin\ufffd/);
  });

  test('a disk that is full inside the sandbox is a clear result, and the next command works', async () => {
    says('exec: head -c 200M /dev/zero > /tmp/fill');
    await hears(/Result: Exit code 1[\s\S]*No space left on device/);
    says('exec: rm /tmp/fill && echo free again');
    await hears(/Result: Exit code 0[\s\S]*free again/);
  });

  test('updates of an unknown type and of a wrong shape are stored, ignored and hold up nothing', async () => {
    const { people } = product.telegram;
    // The key makes the server hand it over; JSON leaves it out.
    people.update({ brand_new: { of: 'next year' }, message: undefined });
    people.update({ message: 'not even an object' });
    people.update({ message: { message_id: 'seven', chat: [] } });
    people.update({ callback_query: { id: 5 } });
    says('say: past the strange ones');
    await hears(/^past the strange ones$/);
    await eventually(async () => {
      const rows = await product.database.query<{ state: string; count: number }>(
        'select state, count(*)::int as count from inbox group by state',
      );
      const counts = Object.fromEntries(rows.map((row) => [row.state, row.count]));
      expect(counts['ignored']).toBe(4);
      expect(counts['failed']).toBeUndefined();
      expect(counts['pending']).toBeUndefined();
    });
  });
});

test('10,000 updates at once are stored once each, in order per chat, in bounded time and memory', async () => {
  const chats = Array.from({ length: 50 }, (_, index) => 3000 + index);
  const each = 200;
  await using product = await prepareCrew(chats, { env: { LOG_LEVEL: 'info' } });
  for (let number = 0; number < each; number += 1) {
    for (const chat of chats) product.telegram.people.says(chat, chat, `note ${number}`);
  }
  const { child } = await product.start('gateway');
  const startedAt = performance.now();
  let rssMax = 0;
  await until(product, 120_000, async () => {
    rssMax = Math.max(rssMax, Number(execFileSync('ps', ['-o', 'rss=', '-p', String(child.pid)])) / 1024);
    const [row] = await product.database.query<{ count: number }>(
      `select count(*)::int as count from inbox where state = 'routed'`,
    );
    return row?.count === chats.length * each ? true : row;
  });
  expect(performance.now() - startedAt).toBeLessThan(60_000);
  expect(rssMax).toBeLessThan(400);
  const lanes = await product.database.query<{ texts: string[] }>(
    `select array_agg(payload ->> 'text' order by seq) as texts from turn group by session_id`,
  );
  expect(lanes).toHaveLength(chats.length);
  const inOrder = Array.from({ length: each }, (_, number) => `note ${number}`);
  for (const { texts } of lanes) expect(texts).toEqual(inOrder);
});

describe('at the start', () => {
  test('a data directory that cannot be written to is one clear message with its mend', async () => {
    await using product = await Product.prepare({ agents: [assistant] });
    const file = path.join(product.folder, 'file');
    writeFileSync(file, '');
    for (const mode of ['up', 'gateway'] as const) {
      const start = product.start(mode, { SWITCHYARD_DATA_DIR: path.join(file, 'data'), LOG_LEVEL: 'info' });
      await expectClearEnd(start, /data directory .* cannot be written to .*\n.*SWITCHYARD_DATA_DIR/);
    }
  });

  test('a port in use ends the second gateway with a clear line and the first goes on', async () => {
    const port = String(await freePort());
    await using product = await Product.prepare({ agents: [assistant], script: scriptedBrain });
    await product.start('up', { SWITCHYARD_PORT: port });
    const env = { SWITCHYARD_PORT: port, LOG_LEVEL: 'info', SWITCHYARD_DATA_DIR: path.join(product.folder, 'other') };
    await expectClearEnd(product.start('up', env), /Port \d+ on 127\.0\.0\.1 is in use\.\n.*SWITCHYARD_PORT/);
    await expectClearEnd(product.start('gateway', env), /Port \d+ on 127\.0\.0\.1 is in use\.\n.*SWITCHYARD_PORT/);
    const desk = terminal(product);
    await desk.says('say: first lives');
    await desk.hears(/"first lives"/);
  });

  test('a second `up` on the same data directory names the process that holds it', async () => {
    await using product = await Product.prepare({ agents: [assistant] });
    // Passable for the server's user, so that the cluster lies inside and goes with the folder, also for root.
    chmodSync(product.folder, 0o755);
    const env = { DATABASE_URL: '', LOG_LEVEL: 'info' };
    const { child } = await product.start('up', env);
    await expectClearEnd(product.start('up', env), new RegExp(`in use by another switchyard, process ${child.pid}\\.`));
  });

  test('all wrong settings are told in one message, without the secrets', async () => {
    await using product = await Product.prepare({ agents: [assistant] });
    const end = product.start('up', {
      LOG_LEVEL: 'info',
      SWITCHYARD_PORT: '99999',
      DATABASE_URL: 'mysql://user:hunter2@db/x',
      QUEUE_BACKEND: 'kafka',
      TELEGRAM_BOT_TOKEN: 'hunter2',
      SWITCHYARD_MODL: 'demo',
      SWITCHYARD_LIMIT_DRAIN_SECONDS: 'ten',
    });
    const text = await expectClearEnd(end, /6 settings are wrong/);
    for (const name of ['SWITCHYARD_PORT', 'DATABASE_URL', 'QUEUE_BACKEND', 'TELEGRAM_BOT_TOKEN', 'DRAIN_SECONDS']) {
      expect(text).toContain(name);
    }
    expect(text).toContain('Did you mean SWITCHYARD_MODEL?');
    expect(text).not.toContain('hunter2');
  });

  test('a wrong Telegram token is one clear line, and the terminal works on', async () => {
    await using product = await Product.prepare({ agents: [assistant], script: scriptedBrain });
    await product.start('up', { TELEGRAM_BOT_TOKEN: '700001:AAWrong_but_well_formed_token', LOG_LEVEL: 'info' });
    const desk = terminal(product);
    expect((await desk.says('say: without telegram')).status).toBe(200);
    await desk.hears(/"without telegram"/);
    await until(product, 30_000, async () =>
      /set TELEGRAM_BOT_TOKEN to a valid one/.test(product.output) ? true : product.output,
    );
    expect(product.output.split('\n').filter((line) => /refused|unauthori/i.test(line))).toHaveLength(1);
    expect(product.output).not.toContain('AAWrong');
  });

  test('Telegram that is down at the start is waited for, and what was written meanwhile is answered', async () => {
    await using product = await prepareCrew([owner], { env: { LOG_LEVEL: 'info' } });
    const { port } = product.telegram;
    await product.telegram.goDown();
    product.telegram.people.says(owner, owner, 'note while away');
    await Promise.all([product.start('gateway'), product.start('worker')]);
    await until(product, 30_000, async () => (/telegram poll failed/.test(product.output) ? true : product.output));
    await product.telegram.listen(port);
    await product.hears(owner, /^\[note while away\] noted/, 60_000);
  });
});

/** That a start ends with status 1 and a message without a stack. @returns everything it wrote. */
async function expectClearEnd(start: Promise<unknown>, message: RegExp): Promise<string> {
  const text = await start.then(
    () => 'it started',
    (err: unknown) => String(err),
  );
  expect(text).toMatch(message);
  expect(text).toMatch(/ended with exit 1/);
  const people = text.split('\n').filter((line) => !line.startsWith('{'));
  expect(people.filter((line) => /^\s+at /.test(line))).toEqual([]);
  return text;
}
