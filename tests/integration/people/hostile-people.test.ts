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

test('a stranger who repeats himself in a group does not silence us for the people we work for', async () => {
  await withOwner();
  for (let times = 0; times < 15; times += 1) await stage.says(group, thief, 'are you there?');
  await stage.says(group, olga, 'are you there?');
  await stage.says(group, olga, 'work');
  expect(await stage.turns(group)).toHaveLength(2);
});

test('a crowd of strangers does not fill the chats of the owners, and gets one plain answer each', async () => {
  await withOwner('channels: {slack: {allow: {requests: true}}}');
  for (let number = 0; number < 40; number += 1) {
    await stage.says(dm('slack', `crowd${number}`), { name: `crowd${number}` }, 'hello?');
  }
  const asked = (await stage.said(dm('telegram', 'olga'))).filter(({ text }) => text.includes('Shall I work for them'));
  expect(asked).toHaveLength(20);
  expect(await stage.lastText(dm('slack', 'crowd39'))).toContain('If you have a code');
});

test('old buttons, numbers and codes of somebody who was removed or demoted do nothing', async () => {
  await withOwner('channels: {slack: {allow: {requests: true}}}');
  await stage.pairs(dm('telegram', 'adam'), adam, 'admin');
  await stage.says(dm('telegram', 'adam'), adam, 'make it');
  await stage.asksApproval(dm('telegram', 'adam'), adam);
  const link = codeIn(await stage.commands(dm('telegram', 'adam'), adam, 'link'));
  const pairing = codeIn(await stage.commands(dm('telegram', 'adam'), adam, 'pair'));
  await stage.says(dm('slack', 'tom'), { name: 'tom' }, 'hello?');

  await stage.commands(dm('telegram', 'olga'), olga, 'role adam member');
  await stage.presses(dm('telegram', 'adam'), adam, 'Let in');
  expect(await stage.personOf(dm('slack', 'tom'), { name: 'tom' })).toBeUndefined();

  await stage.commands(dm('telegram', 'olga'), olga, 'remove adam');
  await stage.presses(dm('telegram', 'adam'), adam, 'Approve');
  await stage.presses(dm('telegram', 'adam'), adam, 'Let in');
  await stage.commands(dm('slack', 'thief'), thief, `link ${link}`);
  await stage.commands(dm('telegram', 'adam'), adam, `link ${link}`);
  const [approval] = await stage.database.query<{ state: string }>('select state from approval');
  expect(approval?.state).toBe('pending');
  expect(await stage.personOf(dm('slack', 'tom'), { name: 'tom' })).toBeUndefined();
  expect(await stage.personOf(dm('slack', 'thief'), thief)).toBeUndefined();
  expect((await stage.personOf(dm('telegram', 'adam'), adam))?.isGone).toBe(true);
  // Nor does the way back that they kept for themselves.
  await stage.commands(dm('slack', 'thief'), thief, `start ${pairing}`);
  expect(await stage.personOf(dm('slack', 'thief'), thief)).toBeUndefined();
});

test('who the people are and what they are called on each platform is not shown to a room', async () => {
  await withOwner();
  expect(await stage.commands(group, olga, 'people')).toContain('in private');
  expect((await stage.said(group)).map(({ text }) => text).join()).not.toContain('telegram `olga`');
});

test('a pairing is on the audit record, once', async () => {
  await withOwner();
  expect(await stage.audited('identity.paired')).toBe(1);
});

test('no command of a member holds up everybody else, however long and whatever it is made of', async () => {
  await withOwner();
  await stage.pairs(dm('telegram', 'mia'), mia, 'member');
  const names = ['role', 'allow', 'remove', 'link', 'pair', 'continue', 'use', 'queue', 'approve', 'deny', 'revoke'];
  for (const text of [
    `${'|a'.repeat(95_000)}\n|-`,
    `a${' '.repeat(190_000)}b`,
    '-'.repeat(190_000),
    'a '.repeat(95_000),
  ]) {
    for (const name of [...names, 'announce', 'costs', 'resend']) {
      const began = performance.now();
      await stage.commands(dm('telegram', 'mia'), mia, `${name} ${text}`);
      // One step for each pair of characters would take minutes.
      expect(performance.now() - began, name).toBeLessThan(20_000);
    }
  }
  expect(await stage.commands(dm('telegram', 'mia'), mia, `role ${'a'.repeat(200_001)}`)).toContain(
    '200001 characters',
  );
}, 300_000);

test('who steered the work of somebody else cannot approve what they asked for there, and may still deny it', async () => {
  await withOwner();
  await stage.pairs(dm('telegram', 'adam'), adam, 'admin');
  await stage.pairs(dm('telegram', 'mia'), mia, 'member');
  await stage.says(group, mia, 'tidy up');
  await stage.asksApproval(group, mia);
  await stage.database.query(
    `update approval set requester_may_approve = false, approvers = '[["role:admin"]]'::jsonb`,
  );
  await stage.says(group, adam, 'and make it');
  await stage.database.query(`update turn set state = 'absorbed', into_seq = 1, finished_at = now() where seq = 2`);
  const [approval] = await stage.database.query<{ id: string }>('select id from approval');
  const stateNow = async () => (await stage.database.query<{ state: string }>('select state from approval'))[0]?.state;
  expect(await stage.commands(dm('telegram', 'adam'), adam, `approve ${approval?.id}`)).toContain(
    'You may not decide this',
  );
  expect(await stateNow()).toBe('pending');
  await stage.commands(dm('telegram', 'adam'), adam, `deny ${approval?.id}`);
  expect(await stateNow()).toBe('denied');
});
