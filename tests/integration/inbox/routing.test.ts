import { afterEach, beforeEach, expect, test } from 'vitest';
import type { InboundEvent } from '#core/inbox/inbound.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { RoutingStage, type Somebody } from '#tests/support/routing-stage.ts';

let stage: RoutingStage;
const group: Conversation = { channel: 'slack', account: 'T1', room: 'C1', kind: 'channel' };
const thread: Conversation = { ...group, thread: '1.2' };
const dm: Conversation = { channel: 'slack', account: 'T1', room: 'D1', kind: 'dm' };
const ann: Somebody = { name: 'ann' };
const ben: Somebody = { name: 'ben' };
const benDm: Conversation = { ...dm, room: 'D2' };

beforeEach(async () => {
  stage = await RoutingStage.open();
  await stage.pairs(dm, ann, 'owner');
  await stage.pairs(benDm, ben, 'member');
  await stage.commands(dm, ann, 'status');
});
afterEach(async () => await stage[Symbol.asyncDispose]());

test('in a room each chooses an agent for themselves, and somebody may choose for all', async () => {
  await stage.commands(thread, ann, 'use coder');
  await stage.says(thread, ann, 'mine');
  await stage.says(thread, ben, 'his');
  expect((await stage.turns(thread)).map(({ text, agent }) => `${text} ${agent}`).sort()).toEqual([
    'his assistant',
    'mine coder',
  ]);
  await stage.commands(thread, ben, 'use coder all');
  await stage.says(thread, ben, 'now too');
  expect((await stage.turns(thread)).find(({ text }) => text === 'now too')?.agent).toBe('coder');
  expect(await stage.commands(dm, ann, 'use coder')).toContain('works in this thread');
});

test('/run in the main stream of a room gets a thread of its own, the same one when it is routed again', async () => {
  stage.hasThreads = true;
  const event: InboundEvent = {
    type: 'command',
    name: 'run',
    args: 'clean up',
    conversation: group,
    actor: { externalId: 'ann', displayName: 'ann', isBot: false, isAnonymous: false },
    occurredAt: new Date(),
    messageId: 'm9',
    interactionToken: 'i-9',
    files: [{ name: 'a.txt', fetchKey: 'k' }],
  };
  const inboxId = await stage.route(group, event);
  await stage.again(inboxId, group, event);
  expect(stage.started.map(({ key }) => key)).toEqual([inboxId, inboxId]);
  expect(stage.started[0]).toMatchObject({ title: 'clean up', messageId: 'm9' });
  const [turn] = await stage.database.query<{ origin: Conversation; payload: { files: unknown[] } }>(
    'select origin, payload from turn',
  );
  expect(turn?.origin).toMatchObject({ room: 'C1', thread: `of-${inboxId}` });
  expect(turn?.origin).not.toHaveProperty('messageId');
  expect(turn?.payload.files).toHaveLength(1);
  expect(stage.acknowledged[0]).toEqual({ token: 'i-9', text: 'On it, in a thread of its own.' });
  expect(await stage.turns({ ...group, thread: `of-${inboxId}` })).toHaveLength(1);
});

test('/run in a thread, and where the platform has no threads, stays where it is', async () => {
  stage.hasThreads = true;
  await stage.commands(thread, ann, 'run here');
  stage.hasThreads = false;
  await stage.commands(group, ann, 'run there');
  expect(await stage.turns(thread)).toHaveLength(1);
  expect(await stage.turns(group)).toHaveLength(1);
  expect(stage.acknowledged.map(({ text }) => text)).toEqual(['On it.', 'On it.']);
});

test('a mention with a command in words is that command, and a sentence that begins like one is not', async () => {
  await stage.says(thread, ann, 'run the whole suite');
  await stage.says(thread, ann, 'status');
  await stage.says(thread, ann, 'stop the server, please');
  const turns = await stage.database.query<{ kind: string; text: string }>(
    `select kind, payload ->> 'text' as text from turn order by seq`,
  );
  expect(turns).toEqual([
    { kind: 'task', text: 'the whole suite' },
    { kind: 'message', text: 'stop the server, please' },
  ]);
  expect((await stage.said(thread)).map(({ text }) => text).join()).toContain('Agent **assistant**');
});

test('an unknown command is explained in private and left to other bots in a group', async () => {
  expect(await stage.commands(dm, ann, 'frobnicate')).toContain('There is no command `/frobnicate`');
  expect(await stage.commands(group, ann, 'frobnicate')).toBe('');
});

test('the answer to a command answers its interaction, and a command without an answer acknowledges it', async () => {
  await stage.commands(dm, ann, 'agents');
  expect((await stage.said(dm)).at(-1)?.body.interactionToken).toMatch(/^i-/);
  await stage.database.query('delete from outbox');
  await stage.says(dm, ann, 'work');
  await stage.database.query(
    `with w as (insert into worker (id, host) values (gen_random_uuid(), 'test') returning id)
     update lane set state = 'running', owner = w.id, head_seq = 1, ready_at = null, run_at = null, first_at = null from w`,
  );
  await stage.database.query(`update turn set state = 'running', started_at = now()`);
  await stage.commands(dm, ann, 'stop');
  expect(await stage.said(dm)).toEqual([]);
  expect(stage.acknowledged.at(-1)?.text).toBe('Stopping.');
});

