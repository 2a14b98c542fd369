import { afterEach, expect, test } from 'vitest';
import type { InboundEvent } from '#core/inbox/inbound.ts';
import { insertRawEvents } from '#core/inbox/inbox-store.ts';
import { newId } from '#core/kit/ids.ts';
import { createPairingCode } from '#core/people/create-pairing-code.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { RoutingStage, type Somebody } from '#tests/support/routing-stage.ts';

let stage: RoutingStage;
afterEach(async () => await stage[Symbol.asyncDispose]());

const dm = (channel: string, name: string): Conversation => ({ channel, account: 'bot', room: name, kind: 'dm' });
const olga: Somebody = { name: 'olga' };
const home = dm('telegram', 'olga');
const codeIn = (text: string): string => /[0-9A-Z]{4}-[0-9A-Z]{4}/.exec(text)?.[0] ?? 'no code';

type Deed =
  | { readonly type: 'command'; readonly name: string; readonly args: string }
  | { readonly type: 'action'; readonly token: string };

/** One event that two processes route at the same moment, and that a third finds again after a crash. */
async function thrice(place: Conversation, who: Somebody, deed: Deed, occurredAt = new Date()): Promise<void> {
  const base = {
    conversation: place,
    actor: { externalId: who.name, displayName: who.name, isBot: false, isAnonymous: false },
    occurredAt,
    messageId: newId(),
  };
  const event: InboundEvent = { ...base, ...deed, interactionToken: newId() };
  const [row] = await insertRawEvents(stage.database.db, place, [{ dedupKey: newId(), raw: {} }]);
  const again = async () => await stage.again(row?.id ?? '', place, event);
  await Promise.all([again(), again()]);
  await again();
}

async function count(query: string): Promise<number> {
  const [row] = await stage.database.query<{ count: number }>(`select count(*)::int as count from ${query}`);
  return row?.count ?? -1;
}

async function tokenOf(place: Conversation, label: string): Promise<string> {
  return (await stage.said(place)).findLast(({ buttons }) => buttons.has(label))?.buttons.get(label) ?? '';
}

async function open(yaml = ''): Promise<void> {
  stage = await RoutingStage.open(yaml);
  await stage.pairs(home, olga, 'owner');
}

test('a pairing code makes one person and says one welcome', async () => {
  await open();
  const code = await createPairingCode({ db: stage.database.db }, { role: 'member', validMs: 60_000 });
  await thrice(dm('slack', 'mia'), { name: 'mia' }, { type: 'command', name: 'start', args: code });
  expect(await count(`person where role = 'member'`)).toBe(1);
  expect((await stage.said(dm('slack', 'mia'))).map(({ text }) => text)).toEqual([expect.stringContaining('Welcome')]);
});

test('a code is made once and an account joined once', async () => {
  await open();
  await thrice(home, olga, { type: 'command', name: 'link', args: '' });
  expect(await count(`one_time_code where kind = 'link'`)).toBe(1);
  const code = codeIn(await stage.lastText(home));
  await thrice(dm('slack', 'olga2'), { name: 'olga2' }, { type: 'command', name: 'link', args: code });
  expect(await stage.audited('identity.linked')).toBe(1);
  expect(await stage.said(dm('slack', 'olga2'))).toHaveLength(1);
});

test('a conversation moves once and the old place is told once', async () => {
  await open();
  await stage.commands(
    dm('slack', 'olga2'),
    { name: 'olga2' },
    `link ${codeIn(await stage.commands(home, olga, 'link'))}`,
  );
  await stage.says(home, olga, 'plan it');
  const code = codeIn(await stage.commands(home, olga, 'continue'));
  await thrice(dm('slack', 'olga2'), { name: 'olga2' }, { type: 'command', name: 'continue', args: code });
  expect(await stage.audited('session.moved')).toBe(1);
  expect((await stage.said(home)).filter(({ text }) => text.includes('This conversation goes on'))).toHaveLength(1);
  expect(await stage.turns(dm('slack', 'olga2'))).toHaveLength(1);
});

test('a stranger is let in once', async () => {
  await open('channels: {slack: {allow: {requests: true}}}');
  await stage.says(dm('slack', 'tom'), { name: 'tom' }, 'hello?');
  const token = await tokenOf(home, 'Let in');
  expect(token).not.toBe('');
  await thrice(home, olga, { type: 'action', token });
  expect(await stage.audited('person.admitted')).toBe(1);
  expect((await stage.said(dm('slack', 'tom'))).filter(({ text }) => text.includes('You are let in'))).toHaveLength(1);
});

test('a command that came late and is confirmed is carried out once', async () => {
  await open();
  await thrice(home, olga, { type: 'command', name: 'run', args: 'the tests' }, new Date(Date.now() - 3_600_000));
  expect(await count(`offer where kind = 'late_command'`)).toBe(1);
  await thrice(home, olga, { type: 'action', token: await tokenOf(home, 'Do it now') });
  expect(await count('turn')).toBe(1);
});

test('a verdict is given once, by a button and by a reply', async () => {
  await open();
  await stage.says(home, olga, 'make');
  await stage.asksApproval(home, olga);
  await thrice(home, olga, { type: 'action', token: await tokenOf(home, 'Approve') });
  expect(await count('approval_verdict')).toBe(1);
  expect(await stage.audited('approval.approved')).toBe(1);
});
