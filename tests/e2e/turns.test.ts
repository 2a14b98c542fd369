import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '#tests/support/eventually.ts';
import { awayFromMidnight } from '../support/away-from-midnight.ts';
import { owner, Product } from '../support/product.ts';
import { scriptedBrain } from '../support/scripted-brain.ts';
import { inWorkspace } from '../support/workspace.ts';

let product: Product;

beforeAll(async () => {
  product = await Product.up({
    agents: [
      {
        name: 'assistant',
        frontMatter: `aliases: [helper]
tools: [exec, memory_save]
autonomy: autonomous
grants:
  - allow: tool.exec
  - allow: memory.*`,
      },
      { name: 'poet', frontMatter: 'tools: []', prompt: 'You write verse.' },
      {
        name: 'frugal',
        frontMatter: `tools: [exec]
model: openai:gpt-4o
autonomy: autonomous
grants: [{ allow: tool.exec }]
output_tokens_max: 1000
budget: { daily_usd: 0.03 }`,
      },
      {
        name: 'sturdy',
        frontMatter: `tools: []
model: openai:gpt-4o
fallbacks: [anthropic:claude-sonnet-4-5]`,
      },
      {
        name: 'unpriced',
        frontMatter: `tools: []
model: openai:gpt-unheard-of
budget: { daily_usd: 1 }`,
      },
    ],
    script: scriptedBrain,
  });
});
afterAll(async () => {
  await product[Symbol.asyncDispose]();
});

/** A private chat of the owner's other account: each test has its own conversation. */
let nextChat = 2000;
async function newChat(): Promise<number> {
  nextChat += 1;
  const { stdout } = await product.cli(['pair', '--role', 'owner']);
  const code = /[0-9A-Z]{4}-[0-9A-Z]{4}/.exec(stdout)?.[0];
  if (code === undefined) throw new Error(`no code in: ${stdout}`);
  product.telegram.people.says(nextChat, nextChat, `/start ${code}`);
  await product.hears(nextChat, /We are paired/);
  return nextChat;
}

function says(chat: number, text: string): void {
  product.telegram.people.says(chat, chat, text);
}

test('a message that comes while a turn runs is steered into it, in order and once', async () => {
  const chat = await newChat();
  says(chat, 'exec: touch begun; until [ -e go ]; do sleep 0.1; done; echo first-done');
  await inWorkspace(product, 'test -e begun');
  says(chat, 'say: and mind the gap');
  await eventually(async () =>
    expect(
      await product.database.query(
        `select 1 from turn where state = 'queued' and payload ->> 'text' like '%mind the gap'`,
      ),
    ).toHaveLength(1),
  );
  await inWorkspace(product, 'touch go');
  await product.hears(chat, /mind the gap/);
  const answers = product.telegram.said(chat).filter((message) => message.text.includes('mind the gap'));
  expect(answers).toHaveLength(1);
  const rows = await product.database.query<{ state: string }>(
    `select t.state from turn t join session s on s.id = t.session_id where s.thread_key like $1 order by t.seq`,
    [`%:${chat}:-`],
  );
  expect(rows.map((row) => row.state)).toEqual(['done', 'absorbed']);
});

test('/stop ends a running command at once and says so in the thread', async () => {
  const chat = await newChat();
  says(chat, 'exec: touch stop-me; sleep 300; echo never');
  await inWorkspace(product, 'test -e stop-me');
  const at = performance.now();
  says(chat, '/stop');
  await product.hears(chat, /Stopped\./);
  expect(performance.now() - at).toBeLessThan(10_000);
  says(chat, 'say: still here');
  await product.hears(chat, /still here/);
  const [ended] = await product.database.query<{ state: string }>(
    `select t.state from turn t join session s on s.id = t.session_id where s.thread_key like $1 and t.seq = 1`,
    [`%:${chat}:-`],
  );
  expect(ended?.state).toBe('cancelled');
});

test('/stop with nothing running says so', async () => {
  const chat = await newChat();
  says(chat, '/stop');
  await product.hears(chat, /Nothing is running here/);
});

test('in mode interrupt a new message stops the running turn and is answered itself', async () => {
  const chat = await newChat();
  says(chat, '/queue interrupt');
  await product.hears(chat, /Queue mode interrupt/);
  says(chat, 'exec: touch drowning; sleep 300; echo drowned');
  await inWorkspace(product, 'test -e drowning');
  says(chat, 'say: urgent');
  await product.hears(chat, /urgent/);
  await product.hears(chat, /Stopped\./);
});

test('in mode followup messages are answered one by one, in the order they came', async () => {
  const chat = await newChat();
  says(chat, '/queue followup');
  await product.hears(chat, /Queue mode followup/);
  for (const number of [1, 2, 3, 4, 5]) says(chat, `say: number ${number}`);
  await product.hears(chat, /number 5/);
  const numbers = product.telegram
    .said(chat)
    .flatMap((message) => (/^number (\d)$/.exec(message.text) ?? []).slice(1).map(Number));
  expect(numbers).toEqual([1, 2, 3, 4, 5]);
});

test('in mode collect messages sent in a row are answered together', async () => {
  const chat = await newChat();
  says(chat, '/queue collect');
  await product.hears(chat, /Queue mode collect/);
  product.telegram.updates.together(() => {
    for (const text of ['alpha', 'beta', 'gamma']) says(chat, text);
  });
  await product.hears(chat, /Heard: alpha \+ beta \+ gamma/);
});

