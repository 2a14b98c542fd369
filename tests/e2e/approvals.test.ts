import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { eventually } from '#tests/support/eventually.ts';
import { owner, Product } from '../support/product.ts';
import { scriptedBrain } from '../support/scripted-brain.ts';

let product: Product;
const stranger = 4004;

beforeAll(async () => {
  product = await Product.up({
    agents: [
      {
        name: 'assistant',
        frontMatter: `tools: [exec, memory_save]
autonomy: supervised
grants:
  - ask: tool.exec
  - deny: tool.exec
    on: ["shutdown*"]
  - allow: memory.*`,
      },
      {
        name: 'hasty',
        frontMatter: `tools: [exec]
grants: [{ ask: tool.exec }]
approval: { expires_minutes: 1 }`,
      },
    ],
    script: scriptedBrain,
  });
});
afterEach(async () => await product.rests());
afterAll(async () => {
  await product[Symbol.asyncDispose]();
});

function says(text: string): void {
  product.telegram.people.says(owner, owner, text);
}

async function answersTo(query: string): Promise<{ text?: string; show_alert?: boolean }> {
  return await product.telegram.waitFor(
    () =>
      product.telegram.callsOf('answerCallbackQuery').find((call) => call.params['callback_query_id'] === query)
        ?.params,
  );
}

async function approvalStates(): Promise<Record<string, number>> {
  const rows = await product.database.query<{ state: string; count: number }>(
    'select state, count(*)::int as count from approval group by state',
  );
  return Object.fromEntries(rows.map((row) => [row.state, row.count]));
}

test('a denied command is not run, its reason reaches the model, and the card says who denied it', async () => {
  says('exec: touch denied.txt');
  await product.presses(owner, owner, 'Deny', 'denied.txt');
  await product.hears(owner, /Result: Denied by Person 1001/);
  const card = await product.telegram.waitFor(() =>
    product.telegram.said(owner).findLast(({ text }) => /denied\.txt[\s\S]*Denied by Person 1001/.test(text)),
  );
  expect(card.buttons).toEqual([]);
  says('call: memory_save {"text":"ok"}');
  await product.hears(owner, /Result: Remembered: ok/);
});

test('a double click decides once and tells the second press what was decided', async () => {
  says('exec: echo double-$((1+1))');
  const token = await product.offers(owner, 'Approve', 'double-');
  const first = product.telegram.people.presses(owner, owner, token);
  const second = product.telegram.people.presses(owner, owner, token, { forged: true });
  await product.hears(owner, /Result: [\s\S]*double-2/);
  const texts = [await answersTo(first), await answersTo(second)].map((answer) => answer.text ?? '');
  expect(texts.filter((text) => text === 'Approved.')).toHaveLength(1);
  expect(texts.filter((text) => text.startsWith('This was already approved by Person 1001'))).toHaveLength(1);
  const runs = await product.database.query(
    `select 1 from event where kind = 'tool_finished' and payload ->> 'text' like '%double-2%'`,
  );
  expect(runs).toHaveLength(1);
});

test('a stranger and another chat cannot press a button, and the question stays open for the owner', async () => {
  says('exec: echo guarded');
  const token = await product.offers(owner, 'Approve', 'guarded');
  product.telegram.people.privateChat(stranger);
  const byStranger = product.telegram.people.presses(stranger, stranger, token, { forged: true });
  expect((await answersTo(byStranger)).text).toMatch(/Only people I am paired with/);
  const strays = `select 1 from audit_body where body ->> 'kind' = 'approval.stray_press' and body ->> 'why' = 'stranger'`;
  await eventually(async () => expect(await product.database.query(strays)).toHaveLength(1));
  product.telegram.people.group(-500);
  const elsewhere = product.telegram.people.presses(-500, owner, token, { forged: true });
  expect((await answersTo(elsewhere)).text).toMatch(/belongs to another chat/);
  expect((await approvalStates())['pending']).toBe(1);
  await product.presses(owner, owner, 'Deny', 'guarded');
  await product.hears(owner, /guarded[\s\S]*Denied by Person 1001/);
});

