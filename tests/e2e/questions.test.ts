import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { owner, Product } from '../support/product.ts';
import { scriptedBrain } from '../support/scripted-brain.ts';

let product: Product;
const member = 2002;

beforeAll(async () => {
  product = await Product.up({
    agents: [
      {
        name: 'assistant',
        frontMatter: `tools: [ask_person, notify, exec]
grants:
  - allow: person.ask
  - allow: message.send
  - ask: tool.exec`,
      },
    ],
    script: scriptedBrain,
  });
});
afterEach(async () => await product.rests());
afterAll(async () => {
  await product[Symbol.asyncDispose]();
});

function says(text: string, person = owner): void {
  product.telegram.people.says(person, person, text);
}

function asks(question: Record<string, unknown>, person = owner): void {
  says(`call: ask_person ${JSON.stringify(question)}`, person);
}

async function pairMember(): Promise<void> {
  says('/pair member');
  const text = await product.hears(owner, /\/start [0-9A-Z]{4}-[0-9A-Z]{4}/);
  says(/\/start \S+/.exec(text)?.[0].replace(/`.*/, '') ?? '', member);
  await product.hears(member, /We are paired/);
}

test('an agent asks with choices, and the pressed one is what it goes on with', async () => {
  asks({ question: 'Which colour?', choices: ['red', 'green'] });
  await product.hears(owner, /assistant asks: Which colour\?/);
  await product.presses(owner, owner, 'green');
  await product.hears(owner, /Result: Person 1001 answered: green/);
  await product.hears(owner, /Answered by Person 1001 at .*: green/);
  expect(product.button(owner, 'red')).toBeUndefined();
});

test('in a private chat the next message is the answer, and not a message to the agent', async () => {
  asks({ question: 'What name?' });
  await product.hears(owner, /asks: What name\?/);
  says('call it Zebra');
  await product.hears(owner, /Result: Person 1001 answered: call it Zebra/);
  const turns = await product.database.query(`select 1 from turn where payload ->> 'text' = 'call it Zebra'`);
  expect(turns).toEqual([]);
});

test('asked before a restart, answered after it: the turn goes on where it was', async () => {
  asks({ question: 'Go on after the restart?', choices: ['sure'] });
  const token = await product.offers(owner, 'sure');
  await product.kill('up');
  await product.start('up');
  product.telegram.people.presses(owner, owner, token);
  await product.hears(owner, /Result: Person 1001 answered: sure/);
  expect(await product.database.query(`select 1 from question where text like 'Go on after%'`)).toHaveLength(1);
});

test('/stop while a question is open drops the work, and a late press is told so', async () => {
  asks({ question: 'Still there?', choices: ['here'] });
  const token = await product.offers(owner, 'here');
  says('/stop');
  await product.hears(owner, /Stopped\. One request dropped/);
  await product.hears(owner, /Still there\?[\s\S]*Cancelled/);
  const query = product.telegram.people.presses(owner, owner, token, { forged: true });
  const answer = await product.telegram.waitFor(
    () =>
      product.telegram.callsOf('answerCallbackQuery').find((call) => call.params['callback_query_id'] === query)
        ?.params,
  );
  expect(answer['text']).toMatch(/This question was cancelled/);
});

test('nobody answers in time: the agent is told and goes on', async () => {
  asks({ question: 'Quick?', wait_minutes: 1 });
  await product.hears(owner, /asks: Quick\?/);
  await product.database.query(
    `update question set created_at = created_at - interval '2 hours', expires_at = expires_at - interval '1 hour'
     where state = 'pending'`,
  );
  await product.hears(owner, /Result: Nobody answered in time/);
});

test('a person is asked for somebody else in their own chat, and nobody else can answer', async () => {
  await pairMember();
  asks({ question: 'May they have the keys?', to: '@Person 1001' }, member);
  await product.hears(member, /I asked Person 1001: May they have the keys\?/);
  await product.hears(owner, /asks: May they have the keys\?/);
  says('yes they may', owner);
  await product.hears(member, /Result: Person 1001 answered: yes they may/);
  await product.hears(member, /I asked Person 1001[\s\S]*Answered by Person 1001/);
});

test('denying with a reason in a chat without forms: the line asks, the reply is the reason', async () => {
  says('exec: touch reasoned.txt');
  await product.presses(owner, owner, 'Deny with reason');
  await product.hears(owner, /Why do you deny it\?/);
  says('we are in a freeze');
  await product.hears(owner, /Result: Denied by Person 1001\. Reason: we are in a freeze/);
  await product.hears(owner, /reasoned\.txt[\s\S]*Denied by Person 1001.*we are in a freeze/);
});

test('the approver is at the terminal, the requester on Telegram: both read how it ended', async () => {
  // The owner used the terminal last, so that is where they are found.
  await product.cli(['chat', '-m', 'say: hello', '--room', 'desk']);
  says('exec: echo from-the-$((40+2))', member);
  await product.hears(member, /asks: may I do this\?/);
  const listed = await product.cli(['chat', '-m', '/approvals', '--room', 'desk']);
  expect(listed.stdout).toContain('from-the-');
  const copies = await product.database.query<{ body: unknown }>(
    `select body from outbox where thread_key like 'console:%' and key like 'approval:%'`,
  );
  expect(JSON.stringify(copies)).toContain('asks from a telegram private chat');
  await product.cli(['chat', '-m', '/approve all looks right', '--room', 'desk']);
  await product.hears(member, /Result: [\s\S]*from-the-42/);
  await product.hears(member, /Approved by .*: looks right/);
  const settled = await product.database.query<{ body: unknown }>(
    `select body from outbox where thread_key like 'console:%' and key like 'approval:%'`,
  );
  expect(JSON.stringify(settled)).toContain('**Approved**');
});
