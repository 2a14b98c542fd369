import { afterEach, expect, test } from 'vitest';
import { systemClock } from '#core/kit/clock.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { RoutingStage, type Somebody } from '#tests/support/routing-stage.ts';

let stage: RoutingStage;
afterEach(async () => await stage[Symbol.asyncDispose]());

const dm = (channel: string, name: string): Conversation => ({ channel, account: 'bot', room: name, kind: 'dm' });
const group: Conversation = { channel: 'telegram', account: 'bot', room: '-100', kind: 'group' };
const olga: Somebody = { name: 'olga' };
const adam: Somebody = { name: 'adam' };
const mia: Somebody = { name: 'mia' };
const thief: Somebody = { name: 'thief' };

const codeIn = (text: string): string => /[0-9A-Z]{4}-[0-9A-Z]{4}/.exec(text)?.[0] ?? 'no code';

async function withOwner(yaml = ''): Promise<void> {
  stage = await RoutingStage.open(yaml);
  await stage.pairs(dm('telegram', 'olga'), olga, 'owner');
}

test('a code made by an account stops working when that account is separated from its person', async () => {
  await withOwner();
  const first = codeIn(await stage.commands(dm('telegram', 'olga'), olga, 'link'));
  await stage.commands(dm('slack', 'olga2'), { name: 'olga2' }, `link ${first}`);
  const code = codeIn(await stage.commands(dm('slack', 'olga2'), { name: 'olga2' }, 'link'));
  await stage.commands(dm('slack', 'olga2'), { name: 'olga2' }, 'unlink');
  await stage.commands(dm('slack', 'thief'), thief, `link ${code}`);
  await stage.commands(dm('slack', 'olga2'), { name: 'olga2' }, `link ${code}`);
  expect(await stage.personOf(dm('slack', 'thief'), thief)).toBeUndefined();
  expect(await stage.personOf(dm('slack', 'olga2'), { name: 'olga2' })).toBeUndefined();
});

test('the last two accounts of an owner that leave at the same moment do not leave nobody', async () => {
  await withOwner();
  const second = { name: 'second' };
  for (let round = 0; round < 5; round += 1) {
    const code = codeIn(await stage.commands(dm('telegram', 'olga'), olga, 'link'));
    await stage.commands(dm('slack', 'second'), second, `link ${code}`);
    await Promise.all([
      stage.commands(dm('telegram', 'olga'), olga, 'unlink'),
      stage.commands(dm('slack', 'second'), second, 'unlink'),
    ]);
    const owners = [
      await stage.personOf(dm('telegram', 'olga'), olga),
      await stage.personOf(dm('slack', 'second'), second),
    ].filter((person) => person !== undefined);
    expect(owners).toHaveLength(1);
    if ((await stage.personOf(dm('telegram', 'olga'), olga)) === undefined) {
      const back = codeIn(await stage.commands(dm('slack', 'second'), second, 'link'));
      await stage.commands(dm('telegram', 'olga'), olga, `link ${back}`);
      await stage.commands(dm('slack', 'second'), second, 'unlink');
    }
  }
});

test('a code is spoilt in a group however it is spelt', async () => {
  await withOwner();
  for (const spell of [
    (code: string) => code.replace('-', ' '),
    (code: string) => code.toLowerCase().replace('-', ''),
    (code: string) => [...code].join(' '),
  ]) {
    const code = codeIn(await stage.commands(dm('telegram', 'olga'), olga, 'link'));
    expect(await stage.commands(group, olga, `link ${spell(code)}`)).toContain('does not work any more');
    await stage.commands(dm('slack', 'thief'), thief, `link ${code}`);
    expect(await stage.personOf(dm('slack', 'thief'), thief)).toBeUndefined();
  }
});

test('an administrator cannot make other administrators, by a role or by a code', async () => {
  await withOwner();
  await stage.pairs(dm('telegram', 'adam'), adam, 'admin');
  expect(await stage.commands(dm('telegram', 'adam'), adam, 'pair admin')).toContain('Only an owner');
  expect(codeIn(await stage.commands(dm('telegram', 'adam'), adam, 'pair'))).not.toBe('no code');
  expect(codeIn(await stage.commands(dm('telegram', 'olga'), olga, 'pair admin'))).not.toBe('no code');
});

test('an account joined to one that only a list let in goes when the list does', async () => {
  await withOwner('channels: {slack: {allow: {people: [mia]}}}');
  await stage.says(dm('slack', 'mia'), mia, 'hello');
  const code = codeIn(await stage.commands(dm('slack', 'mia'), mia, 'link'));
  const phone = { name: 'phone' };
  await stage.commands(dm('telegram', 'phone'), phone, `link ${code}`);
  await stage.says(dm('telegram', 'phone'), phone, 'while listed');
  // A third account that hangs on the second hangs on the same line of the file.
  const next = codeIn(await stage.commands(dm('telegram', 'phone'), phone, 'link'));
  const third = { name: 'third' };
  await stage.commands(dm('discord', 'third'), third, `link ${next}`);
  await stage.says(dm('discord', 'third'), third, 'while listed');
  expect(await stage.turns(dm('telegram', 'phone'))).toHaveLength(1);
  expect(await stage.turns(dm('discord', 'third'))).toHaveLength(1);

  await stage.database.query(`update identity set admitted_by = 'people somebody-else' where external_id = 'mia'`);
  await stage.says(dm('telegram', 'phone'), phone, 'afterwards');
  await stage.says(dm('discord', 'third'), third, 'afterwards');
  expect(await stage.turns(dm('telegram', 'phone'))).toHaveLength(1);
  expect(await stage.turns(dm('discord', 'third'))).toHaveLength(1);
});

test('who asked under one name cannot approve under the other after both became one person', async () => {
  await withOwner();
  await stage.pairs(dm('telegram', 'adam'), adam, 'admin');
  await stage.pairs(dm('discord', 'mia'), mia, 'member');
  await stage.says(dm('discord', 'mia'), mia, 'make it');
  await stage.asksApproval(dm('discord', 'mia'), mia);
  await stage.database.query(
    `update approval set requester_may_approve = false, approvers = '[["role:admin"]]'::jsonb`,
  );
  const code = codeIn(await stage.commands(dm('telegram', 'adam'), adam, 'link'));
  await stage.commands(dm('discord', 'mia'), mia, `link ${code}`);
  await stage.presses(dm('telegram', 'olga'), olga, 'Join them');
  expect((await stage.personOf(dm('discord', 'mia'), mia))?.role).toBe('admin');
  const [approval] = await stage.database.query<{ id: string }>('select id from approval');
  await stage.commands(dm('telegram', 'adam'), adam, `approve ${approval?.id}`);
  const [after] = await stage.database.query<{ state: string }>('select state from approval');
  expect(after?.state).toBe('pending');
});

test('somebody who calls himself like an account that is let in by its id is not let in', async () => {
  await withOwner();
  await stage.database.query(`insert into channel_account (channel, account) values ('telegram', 'bot')`);
  const place = dm('discord', 'fake');
  await stage.route(place, {
    conversation: place,
    actor: { externalId: 'fake', displayName: 'telegram:4711', isBot: false, isAnonymous: false },
    occurredAt: systemClock.now(),
    type: 'message',
    text: 'hello',
    addressed: 'dm',
    files: [],
    messageId: 'm1',
  });
  await stage.commands(dm('telegram', 'olga'), olga, 'allow telegram:4711');
  expect(await stage.personOf(place, { name: 'fake' })).toBeUndefined();
  expect((await stage.personOf(dm('telegram', '4711'), { name: '4711' }))?.role).toBe('member');
});
