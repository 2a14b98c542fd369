import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { owner, Product } from '../support/product.ts';
import { memoryAsker, scriptedBrain } from '../support/scripted-brain.ts';

const forum = -730;
let product: Product;

beforeAll(async () => {
  product = await Product.up({
    agents: [memoryAsker],
    script: scriptedBrain,
  });
  product.telegram.people.group(forum, { isForum: true });
  for (const topic of [45, 46]) product.telegram.people.topic(forum, topic);
});
afterEach(async () => await product.rests());
afterAll(async () => {
  await product[Symbol.asyncDispose]();
});

/** Asks for something that needs a word, and waits for the button in the room. */
async function asksFor(what: string, room: number, threadId?: number): Promise<string> {
  const text = `${room < 0 ? '@switchyard_bot ' : ''}call: memory_save {"text":"${what}"}`;
  product.telegram.people.says(room, owner, { text, ...(threadId === undefined ? {} : { threadId }) });
  return await product.telegram.waitFor(
    () =>
      product.telegram
        .said(room)
        .findLast((message) => message.text.includes(what) && message.buttons.length > 0)
        ?.buttons.find((button) => button.text === 'Approve')?.data,
  );
}

async function answerTo(query: string): Promise<string> {
  const call = await product.telegram.waitFor(() =>
    product.telegram.callsOf('answerCallbackQuery').find(({ params }) => params['callback_query_id'] === query),
  );
  return String(call.params['text']);
}

test('a card in a topic is decided there, also when Telegram no longer shows the message to the bot', async () => {
  const token = await asksFor('heron', forum, 45);
  product.telegram.people.presses(forum, owner, token, { inaccessible: true });
  await product.hears(forum, /Remembered: heron/);
  const spoken = product.telegram.said(forum).filter(({ text }) => text.includes('heron'));
  expect(new Set(spoken.map(({ threadId }) => threadId))).toEqual(new Set([45]));
});

test('a card of a topic that was closed meanwhile works in the main stream', async () => {
  product.telegram.people.topic(forum, 46);
  product.telegram.people.says(forum, owner, { text: '@switchyard_bot say: ready', threadId: 46 });
  await product.hears(forum, /ready/);
  product.telegram.people.says(forum, owner, {
    text: '@switchyard_bot call: memory_save {"text":"egret"}',
    threadId: 46,
  });
  product.telegram.people.topic(forum, 46, 'closed');
  const data = await product.telegram.waitFor(
    () =>
      product.telegram
        .said(forum)
        .find(
          (message) => message.threadId === undefined && message.text.includes('egret') && message.buttons.length > 0,
        )
        ?.buttons.find((button) => button.text === 'Approve')?.data,
  );
  product.telegram.people.presses(forum, owner, data);
  await product.hears(forum, /Remembered: egret/);
});

test('a press Telegram takes too long to bring is decided once, though its little notice comes too late', async () => {
  const token = await asksFor('stork', owner);
  const description = 'Bad Request: query is too old and response timeout expired or query ID is invalid';
  product.telegram.faults.next('answerCallbackQuery', { kind: 'status', code: 400, description });
  product.telegram.people.presses(owner, owner, token);
  await product.hears(owner, /Remembered: stork/);
  const card = await product.telegram.waitFor(() =>
    product.telegram.said(owner).find((message) => message.text.includes('Approved by')),
  );
  expect(card.buttons).toEqual([]);
});

test('a button that was shown before a restart works after it', async () => {
  const token = await asksFor('ibis', owner);
  await product.kill('up');
  await product.start('up');
  product.telegram.people.presses(owner, owner, token);
  await product.hears(owner, /Remembered: ibis/);
});

test('a button of work that was stopped says so and decides nothing', async () => {
  const token = await asksFor('crane', owner);
  product.telegram.people.says(owner, owner, '/stop');
  await product.telegram.waitFor(() =>
    product.telegram.said(owner).every((message) => message.buttons.every((button) => button.data !== token)),
  );
  const late = product.telegram.people.presses(owner, owner, token, { forged: true });
  expect(await answerTo(late)).toMatch(/cancelled/i);
  expect(product.telegram.said(owner).some(({ text }) => /Remembered: crane/.test(text))).toBe(false);
});

test('a bot that is removed from a group notes it, says nothing there, and works again once it is back', async () => {
  const room = -731;
  product.telegram.people.group(room);
  product.telegram.people.says(room, owner, '@switchyard_bot say: here');
  await product.hears(room, /here/);
  const state = async (): Promise<string | undefined> =>
    (
      await product.database.query<{ state: string }>('select state from channel_room where room = $1', [String(room)])
    )[0]?.state;
  product.telegram.people.changesMembership(room, owner, 'kicked');
  await expect.poll(state).toBe('left');
  product.telegram.people.changesMembership(room, owner, 'member');
  await expect.poll(state).toBe('active');
  product.telegram.people.says(room, owner, '@switchyard_bot say: back again');
  await product.hears(room, /back again/);
});
