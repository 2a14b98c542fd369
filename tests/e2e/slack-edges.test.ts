import { afterAll, beforeAll, expect, test } from 'vitest';
import { FakeSlack, type SeenMessage } from '../fakes/slack/fake-slack.ts';
import { owner, Product } from '../support/product.ts';
import { memoryAsker, scriptedBrain } from '../support/scripted-brain.ts';

const alice = 'U100ALICE';
const bob = 'U100BOB';
const carol = 'U100CAROL';
/** Of another workspace, in the channel by Slack Connect. */
const xenia = 'U900XENIA';
const otherTeam = 'T900OTHER';
const room = 'C100ROOM';

let slack: FakeSlack;
let product: Product;

/** Alice owns the product, on Slack and on Telegram; Bob is an admin, Carol a member. */
beforeAll(async () => {
  slack = await FakeSlack.start({ limits: { triggerMs: 30_000 } });
  slack.world.addUser(xenia, 'Xenia of elsewhere', otherTeam);
  slack.people.channel(room, [alice, bob, carol, xenia]);
  product = await Product.up({
    agents: [memoryAsker],
    script: scriptedBrain,
    env: { SLACK_BOT_TOKEN: slack.botToken, SLACK_APP_TOKEN: slack.appToken, SLACK_API_URL: slack.apiUrl },
  });
  for (const [person, role] of [
    [alice, 'owner'],
    [bob, 'admin'],
    [carol, 'member'],
  ] as const) {
    const { stdout } = await product.cli(['pair', '--role', role, '--json']);
    const dm = slack.people.dm(person);
    slack.people.says(dm, person, (JSON.parse(stdout) as { code: string }).code);
    await heard(dm, /We are paired/);
  }
});
afterAll(async () => {
  await product[Symbol.asyncDispose]();
  await slack[Symbol.asyncDispose]();
});

async function heard(channel: string, pattern: RegExp, thread?: string): Promise<SeenMessage> {
  return await slack.waitFor(() =>
    slack.said(channel, thread).find(({ text, isStreaming }) => !isStreaming && pattern.test(text)),
  );
}

interface Card {
  readonly ts: string;
  readonly thread: string;
  /** What stands behind the button with this label. */
  readonly token: (label: string) => string;
}

/** Somebody asks in the channel for something that needs a word. */
async function asksFor(person: string, what: string): Promise<Card> {
  const thread = slack.people.mentions(room, person, `call: memory_save {"text":"${what}"}`);
  return await cardOf(thread, what);
}

async function cardOf(thread: string, what: string): Promise<Card> {
  const card = await slack.waitFor(() =>
    slack.said(room, thread).find(({ text, buttons }) => text.includes(what) && buttons.length > 0),
  );
  const token = (label: string): string => card.buttons.find((button) => button.label === label)?.value ?? '';
  return { ts: card.ts, thread, token };
}

function shown(card: Card): SeenMessage | undefined {
  return slack.said(room, card.thread).find(({ ts }) => ts === card.ts);
}

/** What only this person was told in the card's thread or beside it. */
function whispers(person: string): readonly string[] {
  return slack.transcript(room).flatMap(({ onlyFor, text }) => (onlyFor === person ? [text] : []));
}

/** Brings presses to the product in one moment, before any of them can change the card. */
function together(press: () => void): void {
  slack.push.isHeld = true;
  press();
  slack.push.release('same');
}

async function rows<T extends object>(sql: string, values: readonly unknown[] = []): Promise<readonly T[]> {
  return await product.database.query<T>(sql, [...values]);
}

async function audits(kind: string): Promise<readonly Record<string, unknown>[]> {
  const found = await rows<{ body: Record<string, unknown> }>(
    `select body from audit_body where body ->> 'kind' = $1`,
    [kind],
  );
  return found.map(({ body }) => body);
}

async function turnsOf(thread: string): Promise<readonly { readonly text: string; readonly state: string }[]> {
  return await rows(
    `select t.payload ->> 'text' as text, t.state from turn t join session s on s.id = t.session_id
     where s.thread_key like $1 order by t.seq`,
    [`%${thread}`],
  );
}

test('the stop sign of Slack ends the run at once and keeps what was written as a message', async () => {
  const thread = slack.people.mentions(room, alice, `endless: ${'word '.repeat(60).trim()}`);
  await slack.waitFor(() => slack.said(room, thread).some(({ text }) => /word word/.test(text)));
  slack.people.pressesStop(room, alice, thread);
  await heard(room, /Stopped\./, thread);
  await slack.waitFor(() => slack.said(room, thread).every(({ isStreaming }) => !isStreaming));
  expect(slack.said(room, thread).filter(({ text }) => text.includes('word word'))).toHaveLength(1);
  await product.rests();
  const [run] = await rows<{ state: string; took: number }>(
    `select t.state, extract(epoch from t.finished_at - i.received_at)::float8 as took
     from turn t join session s on s.id = t.session_id, inbox i
     where s.thread_key like $1 and i.raw::text like '%agent_session_stopped%'`,
    [`%${thread}`],
  );
  expect(run?.state).toBe('cancelled');
  expect(run?.took).toBeLessThan(10);
});

