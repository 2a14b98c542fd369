import { expect, test } from 'vitest';
import { eventually } from '#tests/support/eventually.ts';
import { FakeDiscord } from '../fakes/discord/fake-discord.ts';
import { Product, type ProductOptions } from '../support/product.ts';

const ann = '600000000000000001';
const ben = '600000000000000002';

const keeper = {
  name: 'assistant',
  frontMatter: `tools: [memory_save, memory_search]
autonomy: supervised
grants:
  - allow: [memory.read]
  - ask: memory.write`,
};

/** The product with Discord as its only bot, its owner paired through a private chat there. */
async function open(options: ProductOptions, mode: 'up' | 'split' = 'up') {
  const stack = new AsyncDisposableStack();
  const discord = stack.use(await FakeDiscord.start({ times: { answerMs: 30_000 } }));
  const env = {
    ...options.env,
    TELEGRAM_BOT_TOKEN: '',
    DISCORD_BOT_TOKEN: discord.token,
    DISCORD_API_URL: discord.apiUrl,
  };
  const product = stack.use(await Product.prepare({ ...options, env }));
  const dm = discord.people.dm(ann);
  if (mode === 'up') await product.start('up');
  else {
    await product.start('gateway');
    await product.start('worker');
  }
  await discord.waitFor(() => discord.gateway.connected > 0, 90_000);
  const { stdout } = await product.cli(['pair', '--role', 'owner']);
  const code = /[0-9A-Z]{4}-[0-9A-Z]{4}/.exec(`${stdout}\n${product.output}`)?.[0];
  discord.people.says(dm, ann, `/start ${code ?? ''}`);
  await discord.waitFor(() => discord.said(dm).some(({ text }) => text.includes('We are paired')));
  const hears = async (channel: string, pattern: RegExp, timeoutMs = 30_000): Promise<string> =>
    await discord.waitFor(() => discord.said(channel).find(({ text }) => pattern.test(text))?.text, timeoutMs);
  return { product, discord, dm, hears, [Symbol.asyncDispose]: async () => await stack.disposeAsync() };
}

test('a task given by /run in a server gets a thread, asks there by buttons, and answers there', async () => {
  await using stage = await open({
    agents: [keeper],
    script: [
      { text: 'Let me note that.', toolCalls: [{ name: 'memory_save', arguments: { text: 'the roof leaks' } }] },
      { text: 'Noted: **the roof leaks**.' },
    ],
  });
  const { discord, hears } = stage;
  const { people } = discord;
  const room = people.channel(people.guild([ann]));
  await discord.waitFor(() => discord.world.commands.some(({ name }) => name === 'run'));
  const run = people.slash(room, ann, 'run', { task: 'note that the roof leaks' });
  const thread = await discord.waitFor(() => discord.threads(room)[0]);
  await discord.waitFor(() => discord.interaction(run).state === 'answered');
  expect(discord.interaction(run).answeredAfterMs).toBeLessThan(10_000);

  const card = await discord.waitFor(() =>
    discord.said(thread.id).find(({ buttons }) => buttons.some(({ label }) => label === 'Approve')),
  );
  expect(card.isCard).toBe(true);
  const press = people.presses(thread.id, ann, card.buttons.find(({ label }) => label === 'Approve')?.token ?? '');
  await hears(thread.id, /Noted: \*\*the roof leaks\*\*/);
  expect(discord.interaction(press).answeredAfterMs).toBeLessThan(10_000);
  const decided = await discord.waitFor(() =>
    discord.said(thread.id).find(({ id, text }) => id === card.id && /\*\*Approved\*\* by/.test(text)),
  );
  expect(decided.buttons.filter(({ isDisabled }) => !isDisabled)).toEqual([]);
  // In its thread the bot needs no mention.
  people.says(thread.id, ann, 'thanks');
  await discord.waitFor(() => stage.product.model.requests.length >= 3);
  // Nothing of it stands in the room but the thread's beginning and the answer to the command.
  expect(discord.said(room).length).toBeLessThanOrEqual(2);
});