test('a command that comes a quarter of an hour late is confirmed by its author first, and then done once', async () => {
  const late = new Date(Date.now() - 16 * 60_000);
  await stage.does(group, ann, { type: 'command', name: 'run', args: 'deploy' }, late);
  expect(await stage.turns(group)).toEqual([]);
  expect(await stage.lastText(group)).toMatch(/You sent `\/run deploy` 16 min(?: \d+ s)? ago/);
  await stage.presses(group, ben, 'Do it now');
  expect(stage.acknowledged.at(-1)?.text).toBe('This is not for you to decide.');
  const token = (await stage.said(group)).at(-1)?.buttons.get('Do it now') ?? '';
  await Promise.all([
    stage.does(group, ann, { type: 'press', token }),
    stage.does(group, ann, { type: 'press', token }),
  ]);
  expect((await stage.turns(group)).map(({ text }) => text)).toEqual(['deploy']);
  expect(await stage.lastText(group)).toContain('**Accepted** by ann');
});

test('a late command may be dropped, a harmless one is simply answered, and a late message is still a message', async () => {
  const late = new Date(Date.now() - 60 * 60_000);
  await stage.does(group, ann, { type: 'command', name: 'stop' }, late);
  await stage.presses(group, ann, 'Drop it');
  expect(await stage.lastText(group)).toContain('**Refused** by ann');
  await stage.does(group, ann, { type: 'command', name: 'agents' }, late);
  expect(await stage.lastText(group)).toContain('Choose with');
  await stage.does(group, ann, { type: 'message', text: 'still wondering' }, late);
  expect(await stage.turns(group)).toHaveLength(1);
});

test('a press that was settled before a crash finishes what it began when it is routed again', async () => {
  const late = new Date(Date.now() - 16 * 60_000);
  await stage.does(group, ann, { type: 'command', name: 'run', args: 'deploy' }, late);
  const token = (await stage.said(group)).at(-1)?.buttons.get('Do it now') ?? '';
  const press: InboundEvent = {
    type: 'action',
    token,
    interactionToken: 'i',
    conversation: group,
    actor: { externalId: 'ann', displayName: 'ann', isBot: false, isAnonymous: false },
    occurredAt: new Date(),
  };
  const inboxId = await stage.route(group, press);
  await stage.database.query(`delete from turn`);
  await stage.database.query(`update inbox set state = 'pending', routed_at = null where id = $1`, [inboxId]);
  await stage.again(inboxId, group, press);
  expect(await stage.turns(group)).toHaveLength(1);
});

test('a message or command that holds a key is not read on, not kept, and its author is told what to do', async () => {
  const key = `sk-proj-${'Ab1'.repeat(12)}`;
  await stage.says(dm, ann, `my key is ${key}`);
  expect(await stage.lastText(dm)).toContain('looks like an OpenAI key');
  await stage.commands(dm, ann, `run with xoxb-123456789012-abcdefghijkl`);
  expect(await stage.lastText(dm)).toContain('a Slack token');
  expect(await stage.turns(dm)).toEqual([]);
  const rows = await stage.database.query<{ text: string }>(
    `select i.raw::text as text from inbox i union all select o.body::text from outbox o`,
  );
  expect(rows.map(({ text }) => text).join()).not.toMatch(/sk-proj|xoxb-1/);
});

test('a room that floods the bot is muted, the owner learns why, and it is heard again afterwards', async () => {
  for (let times = 0; times < 11; times += 1) await stage.says(group, ben, 'ping');
  await stage.says(group, ben, 'something else');
  expect(await stage.turns(group)).toHaveLength(10);
  const notices = (await stage.said(dm)).filter(({ text }) => text.includes('I do not listen to the slack room `C1`'));
  expect(notices).toHaveLength(1);
  expect(notices[0]?.text).toContain('the same text 11 times');
  await stage.database.query('update channel_room set muted_until = now()');
  await stage.says(group, ben, 'and now?');
  expect(await stage.turns(group)).toHaveLength(11);
});

test('other bots are never answered, and thirty messages of theirs in a minute mute the room', async () => {
  const robot = { name: 'robot', isBot: true };
  for (let times = 0; times < 31; times += 1) await stage.says(group, robot, `number ${times}`);
  expect(await stage.turns(group)).toEqual([]);
  expect(await stage.lastText(dm)).toContain('other bots sent me 31 messages');
});

test('a private chat may repeat itself: there is somebody who can stop', async () => {
  for (let times = 0; times < 12; times += 1) await stage.says(dm, ann, 'go on');
  expect(await stage.turns(dm)).toHaveLength(12);
});
