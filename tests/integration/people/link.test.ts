import { afterAll, beforeAll, expect, test } from 'vitest';
import { findReach } from '#core/people/find-reach.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { RoutingStage, type Somebody } from '#tests/support/routing-stage.ts';

let stage: RoutingStage;
const dm = (channel: string, name: string): Conversation => ({ channel, account: 'bot', room: name, kind: 'dm' });
const group: Conversation = { channel: 'telegram', account: 'bot', room: '-100', kind: 'group' };
const olga: Somebody = { name: 'olga' };

beforeAll(async () => {
  stage = await RoutingStage.open();
  await stage.pairs(dm('telegram', 'olga'), olga, 'owner');
});
afterAll(async () => await stage[Symbol.asyncDispose]());

const codeIn = (text: string): string => /[0-9A-Z]{4}-[0-9A-Z]{4}/.exec(text)?.[0] ?? 'no code';

async function linkCode(place: Conversation, who: Somebody): Promise<string> {
  return codeIn(await stage.commands(place, who, 'link'));
}

test('a code made in one channel joins a stranger of another to the same person, who is then known there', async () => {
  const code = await linkCode(dm('telegram', 'olga'), olga);
  const slack = dm('slack', 'U0LGA');
  expect(await stage.commands(slack, { name: 'U0LGA' }, `link ${code}`)).toContain('Welcome back');
  const [here, there] = [
    await stage.personOf(dm('telegram', 'olga'), olga),
    await stage.personOf(slack, { name: 'U0LGA' }),
  ];
  expect(there).toEqual(here);
  expect(there?.role).toBe('owner');
  expect(await stage.commands(slack, { name: 'U0LGA' }, 'people')).toContain('slack `U0LGA`');
  expect(await stage.audited('identity.linked')).toBe(1);
  const places = await findReach(stage.database.db, here?.id ?? '');
  expect(places.map(({ conversation }) => conversation.channel)).toEqual(['slack', 'telegram']);
});

test('a code works once, is kept as a hash only, and the newest of a person replaces the one before', async () => {
  const first = await linkCode(dm('telegram', 'olga'), olga);
  const second = await linkCode(dm('telegram', 'olga'), olga);
  expect(await stage.commands(dm('discord', 'd1'), { name: 'd1' }, `link ${first}`)).toContain('not valid');
  expect(
    await stage.commands(dm('discord', 'd2'), { name: 'd2' }, `link ${second.toLowerCase().replace('-', '')}`),
  ).toContain('Welcome back');
  expect(await stage.commands(dm('discord', 'd3'), { name: 'd3' }, `link ${second}`)).toContain('not valid');
  const rows = await stage.database.query<{ all: string }>(
    `select string_agg(c::text, ' ') as all from one_time_code c`,
  );
  expect(rows[0]?.all).not.toContain(second);
  expect(rows[0]?.all).not.toContain(second.replace('-', ''));
});

test('of two who bring the same code at the same moment one is joined', async () => {
  const code = await linkCode(dm('telegram', 'olga'), olga);
  const both = ['left', 'right'];
  await Promise.all(both.map(async (name) => await stage.commands(dm('discord', name), { name }, `link ${code}`)));
  const people = await Promise.all(both.map(async (name) => await stage.personOf(dm('discord', name), { name })));
  expect(people.filter((person) => person !== undefined)).toHaveLength(1);
});

test('an expired code joins nobody', async () => {
  const code = await linkCode(dm('telegram', 'olga'), olga);
  await stage.database.query(
    `update one_time_code set created_at = created_at - interval '11 minutes', expires_at = expires_at - interval '11 minutes' where used_at is null`,
  );
  await stage.commands(dm('discord', 'late'), { name: 'late' }, `link ${code}`);
  expect(await stage.personOf(dm('discord', 'late'), { name: 'late' })).toBeUndefined();
});