test('whoever may not decide is told alone, and two approvers at once decide once', async () => {
  const card = await asksFor(carol, 'a heron');
  slack.people.presses(carol, card.token('Approve'));
  await slack.waitFor(() => whispers(carol).some((text) => /You may not decide this/.test(text)));
  expect(shown(card)?.buttons.length).toBeGreaterThan(0);
  expect(await audits('approval.refused')).toHaveLength(1);

  together(() => {
    slack.people.presses(alice, card.token('Approve'));
    slack.people.presses(bob, card.token('Approve'));
    slack.people.presses(bob, card.token('Approve'));
  });
  await heard(room, /Remembered: a heron/, card.thread);
  const told = (): readonly string[] =>
    [...whispers(alice), ...whispers(bob)].filter((text) => /This was already approved by .+ at/.test(text));
  await slack.waitFor(() => told().length === 2);
  await slack.waitFor(() => shown(card)?.buttons.length === 0);
  expect(
    await rows(`select 1 from approval_verdict v join approval a on a.id = v.approval_id
    where a.summary like '%heron%'`),
  ).toHaveLength(1);
});

test('a button of before a restart whose time is over says so, and the card loses its buttons', async () => {
  const card = await asksFor(alice, 'an egret');
  await product.kill('up');
  await rows(`update approval set created_at = now() - interval '2 hours', expires_at = now() - interval '1 hour'
    where state = 'pending'`);
  slack.push.isHeld = true;
  slack.people.presses(alice, card.token('Approve'));
  await product.start('up');
  await slack.waitFor(() => slack.socketMode.openConnections > 0, 90_000);
  slack.push.release('same');
  await slack.waitFor(() => whispers(alice).some((text) => /This request expired at/.test(text)));
  await slack.waitFor(() => shown(card)?.buttons.length === 0);
  expect(shown(card)?.text).toContain('Expired');
  await slack.waitFor(() => slack.said(room, card.thread).some(({ text }) => /^Result: /.test(text)));
  expect(slack.said(room, card.thread).some(({ text }) => /Remembered: an egret/.test(text))).toBe(false);
});

test('whoever belongs to another workspace can do nothing: not press, not ask, not command, not change', async () => {
  const card = await asksFor(alice, 'a stork');
  const asked = product.model.requests.length;
  slack.people.presses(xenia, card.token('Approve'));
  // Slack says of some presses only which workspace they come from; the name alone proves nobody.
  const { payload } = slack.people.presses(xenia, card.token('Approve'));
  slack.push.add('interactive', { ...payload, user: { id: alice, name: 'Alice' }, team: { id: otherTeam } });
  await expect.poll(async () => (await audits('approval.stray_press')).length).toBe(3);
  expect((await audits('approval.stray_press')).map(({ why }) => why)).toEqual(['external', 'external', 'external']);
  await slack.waitFor(() => whispers(xenia).some((text) => /cannot tell who you are/.test(text)));
  expect(shown(card)?.buttons.length).toBeGreaterThan(0);

  const before = slack.said(room).length;
  const thread = slack.people.mentions(room, xenia, 'say: let me in');
  slack.people.says(room, xenia, 'say: and here', { thread: card.thread });
  slack.people.slashCommand(room, xenia, '/run', 'say: by command');
  slack.people.edits(room, thread, `<@${slack.world.botUser}> say: let me in, please`);
  slack.people.says(slack.people.dm(xenia), xenia, 'say: in private');
  slack.people.pressesStop(room, xenia, card.thread);
  // What Alice does last is done last: everything before it had its chance.
  slack.people.presses(alice, card.token('Approve'));
  await heard(room, /Remembered: a stork/, card.thread);
  const added = slack
    .said(room)
    .slice(before)
    .filter(({ onlyFor }) => onlyFor === undefined);
  expect(added.every(({ threadTs }) => threadTs === card.thread)).toBe(true);
  expect(slack.said(room, thread).filter(({ onlyFor }) => onlyFor === undefined)).toEqual([]);
  const since = JSON.stringify(product.model.requests.slice(asked).map(({ body }) => body));
  for (const words of ['let me in', 'and here', 'by command', 'in private']) expect(since).not.toContain(words);
});