test('a made-up token is refused without a trace of what exists', async () => {
  const query = product.telegram.people.presses(owner, owner, 'v1.AAAAAAAAAAAAAAAAAAAAAA', { forged: true });
  expect((await answersTo(query)).text).toBe('This request is not known any more.');
});

test('an approval nobody decides expires, the card says so and the agent is told', async () => {
  says('@hasty exec: echo too-late');
  const token = await product.offers(owner, 'Approve', 'too-late');
  await product.database.query(
    `update approval set created_at = created_at - interval '2 hours', expires_at = expires_at - interval '1 hour'
     where state = 'pending'`,
  );
  await product.hears(owner, /Result: Nobody decided in time/);
  const late = product.telegram.people.presses(owner, owner, token, { forged: true });
  expect((await answersTo(late)).text).toMatch(/expired/);
});

test('"always in this session" runs the same command again without asking, and revoking asks again', async () => {
  says('exec: echo again-$((2+3))');
  await product.presses(owner, owner, 'Always in this session', 'again-');
  await product.hears(owner, /Result: [\s\S]*again-5/);
  const asked = async (): Promise<number> =>
    (await product.database.query(`select 1 from approval where summary like 'echo again-%'`)).length;
  expect(await asked()).toBe(1);
  says('exec: echo again-$((2+3))');
  await product.telegram.waitFor(
    () => product.telegram.said(owner).filter((message) => /Result: [\s\S]*again-5/.test(message.text)).length === 2,
  );
  expect(await asked()).toBe(1);

  says('/grants');
  const list = await product.hears(owner, /session .*tool\.exec/);
  const id = /([0-9a-f]{8}-[0-9a-f-]{27})/.exec(list)?.[1] ?? '';
  says(`/revoke ${id}`);
  await product.hears(owner, /Taken back: tool\.exec/);
  says('exec: echo again-$((2+3))');
  await product.presses(owner, owner, 'Deny', 'again-');
  expect(await asked()).toBe(2);
});

test('a command the profile denies is never asked for', async () => {
  says('exec: true && shutdown -h now');
  await product.hears(owner, /Result: Denied\./);
  expect(await product.database.query(`select 1 from approval where summary like '%shutdown%'`)).toEqual([]);
});

test('/stop while an approval waits ends the turn and its card at once', async () => {
  says('exec: echo parked');
  await product.offers(owner, 'Approve', 'parked');
  says('/stop');
  await product.hears(owner, /Stopped\. One request dropped/);
  await product.telegram.waitFor(() =>
    product.telegram.said(owner).some((message) => /echo parked[\s\S]*Cancelled/.test(message.text)),
  );
  expect(product.button(owner, 'Approve')).toBeUndefined();
});

test('a message sent while a question is open is told why it waits, and is read after the decision', async () => {
  says('exec: echo first-things-first');
  await product.offers(owner, 'Approve', 'first-things-first');
  says('say: and then this');
  await product.hears(owner, /as soon as the request above is decided/);
  await product.presses(owner, owner, 'Approve', 'first-things-first');
  await product.hears(owner, /and then this/);
});

test('an approval can be decided by command and listed from the command line', async () => {
  says('exec: echo by-command');
  await product.offers(owner, 'Approve', 'by-command');
  says('/approvals');
  await product.hears(owner, /by-command \(risk/);
  says('/approve');
  await product.hears(owner, /Result: [\s\S]*by-command/);
});

test('asked before a restart, answered after it: the command runs once and the answer comes', async () => {
  says('exec: echo restarted >> restarts.txt; cat restarts.txt');
  const token = await product.offers(owner, 'Approve', 'restarts.txt');
  await product.kill('up');
  await product.start('up');
  product.telegram.people.presses(owner, owner, token);
  const answer = await product.hears(owner, /Result: [\s\S]*restarted/);
  expect(answer.match(/restarted/g)).toHaveLength(1);
});
