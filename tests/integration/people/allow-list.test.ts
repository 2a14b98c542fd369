import { afterEach, expect, test } from 'vitest';
import type { Conversation } from '#core/sessions/origin.ts';
import { RoutingStage, type Somebody } from '#tests/support/routing-stage.ts';

let stage: RoutingStage;
afterEach(async () => await stage[Symbol.asyncDispose]());

const dm = (name: string): Conversation => ({ channel: 'discord', account: 'app', room: `dm-${name}`, kind: 'dm' });
const room = (id: string): Conversation => ({
  channel: 'discord',
  account: 'app',
  space: 'guild',
  room: id,
  kind: 'channel',
});
const tom: Somebody = { name: 'tom' };

test('without an allow list a stranger gets nothing done: one refusal in private, silence in a group', async () => {
  stage = await RoutingStage.open();
  await stage.says(dm('tom'), tom, 'hello');
  await stage.says(room('1'), tom, 'hello');
  expect(await stage.lastText(dm('tom'))).toContain('I only work for people I am paired with');
  expect(await stage.said(room('1'))).toEqual([]);
  expect(await stage.turns(dm('tom'))).toEqual([]);
});

test('people of the list become members of their own, with an audit record, and nobody else does', async () => {
  stage = await RoutingStage.open('channels: {discord: {allow: {people: [tom, "123456789012345678"]}}}');
  await stage.says(dm('tom'), tom, 'work');
  expect((await stage.personOf(dm('tom'), tom))?.role).toBe('member');
  expect(await stage.turns(dm('tom'))).toHaveLength(1);
  expect(await stage.audited('person.admitted')).toBe(1);
  const eve = { name: 'eve' };
  await stage.says(dm('eve'), eve, 'work');
  expect(await stage.turns(dm('eve'))).toEqual([]);
});

test('an entry that was taken out of the file takes the admission with it', async () => {
  stage = await RoutingStage.open();
  await stage.says(dm('tom'), tom, 'hello');
  await stage.pairs(dm('tom'), tom, 'member');
  await stage.database.query(`update identity set admitted_by = 'people tom' where external_id = 'tom'`);
  await stage.says(dm('tom'), tom, 'work');
  expect(await stage.turns(dm('tom'))).toEqual([]);
});

test('a role lets in for as long as somebody has it where the platform shows roles', async () => {
  stage = await RoutingStage.open('channels: {discord: {allow: {roles: ["77"]}}}');
  await stage.says(room('1'), { name: 'tom', roles: ['5', '77'] }, 'work');
  await stage.says(room('1'), { name: 'eve', roles: ['5'] }, 'work');
  // In private Discord shows no roles.
  await stage.says(dm('tom'), tom, 'and here');
  await stage.says(room('1'), { name: 'tom', roles: ['5'] }, 'not any more');
  expect((await stage.turns(room('1'))).map(({ text }) => text)).toEqual(['work']);
  expect((await stage.turns(dm('tom'))).map(({ text }) => text)).toEqual(['and here']);
});

test('a listed room is open to everybody in it but not to outsiders, bots and the nameless', async () => {
  stage = await RoutingStage.open('channels: {discord: {allow: {rooms: ["42"]}}}');
  await stage.says(room('42'), tom, 'work');
  await stage.says(room('42'), { name: 'guest', isExternal: true }, 'work');
  await stage.says(room('42'), { name: 'robot', isBot: true }, 'work');
  await stage.says(room('42'), { name: 'mask', isAnonymous: true }, 'work');
  await stage.says(room('43'), { name: 'eve' }, 'work');
  expect(await stage.turns(room('42'))).toHaveLength(1);
  expect(await stage.turns(room('43'))).toEqual([]);
});

test('an outsider does nothing even when paired, and is told so where the platform waits for an answer', async () => {
  stage = await RoutingStage.open();
  await stage.pairs(dm('tom'), tom, 'owner');
  await stage.commands(room('1'), { name: 'tom', isExternal: true }, 'run something');
  expect(await stage.turns(room('1'))).toEqual([]);
  expect(stage.acknowledged.at(-1)?.text).toContain('I cannot tell who you are');
});