test('@name asks another agent once, /use changes the thread, an unknown one is told which there are', async () => {
  const chat = await newChat();
  says(chat, '@poet say: a rose');
  await product.hears(chat, /a rose/);
  const request = product.model.requests.findLast((item) => JSON.stringify(item.body).includes('a rose'));
  expect(JSON.stringify(request?.body)).toContain('You write verse.');
  says(chat, '/use nobody');
  await product.hears(chat, /There is no agent "nobody"[\s\S]*assistant[\s\S]*poet/);
  says(chat, '/use poet');
  await product.hears(chat, /poet works in this thread/);
  says(chat, '/status');
  await product.hears(chat, /Agent poet, model openai:gpt-4o/);
});

test('/new starts afresh: the next model call knows nothing of what was said before', async () => {
  const chat = await newChat();
  says(chat, 'say: the password is swordfish');
  await product.hears(chat, /swordfish/);
  says(chat, '/new');
  await product.hears(chat, /A new conversation/);
  says(chat, 'say: fresh start');
  await product.hears(chat, /^fresh start$/);
  const request = product.model.requests.findLast((item) => JSON.stringify(item.body).includes('fresh start'));
  expect(JSON.stringify(request?.body)).not.toContain('swordfish');
});

test('a budget that is reached in the middle ends the turn with which budget, how much, when it resets and who can raise it', async () => {
  const chat = await newChat();
  await awayFromMidnight();
  // The first call costs 0.025 USD of the 0.03; the second is held at up to 0.01 and does not fit any more.
  says(chat, '@frugal dear: echo spent');
  await product.hears(
    chat,
    /daily budget of agent frugal does not cover[\s\S]*of \$0\.03[\s\S]*starts anew at[\s\S]*owner can raise/,
  );
  await product.hears(chat, /daily budget of agent frugal[\s\S]*is spent, 8\d %/);
  const [budget] = await product.database.query<{ held: string; spent: string; max: string }>(
    `select held_micros::text as held, spent_micros::text as spent, limit_micros::text as max from budget where scope = 'agent:frugal'`,
  );
  expect(Number(budget?.held)).toBe(0);
  expect(Number(budget?.spent)).toBeLessThanOrEqual(Number(budget?.max));
});

test('a model without a price under a budget is refused before it is called', async () => {
  const chat = await newChat();
  const before = product.model.requestCount();
  says(chat, '@unpriced say: anything');
  await product.hears(chat, /price of openai:gpt-unheard-of is not known/);
  expect(product.model.requestCount()).toBe(before);
});

test('a model that is overloaded is replaced by its fallback in the same turn', async () => {
  const chat = await newChat();
  says(chat, '@sturdy failover: from the other vendor');
  await product.hears(chat, /from the other vendor/);
  const last = product.model.requests.findLast((item) => JSON.stringify(item.body).includes('from the other vendor'));
  expect(last?.wire).toBe('anthropic.messages');
});

test('in a group only what is addressed to the bot is answered, and unknown commands are left to others', async () => {
  product.telegram.people.group(-700);
  product.telegram.people.says(-700, owner, 'just talking');
  product.telegram.people.says(-700, owner, '/deploy now');
  product.telegram.people.says(-700, owner, '@switchyard_bot say: at your service');
  await product.hears(-700, /at your service/);
  expect(product.telegram.said(-700)).toHaveLength(1);
});

test('an unknown command in a private chat is answered with help', async () => {
  const chat = await newChat();
  says(chat, '/frobnicate');
  await product.hears(chat, /There is no command \/frobnicate[\s\S]*\/help/);
});

test('the names of language internals and of our own events are unknown commands like any other', async () => {
  const chat = await newChat();
  for (const name of ['constructor', 'tostring', '__proto__', 'press']) {
    says(chat, `/${name}`);
    await product.hears(chat, new RegExp(`There is no command /${name}`));
  }
  await eventually(async () =>
    expect(await product.database.query(`select 1 from inbox where state = 'pending'`)).toEqual([]),
  );
});

test('a turn stopped in a group keeps what was shown, once, and says that it stopped', async () => {
  product.telegram.people.group(-800);
  const text = 'word '.repeat(60).trim();
  product.telegram.people.says(-800, owner, `@switchyard_bot endless: ${text}`);
  await product.telegram.waitFor(() =>
    product.telegram.said(-800).some((message) => /word word .*…$/.test(message.text)),
  );
  product.telegram.people.says(-800, owner, '/stop');
  await product.hears(-800, /Stopped\./);
  await product.telegram.waitFor(() => product.telegram.said(-800).every((message) => !message.text.endsWith('…')));
  expect(product.telegram.said(-800).filter((message) => message.text.includes('word word'))).toHaveLength(1);
});

test('a stranger is refused once, in private only', async () => {
  const stranger = 9001;
  product.telegram.people.says(stranger, stranger, 'hi');
  await product.hears(stranger, /only work for people I am paired with/);
  product.telegram.people.says(stranger, stranger, 'hello?');
  says(owner, 'say: barrier');
  await product.hears(owner, /barrier/);
  expect(product.telegram.said(stranger)).toHaveLength(1);
});

test('a tool that does not exist and arguments that are no JSON go back to the model as errors', async () => {
  const chat = await newChat();
  says(chat, 'call: fly {"to":"moon"}');
  await product.hears(chat, /There is no tool "fly"\. Available: exec, memory_save/);
  says(chat, 'call: exec {"command": broken');
  await product.hears(chat, /were not valid JSON/);
  says(chat, 'call: exec {"cmd":"ls"}');
  await product.hears(chat, /Not carried out: /);
});

test('a model that answers nothing is an error with a mend, never an empty message', async () => {
  const chat = await newChat();
  says(chat, 'fault: empty');
  await product.hears(chat, /empty stream|answered nothing/);
  expect(product.telegram.said(chat).every((message) => message.text.trim() !== '')).toBe(true);
});
