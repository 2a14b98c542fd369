import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '#tests/support/eventually.ts';
import { owner, Product } from '../support/product.ts';

let product: Product;
const second = 2002;
const group = -500;

beforeAll(async () => {
  product = await Product.up({ script: Array.from({ length: 40 }, (_, index) => ({ text: `Answer ${index}.` })) });
});
afterAll(async () => await product[Symbol.asyncDispose]());

/** Says something in the terminal. @returns what the product printed. */
async function terminal(text: string): Promise<string> {
  const { code, stdout, stderr } = await product.cli(['chat', '--message', text]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return stdout;
}

const codeIn = (text: string): string => /[0-9A-Z]{4}-[0-9A-Z]{4}/.exec(text)?.[0] ?? 'no code';

test('a code from the terminal makes a second Telegram account the same person', async () => {
  product.telegram.people.says(second, second, 'hello?');
  await product.hears(second, /I only work for people I am paired with/);
  const code = codeIn(await terminal('/link'));
  product.telegram.people.says(second, second, `/link ${code}`);
  await product.hears(second, /Welcome back/);
  product.telegram.people.says(second, second, '/people');
  await product.hears(second, /telegram 2002/);
  product.telegram.people.says(second, second, 'now work');
  await product.hears(second, /Answer/);
});

test('a conversation of the phone goes on in the terminal with its memory, and the phone says where it went', async () => {
  product.telegram.people.says(owner, owner, 'remember the word heliotrope');
  await product.hears(owner, /Answer/);
  product.telegram.people.says(owner, owner, '/continue');
  const code = codeIn(await product.hears(owner, /\/continue [0-9A-Z]{4}-[0-9A-Z]{4}/));
  expect(await terminal(`/continue ${code}`)).toContain('Here we go on with **assistant**');
  await product.hears(owner, /goes on in a private conversation on Console/);
  const before = product.model.requests.length;
  expect(await terminal('which word was it?')).toContain('Answer');
  expect(JSON.stringify(product.model.requests[before]?.body)).toContain('heliotrope');

  const asked = product.model.requests.length;
  product.telegram.people.says(owner, owner, 'and here?');
  await eventually(() => expect(product.model.requests.length).toBeGreaterThan(asked));
  expect(JSON.stringify(product.model.requests[asked]?.body)).not.toContain('heliotrope');
});

test('a channel that is switched off receives and sends nothing, and loses nothing', async () => {
  const list = async (): Promise<string> => (await product.cli(['channel', 'list'])).stdout;
  await eventually(async () => expect(await list()).toMatch(/telegram\s+\S+\s+connected/), { interval: 500 });
  expect((await product.cli(['channel', 'disable', 'telegram'])).stdout).toContain('telegram is off');
  expect(await list()).toMatch(/telegram\s+\S+\s+off/);
  const log = (): string => readFileSync(path.join(product.folder, 'data', 'switchyard.log'), 'utf8');
  // Once by the gateway, once by the deliveries.
  await eventually(() => expect(log().split('channel switched off')).toHaveLength(3));

  product.telegram.people.says(owner, owner, 'are you there?');
  const [{ id } = { id: '' }] = await product.database.query<{ id: string }>(
    'select account as id from channel_account where channel = $1',
    ['telegram'],
  );
  await product.database.query(`select outbox_put($1::jsonb)`, [
    JSON.stringify([
      {
        id: '019f0000-0000-7000-8000-000000000001',
        key: 'said while off',
        conversation: { channel: 'telegram', account: id, room: String(owner), kind: 'dm' },
        threadKey: `telegram:${id}:${owner}:-`,
        importance: 'result',
        body: { parts: [{ type: 'markdown', markdown: 'Said while off.' }] },
      },
    ]),
  ]);
  const calls = product.telegram.callCounts.get('sendMessage') ?? 0;
  const polls = product.telegram.callCounts.get('getUpdates') ?? 0;
  // What is asked elsewhere after it is answered, twice; nothing of the channel may have moved by then.
  expect(await terminal('and you?')).toContain('Answer');
  expect(await terminal('and you again?')).toContain('Answer');
  expect(product.telegram.callCounts.get('sendMessage') ?? 0).toBe(calls);
  expect(product.telegram.callCounts.get('getUpdates') ?? 0).toBe(polls);

  // Told, but no reason to take the process out of service.
  await eventually(async () => {
    const ready = await fetch(`${/http:\/\/127\.0\.0\.1:\d+/.exec(product.output)?.[0]}/readyz`);
    expect(await ready.json()).toMatchObject({
      channels: expect.arrayContaining([{ name: 'telegram', state: 'disconnected' }]),
    });
    expect(ready.status).toBe(200);
  });

  const asked = product.model.requests.length;
  expect((await product.cli(['channel', 'enable', 'telegram'])).stdout).toContain('telegram is on');
  await product.hears(owner, /Said while off/);
  await eventually(() => expect(JSON.stringify(product.model.requests.slice(asked))).toContain('are you there?'));
});

test('a bot that is removed from a group says so to its owner in private, and goes on when it is invited again', async () => {
  product.telegram.people.group(group);
  product.telegram.people.says(group, owner, { text: '/status' });
  await product.hears(group, /Agent/);
  product.telegram.people.changesMembership(group, owner, 'left');
  await product.telegram.waitFor(() =>
    [...[owner, second].flatMap((chat) => product.telegram.said(chat))].find(({ text }) =>
      /I was removed from the telegram room -500/.test(text),
    ),
  );
  expect((await product.cli(['channel', 'rooms'])).stdout).toMatch(/-500\s+left/);
  product.telegram.people.changesMembership(group, owner, 'member');
  await eventually(async () => expect((await product.cli(['channel', 'rooms'])).stdout).toMatch(/-500\s+active/), {
    interval: 500,
  });
  const before = product.telegram.said(group).length;
  product.telegram.people.says(group, owner, { text: '/status' });
  await product.telegram.waitFor(() => (product.telegram.said(group).length > before ? true : undefined));
});

test('an account whose token is revoked while it runs is told to the owner elsewhere, and the rest goes on', async () => {
  await terminal('still here');
  product.telegram.faults.next('getUpdates', { kind: 'status', code: 401, description: 'Unauthorized' }, 50);
  // Ends the long poll that is under way; the next one is refused.
  product.telegram.people.says(owner, owner, 'the last word');
  await eventually(
    async () => expect((await product.cli(['channel', 'list'])).stdout).toMatch(/telegram\s+\S+\s+halted/),
    { timeout: 60_000, interval: 1000 },
  );
  await eventually(async () => {
    const told = await product.database.query<{ body: string }>(
      `select body::text as body from outbox where key like 'operator:%' and thread_key like 'console:%'`,
    );
    expect(told.map(({ body }) => body).join()).toContain('My telegram account has stopped');
  });
  expect(await terminal('and now?')).toContain('Answer');
});