test('replies that overtake each other are read in their order, and one that comes after all says so', async () => {
  const thread = slack.people.mentions(room, alice, 'say: begun');
  await heard(room, /begun/, thread);
  slack.people.mentions(room, alice, 'queue followup', { thread });
  await heard(room, /Queue mode `followup`/, thread);
  slack.push.isHeld = true;
  for (const text of ['say: one', 'say: two', 'say: three']) slack.people.says(room, alice, text, { thread });
  slack.push.release('reversed');
  await heard(room, /^three$/, thread);
  expect((await turnsOf(thread)).map(({ text }) => text)).toEqual(['say: begun', 'say: one', 'say: two', 'say: three']);

  slack.push.isHeld = true;
  slack.people.says(room, alice, 'the fourth', { thread });
  slack.push.isHeld = false;
  slack.people.says(room, alice, 'say: the fifth', { thread });
  await heard(room, /^the fifth$/, thread);
  slack.push.release('same');
  await heard(room, /arrived late[\s\S]*the fourth/, thread);
});

test('what waits is asked as it reads now, and not at all once it is deleted', async () => {
  const thread = slack.people.mentions(room, alice, 'say: ready');
  await heard(room, /ready/, thread);
  slack.people.mentions(room, alice, 'queue followup', { thread });
  await heard(room, /Queue mode `followup`/, thread);
  slack.people.says(room, alice, 'call: memory_save {"text":"a crane"}', { thread });
  const card = await cardOf(thread, 'a crane');
  const edited = slack.people.says(room, alice, 'say: paint it blue', { thread });
  const deleted = slack.people.says(room, alice, 'say: burn it', { thread });
  const waiting = async (): Promise<readonly string[]> =>
    (await turnsOf(thread)).flatMap(({ text, state }) => (state === 'queued' ? [text] : []));
  await expect.poll(waiting).toEqual(['say: paint it blue', 'say: burn it']);
  slack.people.edits(room, edited, 'say: paint it green');
  slack.people.deletes(room, deleted);
  await expect.poll(waiting).toEqual(['say: paint it green']);
  slack.people.presses(alice, card.token('Approve'));
  await heard(room, /^paint it green$/, thread);
  await product.rests();
  expect((await turnsOf(thread)).map(({ state }) => state)).toEqual(['done', 'done', 'done', 'cancelled']);
  expect(slack.said(room, thread).some(({ text }) => /paint it blue|burn it/.test(text))).toBe(false);
});

test('a bot that is removed from a channel gives up what waits for it, and works there once it is back', async () => {
  const side = slack.people.channel('C101SIDE', [alice]);
  const asked = product.model.requests.length;
  slack.people.mentions(side, alice, 'slow: the answer of before');
  await expect.poll(() => product.model.requests.length).toBeGreaterThan(asked);
  slack.people.changes(side, 'remove', alice);
  const state = async (): Promise<string | undefined> =>
    (await rows<{ state: string }>('select state from channel_room where room = $1', [side]))[0]?.state;
  await expect.poll(state).toBe('left');
  const given = async (): Promise<readonly string[]> =>
    (
      await rows<{ state: string }>(
        `select o.state from outbox o join turn t on t.id = o.turn_id
         where t.state = 'done' and t.payload ->> 'text' = 'slow: the answer of before' and o.is_final
           and o.body::text like '%the answer of before%'`,
      )
    ).map((message) => message.state);
  await expect.poll(given).toEqual(['dead']);

  slack.people.changes(side, 'invite', alice);
  await expect.poll(state).toBe('active');
  const thread = slack.people.mentions(side, alice, 'say: back again');
  await heard(side, /^back again$/, thread);
  expect(slack.said(side).some(({ text }) => text === 'the answer of before')).toBe(false);
});

test('right-to-left words keep their marks: as written on Slack, with exact places on Telegram', async () => {
  const words = '**שלום** עולם, مرحبا 👩‍👩‍👧 `קוד()` (v2) ~~لا~~';
  const thread = slack.people.mentions(room, alice, `say: ${words}`);
  expect((await heard(room, /~~لا~~$/, thread)).text).toBe(words);
  product.telegram.people.says(owner, owner, `say: ${words}`);
  const text = await product.hears(owner, /لا$/);
  expect(text).toBe('שלום עולם, مرحبا 👩‍👩‍👧 קוד() (v2) لا');
  const { entities } = await product.telegram.waitFor(() =>
    product.telegram.said(owner).find((said) => said.text === text),
  );
  expect(entities.map(({ type, offset, length }) => [type, text.slice(offset, offset + length)])).toEqual([
    ['bold', 'שלום'],
    ['code', 'קוד()'],
    ['strikethrough', 'لا'],
  ]);
});
