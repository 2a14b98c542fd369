import { afterEach, beforeEach, expect, test } from 'vitest';
import { putMessages } from '#core/outbox/put-messages.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { RoutingStage, type Somebody } from '#tests/support/routing-stage.ts';

let stage: RoutingStage;
const slack: Conversation = { channel: 'slack', account: 'T1', space: 'T1', room: 'D1', thread: '17.5', kind: 'dm' };
const telegram: Conversation = { channel: 'telegram', account: 'bot', room: '7', kind: 'dm' };
const group: Conversation = { channel: 'telegram', account: 'bot', room: '-9', kind: 'group' };
const atDesk: Somebody = { name: 'U1' };
const onPhone: Somebody = { name: '7' };

beforeEach(async () => {
  stage = await RoutingStage.open();
  await stage.pairs(slack, atDesk, 'member');
  const code = codeIn(await stage.commands(slack, atDesk, 'link'));
  await stage.commands(telegram, onPhone, `link ${code}`);
});
afterEach(async () => await stage[Symbol.asyncDispose]());

const codeIn = (text: string): string => /[0-9A-Z]{4}-[0-9A-Z]{4}/.exec(text)?.[0] ?? 'no code';

async function sessionOf(place: Conversation): Promise<string | undefined> {
  const [row] = await stage.database.query<{ id: string }>(
    `select id from session where state = 'active' and origin ->> 'channel' = $1 and origin ->> 'room' = $2`,
    [place.channel, place.room],
  );
  return row?.id;
}

const setTurns = async (state: string): Promise<unknown> =>
  await stage.database.query(
    state === 'done'
      ? `update turn set state = 'done', finished_at = now()`
      : `update turn set state = '${state}', started_at = now()`,
  );

test('a code takes a conversation to another channel: same session, same lane, and the old thread says where it went', async () => {
  await stage.commands(slack, atDesk, 'use coder');
  await stage.says(slack, atDesk, 'first question');
  const before = await sessionOf(slack);
  const code = codeIn(await stage.commands(slack, atDesk, 'continue'));
  expect(await stage.commands(telegram, onPhone, `continue ${code}`)).toContain('we go on with **coder**');

  expect(await sessionOf(telegram)).toBe(before);
  expect((await stage.turns(telegram)).map(({ text }) => text)).toEqual(['first question']);
  const [turn] = await stage.database.query<{ origin: object }>('select origin from turn');
  expect(turn?.origin).toMatchObject({ channel: 'telegram', room: '7' });
  expect(turn?.origin).not.toHaveProperty('thread');
  expect(turn?.origin).not.toHaveProperty('space');
  expect(await stage.lastText(slack)).toContain('goes on in a private conversation on Telegram');
  expect(await stage.audited('session.moved')).toBe(1);

  await stage.says(telegram, onPhone, 'second question');
  expect((await stage.turns(telegram)).map(({ text }) => text)).toEqual(['first question', 'second question']);
  await stage.says(slack, atDesk, 'something new');
  expect((await stage.turns(slack)).map(({ text }) => text)).toEqual(['something new']);
  expect(await sessionOf(slack)).not.toBe(before);
});

test('a list of my conversations elsewhere is numbered, and a number is enough', async () => {
  await stage.says(slack, atDesk, 'plan the trip');
  const list = await stage.commands(telegram, onPhone, 'continue');
  expect(list).toMatch(/`\/continue 1` assistant, a private conversation on Slack, \d+ s ago: plan the trip/);
  expect(await stage.commands(telegram, onPhone, 'continue 1')).toContain('we go on with **assistant**');
  expect((await stage.turns(telegram)).map(({ text }) => text)).toEqual(['plan the trip']);
  expect(await stage.commands(telegram, onPhone, 'continue 1')).toContain('not valid');
});

test('nobody takes the conversation of another, and a group never lists what is private', async () => {
  await stage.says(slack, atDesk, 'my secret plan');
  const code = codeIn(await stage.commands(slack, atDesk, 'continue'));
  const eve: Conversation = { channel: 'telegram', account: 'bot', room: '66', kind: 'dm' };
  await stage.pairs(eve, { name: '66' }, 'admin');
  expect(await stage.commands(eve, { name: '66' }, `continue ${code}`)).toContain(
    'Only the person whose conversation it is',
  );
  expect(await stage.turns(slack)).toHaveLength(1);
  expect(await stage.commands(group, onPhone, 'continue')).not.toContain('secret');
});

test('a running turn goes on: what it says from now on is said in the new place, approvals excepted', async () => {
  await stage.says(slack, atDesk, 'long work');
  await setTurns('running');
  const [turn] = await stage.database.query<{ id: string; session_id: string }>('select id, session_id from turn');
  const say = async (key: string, importance: 'result' | 'approval', place: Conversation = slack): Promise<void> =>
    await putMessages(stage.database.db, [
      {
        key,
        conversation: place,
        importance,
        sessionId: turn?.session_id ?? '',
        turnId: turn?.id ?? '',
        body: { parts: [{ type: 'markdown', markdown: key }], replyTo: '17.5' },
      },
    ]);
  await say('begun', 'result');
  const code = codeIn(await stage.commands(slack, atDesk, 'continue'));
  expect(await stage.commands(telegram, onPhone, `continue ${code}`)).toContain('It is at work');
  await say('begun', 'result');
  await say('answer', 'result');
  await say('question', 'approval');
  const keys = async (place: Conversation): Promise<string[]> => (await stage.said(place)).map(({ key }) => key);
  expect(await keys(telegram)).toContain('answer');
  expect((await stage.said(telegram)).find(({ key }) => key === 'answer')?.body).not.toHaveProperty('replyTo');
  expect(await keys(slack)).toEqual(expect.arrayContaining(['begun', 'question']));

  // And on to a third place: what is still said of the first two follows.
  const third: Conversation = { ...telegram, thread: '4' };
  await stage.commands(third, onPhone, `continue ${codeIn(await stage.commands(telegram, onPhone, 'continue'))}`);
  await say('from the first', 'result');
  await say('from the second', 'result', telegram);
  expect(await keys(third)).toEqual(expect.arrayContaining(['from the first', 'from the second']));
});

test('an open approval goes along with its buttons, and the old card says where it went', async () => {
  await stage.says(slack, atDesk, 'install it');
  const sessionId = await stage.asksApproval(slack, atDesk);
  const code = codeIn(await stage.commands(slack, atDesk, 'continue'));
  await stage.commands(telegram, onPhone, `continue ${code}`);
  const old = (await stage.said(slack)).find(({ key }) => key.includes(':moved:'));
  expect(old?.text).toContain('goes on in a private conversation on Telegram');
  expect(old?.buttons.size).toBe(0);

  await stage.presses(telegram, onPhone, 'Approve');
  const [approval] = await stage.database.query<{ state: string }>('select state from approval');
  expect(approval?.state).toBe('approved');
  expect(stage.rung.at(-1)?.sessionId).toBe(sessionId);
});

test('an agent at work here is not pushed aside, an idle conversation gives way', async () => {
  await stage.says(telegram, onPhone, 'busy here');
  await stage.says(slack, atDesk, 'from there');
  const code = codeIn(await stage.commands(slack, atDesk, 'continue'));
  expect(await stage.commands(telegram, onPhone, `continue ${code}`)).toContain('is at work here');
  await setTurns('done');
  expect(await stage.commands(telegram, onPhone, `continue ${code}`)).toContain('we go on');
  const active = await stage.database.query(`select id from session where state = 'active'`);
  expect(active).toHaveLength(1);
});
