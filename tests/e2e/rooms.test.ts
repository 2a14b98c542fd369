import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '#tests/support/eventually.ts';
import { owner, Product } from '../support/product.ts';
import { heldAnswer } from '../support/scripted-brain.ts';

let product: Product;
const group = -700;
const supergroup = -1700;
const stranger = 3003;
const listed = 4004;
const bot = '@switchyard_bot';
const slowed = new Set<string>();
/** Lets the answer to the painter end. */
const painted = Promise.withResolvers<void>();

beforeAll(async () => {
  product = await Product.up({
    yaml: `channels:\n  telegram:\n    allow:\n      people: [${listed}]\n      requests: true\n`,
    // A slow answer leaves time to change one's mind; what is only history by then slows nothing down.
    script: (request) => {
      const word = /take your time, (\w+)/.exec(JSON.stringify(request.body))?.[1];
      if (word === undefined || slowed.has(word)) return { text: 'Quick answer.' };
      slowed.add(word);
      if (word === 'painter') return heldAnswer(request, 'Slow answer.', painted.promise);
      return { text: 'Slow answer.', delayMs: 600 };
    },
  });
});
afterAll(async () => await product[Symbol.asyncDispose]());

/** What the model was asked from this request on. */
const askedSince = (count: number): string =>
  JSON.stringify(product.model.requests.slice(count).map(({ body }) => body));

test('a group that becomes a supergroup keeps its conversation, and hears the answer that was on its way', async () => {
  const { people } = product.telegram;
  people.group(group, { type: 'group' });
  people.says(group, owner, `${bot} the password of this group is zebra`);
  await product.hears(group, /Quick answer/);
  people.says(group, owner, `${bot} take your time, everybody`);
  await eventually(() => expect(product.model.requests.length).toBeGreaterThan(1));
  people.migrates(group, supergroup);
  await product.hears(supergroup, /Slow answer/);

  const asked = product.model.requests.length;
  people.says(supergroup, owner, `${bot} what is it?`);
  await eventually(() => expect(askedSince(asked)).toContain('zebra'));
  expect((await product.cli(['channel', 'rooms'])).stdout).toContain(`moved to ${supergroup}`);
});

test('a message that is edited while it waits is asked as it reads now', async () => {
  const { people } = product.telegram;
  people.says(owner, owner, '/queue followup');
  await product.hears(owner, /Queue mode/);
  const asked = product.model.requests.length;
  people.says(owner, owner, 'take your time, painter');
  await eventually(() => expect(product.model.requests.length).toBeGreaterThan(asked));
  const message = people.says(owner, owner, 'paint it blue');
  await eventually(async () =>
    expect(await product.database.query(`select id from turn where state = 'queued'`)).toHaveLength(1),
  );
  people.edits(owner, message, 'paint it green');
  await eventually(async () =>
    expect(
      await product.database.query(`select id from turn where state = 'queued' and payload ->> 'text' like '%green%'`),
    ).toHaveLength(1),
  );
  painted.resolve();
  await eventually(() => expect(askedSince(asked)).toContain('paint it green'));
  expect(askedSince(asked)).not.toContain('paint it blue');
  people.says(owner, owner, '/queue steer');
  await product.hears(owner, /Queue mode steer/);
});

test('a command out of a backlog is confirmed before it is done', async () => {
  const asked = product.model.requests.length;
  const from = product.telegram.people.user(owner);
  product.telegram.people.update({
    message: {
      message_id: 99_000,
      date: Math.floor(Date.now() / 1000) - 3600,
      chat: { id: owner, type: 'private', first_name: from.first_name },
      from,
      text: '/run polish the boots',
      entities: [{ type: 'bot_command', offset: 0, length: 4 }],
    },
  });
  await product.hears(owner, /You sent \/run polish the boots 1 h 0 min ago/);
  expect(product.model.requests.length).toBe(asked);
  await product.presses(owner, owner, 'Do it now');
  await eventually(() => expect(askedSince(asked)).toContain('polish the boots'));
  await product.hears(owner, /Accepted by Person 1001/);
});

test('whoever the allow list names works at once, and a stranger is let in by a button of the owner', async () => {
  const { people } = product.telegram;
  const asked = product.model.requests.length;
  people.says(listed, listed, 'listed people need no code');
  await eventually(() => expect(askedSince(asked)).toContain('listed people need no code'));

  people.says(stranger, stranger, 'and me?');
  await product.hears(stranger, /I have asked whether you may be let in/);
  await product.presses(owner, owner, 'Let in');
  await product.hears(stranger, /Welcome, Person 3003/);
  people.says(stranger, stranger, 'thank you for letting me in');
  await eventually(() => expect(askedSince(asked)).toContain('thank you for letting me in'));
});

test('a key in a message reaches no model, and its author is warned', async () => {
  const asked = product.model.requests.length;
  const key = `sk-ant-api03-${'k'.repeat(40)}`;
  product.telegram.people.says(owner, owner, `use ${key} please`);
  await product.hears(owner, /looks like an Anthropic key/);
  // What is said after it is asked after it.
  product.telegram.people.says(owner, owner, 'the next thing');
  await eventually(() => expect(askedSince(asked)).toContain('the next thing'));
  expect(askedSince(asked)).not.toContain(key);
  const rows = await product.database.query<{ count: number }>(
    `select count(*)::int as count from inbox where raw::text like '%sk-ant-api03-%'`,
  );
  expect(rows[0]?.count).toBe(0);
});