test('a code that is written in a group is spoilt and the group is told so', async () => {
  const code = await linkCode(dm('telegram', 'olga'), olga);
  expect(await stage.commands(group, { name: 'nosy' }, `link ${code}`)).toContain('Everyone here has read that code');
  await stage.commands(dm('telegram', 'nosy'), { name: 'nosy' }, `link ${code}`);
  expect(await stage.personOf(dm('telegram', 'nosy'), { name: 'nosy' })).toBeUndefined();
  expect(await stage.commands(group, olga, 'link')).toContain('in private');
  const again = await linkCode(dm('telegram', 'olga'), olga);
  expect(await stage.commands(group, olga, `link ${again}`)).toContain('does not work any more');
});

test('after five wrong codes an account is not even looked at for an hour', async () => {
  const guesser = { name: 'guesser' };
  const place = dm('slack', 'guesser');
  for (let tries = 0; tries < 5; tries += 1) await stage.commands(place, guesser, 'link AAAA-AAAA');
  const code = await linkCode(dm('telegram', 'olga'), olga);
  await stage.commands(place, guesser, `link ${code}`);
  expect(await stage.personOf(place, guesser)).toBeUndefined();
  await stage.database.query(
    `update identity set code_failed_at = now() - interval '61 minutes' where external_id = 'guesser'`,
  );
  await stage.commands(place, guesser, `link ${code}`);
  expect((await stage.personOf(place, guesser))?.role).toBe('owner');
});

test('two people become one only after the other side confirmed it, and rights come with it then', async () => {
  const mia = { name: 'mia' };
  const place = dm('discord', 'mia');
  await stage.pairs(place, mia, 'member');
  const before = await stage.personOf(place, mia);
  const code = await linkCode(dm('telegram', 'olga'), olga);
  expect(await stage.commands(place, mia, `link ${code}`)).toContain('asked for a confirmation');
  expect((await stage.personOf(place, mia))?.role).toBe('member');

  await stage.presses(dm('telegram', 'olga'), olga, 'Join them');
  expect((await stage.personOf(place, mia))?.role).toBe('owner');
  expect(await stage.lastText(place)).toContain('It was confirmed');
  const [gone] = await stage.database.query<{ disabled_at: Date | null }>(
    'select disabled_at from person where id = $1',
    [before?.id],
  );
  expect(gone?.disabled_at).not.toBeNull();
});

test('a refused confirmation joins nothing, and the only owner cannot become somebody else', async () => {
  const max = { name: 'max' };
  const place = dm('discord', 'max');
  await stage.pairs(place, max, 'member');
  await stage.commands(place, max, `link ${await linkCode(dm('telegram', 'olga'), olga)}`);
  await stage.presses(dm('telegram', 'olga'), olga, 'Refuse');
  expect((await stage.personOf(place, max))?.role).toBe('member');
  expect(await stage.lastText(place)).toContain('not joined');

  await using lonely = await RoutingStage.open();
  await lonely.pairs(dm('telegram', 'boss'), { name: 'boss' }, 'owner');
  await lonely.pairs(place, max, 'member');
  const code = codeIn(await lonely.commands(place, max, 'link'));
  const answer = await lonely.commands(dm('telegram', 'boss'), { name: 'boss' }, `link ${code}`);
  expect(answer).toContain('only owner');
  expect((await lonely.personOf(dm('telegram', 'boss'), { name: 'boss' }))?.role).toBe('owner');
});

test('/unlink makes one account a stranger again, and refuses to leave somebody without any', async () => {
  const place = dm('slack', 'second');
  await stage.commands(place, { name: 'second' }, `link ${await linkCode(dm('telegram', 'olga'), olga)}`);
  await stage.commands(place, { name: 'second' }, 'unlink');
  expect(await stage.personOf(place, { name: 'second' })).toBeUndefined();
  const only = { name: 'only' };
  await stage.pairs(dm('slack', 'only'), only, 'member');
  expect(await stage.commands(dm('slack', 'only'), only, 'unlink')).toContain('your only account');
  expect(await stage.personOf(dm('slack', 'only'), only)).toBeDefined();
});