test('a closed kind of room is closed to members and not to owners', async () => {
  stage = await RoutingStage.open('channels: {discord: {allow: {channel: closed}, rooms: {"9": {mode: paired}}}}');
  await stage.pairs(dm('tom'), tom, 'member');
  await stage.pairs(dm('olga'), { name: 'olga' }, 'owner');
  await stage.says(room('1'), tom, 'work');
  await stage.says(room('1'), { name: 'olga' }, 'mend');
  await stage.says(room('9'), tom, 'work here');
  expect((await stage.turns(room('1'))).map(({ text }) => text)).toEqual(['mend']);
  expect(await stage.turns(room('9'))).toHaveLength(1);
});

test('groups want a mention unless the room says otherwise', async () => {
  stage = await RoutingStage.open('channels: {discord: {rooms: {"8": {mention: optional}}}}');
  await stage.pairs(dm('tom'), tom, 'member');
  await stage.does(room('7'), tom, { type: 'message', text: 'chatter', addressed: 'none' });
  await stage.does(room('8'), tom, { type: 'message', text: 'meant for you', addressed: 'none' });
  expect(await stage.turns(room('7'))).toEqual([]);
  expect(await stage.turns(room('8'))).toHaveLength(1);
});

test('an account that is not on the list of accounts is not served', async () => {
  stage = await RoutingStage.open('channels: {discord: {allow: {accounts: [other]}}}');
  await stage.pairs(dm('tom'), tom, 'member');
  expect(await stage.personOf(dm('tom'), tom)).toBeUndefined();
});

test('a request to be let in is shown to owners once, and the stranger hears what was decided', async () => {
  stage = await RoutingStage.open('channels: {discord: {allow: {requests: true}}}');
  const olga = { name: 'olga' };
  await stage.pairs(dm('olga'), olga, 'owner');
  // The pairing itself came from a stranger; from now on the owner has a private chat.
  await stage.commands(dm('olga'), olga, 'status');
  await stage.says(dm('tom'), tom, 'let me in');
  await stage.says(dm('tom'), tom, 'please');
  expect(await stage.lastText(dm('tom'))).toContain('I have asked');
  expect((await stage.said(dm('olga'))).filter(({ text }) => text.includes('is not known to me'))).toHaveLength(1);
  expect(await stage.commands(dm('eve'), { name: 'eve' }, 'status')).toContain('I have asked');

  await stage.presses(dm('olga'), olga, 'Let in');
  expect(await stage.lastText(dm('eve'))).toContain('Welcome, eve');
  expect((await stage.personOf(dm('eve'), { name: 'eve' }))?.role).toBe('member');
  await stage.presses(dm('olga'), olga, 'Refuse');
  expect(await stage.lastText(dm('tom'))).toBe('You were not let in.');
  expect(await stage.personOf(dm('tom'), tom)).toBeUndefined();
});

test('a request that nobody answered in a week can no longer be answered, and a button works only where it was shown', async () => {
  stage = await RoutingStage.open('channels: {discord: {allow: {requests: true}}}');
  const olga = { name: 'olga' };
  await stage.pairs(dm('olga'), olga, 'owner');
  await stage.commands(dm('olga'), olga, 'status');
  await stage.says(dm('tom'), tom, 'let me in');
  const token = (await stage.said(dm('olga'))).at(-1)?.buttons.get('Let in') ?? '';
  await stage.does(room('1'), olga, { type: 'press', token });
  expect(stage.acknowledged.at(-1)?.text).toBe('This button belongs to another chat.');
  await stage.database.query(
    `update offer set created_at = now() - interval '8 days', expires_at = now() - interval '1 day'`,
  );
  await stage.does(dm('olga'), olga, { type: 'press', token });
  expect(stage.acknowledged.at(-1)?.text).toBe('This has expired.');
  expect(await stage.lastText(dm('olga'))).toContain('Expired.');
  expect(await stage.personOf(dm('tom'), tom)).toBeUndefined();
});