test('buttons: a stranger and another room are refused, a double click decides once, old ones work after a restart', async () => {
  const note = (text: string) => ({ text: '', toolCalls: [{ name: 'memory_save', arguments: { text } }] });
  await using stage = await open({
    agents: [keeper],
    script: [note('one'), { text: 'Saved one.' }, note('two'), { text: 'Saved two.' }, { text: 'Nothing more.' }],
  });
  const { discord, product, dm, hears } = stage;
  const { people } = discord;
  const told = (interaction: string): string | undefined =>
    [...discord.world.channels.values()]
      .flatMap(({ messages }) => [...messages.values()])
      .find(({ interactionId }) => interactionId === interaction)?.content;
  const ask = async (text: string) => {
    const before = new Set(discord.said(dm).map(({ id }) => id));
    people.says(dm, ann, text);
    const card = await discord.waitFor(() =>
      discord.said(dm).find(({ id, buttons }) => !before.has(id) && buttons.some(({ label }) => label === 'Approve')),
    );
    return { id: card.id, token: card.buttons.find(({ label }) => label === 'Approve')?.token ?? '' };
  };
  const first = await ask('remember one');
  // The same token on a message in another place, and pressed by somebody nobody knows.
  const room = people.channel(people.guild([ann, ben]));
  const copy = discord.world.channels.get(dm)?.messages.get(first.id);
  const elsewhere = discord.world.channels.get(room);
  if (copy === undefined || elsewhere === undefined) throw new Error('the card is not there');
  const forged = discord.world.addMessage(elsewhere, { author: discord.world.bot, components: copy.components });
  const byStranger = people.pressesOn(room, ben, forged.id, first.token);
  await discord.waitFor(() => /Only people I am paired with/.test(told(byStranger) ?? ''));
  const fromElsewhere = people.pressesOn(room, ann, forged.id, first.token);
  await discord.waitFor(() => /belongs to another chat/.test(told(fromElsewhere) ?? ''));

  const presses = [people.presses(dm, ann, first.token), people.presses(dm, ann, first.token)];
  await hears(dm, /Saved one/);
  await discord.waitFor(() => presses.every((press) => (told(press) ?? '') !== ''));
  expect(presses.map((press) => told(press) ?? '').filter((text) => /already approved by/.test(text)).length).toBe(1);

  const second = await ask('remember two');
  await product.kill('up');
  await product.start('up');
  await discord.waitFor(() => discord.gateway.connected > 0, 90_000);
  people.pressesOn(dm, ann, second.id, second.token);
  await hears(dm, /Saved two/);
  const late = people.pressesOn(dm, ann, second.id, second.token);
  await discord.waitFor(() => /already approved by/.test(told(late) ?? ''));
});

test('a reason is asked for in a form, agents are suggested while typing, an attached text reaches the agent', async () => {
  await using stage = await open({
    agents: [keeper],
    script: [
      { text: '', toolCalls: [{ name: 'memory_save', arguments: { text: 'a secret' } }] },
      { text: 'I will not keep it.' },
      { text: 'I read it.' },
    ],
  });
  const { discord, product, dm, hears } = stage;
  const { people } = discord;
  expect(await people.types(dm, ann, 'use', 'agent', 'assi')).toEqual(['assistant']);
  people.says(dm, ann, 'remember a secret');
  const label = /Deny with/;
  const card = await discord.waitFor(() =>
    discord.said(dm).findLast(({ buttons }) => buttons.some((button) => label.test(button.label))),
  );
  const press = people.presses(dm, ann, card.buttons.find((button) => label.test(button.label))?.token ?? '');
  await discord.waitFor(() => discord.interaction(press).modal);
  const field = JSON.stringify(discord.interaction(press).modal).match(/"type":4,"custom_id":"([^"]+)"/)?.[1] ?? '';
  people.submits(press, { [field]: 'it is not yours to keep' });
  await hears(dm, /I will not keep it/);
  await discord.waitFor(() =>
    discord.said(dm).some(({ id, text }) => id === card.id && text.includes('it is not yours to keep')),
  );

  const bytes = Buffer.from('the roof was mended in May');
  people.says(dm, ann, 'read this', { files: [{ name: 'roof.txt', bytes, mime: 'text/plain' }] });
  await hears(dm, /I read it/);
  expect(JSON.stringify(product.model.requests.at(-1)?.body)).toContain('the roof was mended in May');
});

test('messages that come while the gateway is dead are answered by the next one, none lost and none twice', async () => {
  await using stage = await open({ script: [{ text: 'I heard you.' }] }, 'split');
  const { discord, product, dm, hears } = stage;
  const { people } = discord;
  const guild = people.guild([ann]);
  const room = people.channel(guild);
  people.says(dm, ann, 'before');
  await hears(dm, /I heard you/);
  const bot = discord.world.bot.id;
  people.says(room, ann, `<@${bot}> in the room before`);
  await hears(room, /I heard you/);

  for (let n = 1; n <= 3; n += 1) people.says(dm, ann, `alive ${n}`);
  await product.kill('gateway');
  for (let n = 1; n <= 5; n += 1) people.says(dm, ann, `missed ${n}`);
  people.says(room, ann, `<@${bot}> missed in the room`);
  await product.start('gateway');
  people.says(dm, ann, 'after');

  const heard = async (): Promise<readonly string[]> => {
    const rows = await product.database.query<{ text: string }>(
      `select payload ->> 'text' as text from turn where payload ->> 'text' is not null order by session_id, seq`,
    );
    return rows.map(({ text }) => text);
  };
  await eventually(async () => expect(await heard()).toContain('after'), { interval: 200 });
  await eventually(async () => expect(await heard()).toContain('missed in the room'), { interval: 200 });
  const texts = await heard();
  expect([...texts].sort()).toEqual(
    [
      'before',
      'in the room before',
      'alive 1',
      'alive 2',
      'alive 3',
      'missed 1',
      'missed 2',
      'missed 3',
      'missed 4',
      'missed 5',
      'missed in the room',
      'after',
    ].sort(),
  );
  const dms = texts.filter((text) => !text.includes('room'));
  expect(dms).toEqual([
    'before',
    'alive 1',
    'alive 2',
    'alive 3',
    'missed 1',
    'missed 2',
    'missed 3',
    'missed 4',
    'missed 5',
    'after',
  ]);
});
