import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Conversation } from '#core/sessions/origin.ts';
import { RoutingStage, type Somebody } from '#tests/support/routing-stage.ts';

let stage: RoutingStage;
const dm = (name: string): Conversation => ({ channel: 'telegram', account: 'bot', room: name, kind: 'dm' });
const group: Conversation = { channel: 'telegram', account: 'bot', room: '-5', kind: 'group' };
const olga: Somebody = { name: 'olga' };
const adam: Somebody = { name: 'adam' };
const mia: Somebody = { name: 'mia' };

beforeAll(async () => {
  stage = await RoutingStage.open();
  await stage.pairs(dm('olga'), olga, 'owner');
  await stage.pairs(dm('adam'), adam, 'admin');
  await stage.pairs(dm('mia'), mia, 'member');
});
afterAll(async () => await stage[Symbol.asyncDispose]());

test('an owner sees everyone with their accounts, and a member is refused in one sentence', async () => {
  const list = await stage.commands(dm('olga'), olga, 'people');
  expect(list).toMatch(/\*\*olga\*\* \(owner\): telegram `olga`/);
  expect(list).toMatch(/\*\*mia\*\* \(member\)/);
  expect(await stage.commands(dm('mia'), mia, 'people')).toBe(
    'Only an owner or admin can see who I work for. Ask one of them.',
  );
});

test('whoever asked can be let in by name, and somebody who never wrote by channel and id', async () => {
  await stage.says(dm('tom'), { name: 'tom' }, 'hello?');
  expect(await stage.commands(dm('olga'), olga, 'people')).toContain('tom');
  expect(await stage.commands(dm('adam'), adam, 'allow tom')).toContain('I work for **tom**');
  expect((await stage.personOf(dm('tom'), { name: 'tom' }))?.role).toBe('member');
  await stage.database.query(`insert into channel_account (channel, account) values ('telegram', 'bot')`);
  await stage.commands(dm('olga'), olga, 'allow telegram:4711');
  expect((await stage.personOf(dm('4711'), { name: '4711' }))?.role).toBe('member');
  expect(await stage.commands(dm('mia'), mia, 'allow tom')).toContain('Only an owner or admin');
  expect(await stage.commands(dm('olga'), olga, 'allow nobody')).toContain('Nobody who asked is called "nobody"');
});

test('whoever is removed is a stranger at once, and comes back only by a decision', async () => {
  const rex = { name: 'rex' };
  await stage.pairs(dm('rex'), rex, 'member');
  await stage.commands(dm('olga'), olga, 'remove rex');
  await stage.says(dm('rex'), rex, 'work for me');
  expect(await stage.turns(dm('rex'))).toEqual([]);
  expect(await stage.audited('person.removed')).toBe(1);
  await stage.commands(dm('olga'), olga, 'allow rex');
  await stage.says(dm('rex'), rex, 'and now?');
  expect(await stage.turns(dm('rex'))).toHaveLength(1);
});

test('an admin removes members only, roles are an owner matter, and the last owner stays', async () => {
  expect(await stage.commands(dm('adam'), adam, 'remove olga')).toBe(
    'Only an owner can remove an owner. Ask an owner.',
  );
  expect(await stage.commands(dm('adam'), adam, 'role mia admin')).toContain('Only an owner can change');
  expect(await stage.commands(dm('olga'), olga, 'remove olga')).toContain('olga is the last owner');
  expect(await stage.commands(dm('olga'), olga, 'role olga member')).toContain('last owner');
  expect(await stage.commands(dm('olga'), olga, 'role mia chief')).toContain('There is no role "chief"');
  expect(await stage.commands(dm('olga'), olga, 'role mia admin')).toBe('**mia** is admin from now on.');
  expect((await stage.personOf(dm('mia'), mia))?.role).toBe('admin');
});

test('two owners who remove each other at the same moment leave one', async () => {
  await using duel = await RoutingStage.open();
  await duel.pairs(dm('a'), { name: 'a' }, 'owner');
  await duel.pairs(dm('b'), { name: 'b' }, 'member');
  await duel.commands(dm('a'), { name: 'a' }, 'role b owner');
  await Promise.all([
    duel.commands(dm('a'), { name: 'a' }, 'remove b'),
    duel.commands(dm('b'), { name: 'b' }, 'remove a'),
  ]);
  const [left] = await duel.database.query<{ count: number }>(
    `select count(*)::int as count from person where role = 'owner' and disabled_at is null`,
  );
  expect(left?.count).toBe(1);
});

test('pairing codes are made in private only, listed with their time and revoked', async () => {
  expect(await stage.commands(group, olga, 'pair')).toContain('Everyone here would read the code');
  const code = /[0-9A-Z]{4}-[0-9A-Z]{4}/.exec(await stage.commands(dm('olga'), olga, 'pair'))?.[0];
  const list = await stage.commands(dm('olga'), olga, 'pair list');
  expect(list).toMatch(/for one member, by olga, (59 min \d+ s|1 h 0 min|60 min) left/);
  const id = /`([0-9a-f]{6})`/.exec(list)?.[1];
  expect(await stage.commands(dm('olga'), olga, `pair revoke ${id}`)).toBe('Revoked: 1.');
  await stage.commands(dm('zoe'), { name: 'zoe' }, `start ${code}`);
  expect(await stage.personOf(dm('zoe'), { name: 'zoe' })).toBeUndefined();
});

test('a pairing code that is written in a group is spoilt, whoever writes it', async () => {
  const code = /[0-9A-Z]{4}-[0-9A-Z]{4}/.exec(await stage.commands(dm('olga'), olga, 'pair admin'))?.[0] ?? '';
  expect(await stage.commands(group, { name: 'eve' }, `start ${code}`)).toContain('does not work any more');
  await stage.commands(dm('eve'), { name: 'eve' }, `start ${code}`);
  expect(await stage.personOf(dm('eve'), { name: 'eve' })).toBeUndefined();
});

test('at most twenty codes are open, and a stranger hears one refusal however much they write', async () => {
  for (let made = 0; made < 20; made += 1) await stage.commands(dm('olga'), olga, 'pair');
  expect(await stage.commands(dm('olga'), olga, 'pair')).toContain('already 20 unused');
  expect(await stage.commands(dm('olga'), olga, 'pair revoke')).toMatch(/^Revoked: 20/);
  for (let said = 0; said < 3; said += 1) await stage.says(dm('spam'), { name: 'spam' }, `number ${said}`);
  expect(await stage.said(dm('spam'))).toHaveLength(1);
});
