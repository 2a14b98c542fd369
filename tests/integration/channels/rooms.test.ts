import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { dropForLostRooms } from '#core/channels/drop-for-lost-rooms.ts';
import { moveRoom } from '#core/channels/move-room.ts';
import { noteAccount } from '#core/channels/note-account.ts';
import { noteRoom } from '#core/channels/note-room.ts';
import { listRooms } from '#core/channels/read-room.ts';
import { listAccounts, switchChannel } from '#core/channels/switch-channel.ts';
import { putMessages } from '#core/outbox/put-messages.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { RoutingStage, type Somebody } from '#tests/support/routing-stage.ts';

const log = pino({ level: 'silent' });
let stage: RoutingStage;
const dm: Conversation = { channel: 'telegram', account: 'bot', room: '7', kind: 'dm' };
const group: Conversation = { channel: 'telegram', account: 'bot', room: '-100', kind: 'group' };
const olga: Somebody = { name: '7' };

beforeEach(async () => {
  stage = await RoutingStage.open();
  await stage.pairs(dm, olga, 'owner');
  await stage.commands(dm, olga, 'status');
});
afterEach(async () => await stage[Symbol.asyncDispose]());

async function put(conversation: Conversation, key: string): Promise<void> {
  await putMessages(stage.database.db, [
    { key, conversation, importance: 'result', body: { parts: [{ type: 'markdown', markdown: key }] } },
  ]);
}

const roomState = async ({ room }: Conversation): Promise<string | undefined> =>
  (await listRooms(stage.database.db)).find((note) => note.room === room)?.state;

const stateOf = async (key: string): Promise<string | undefined> =>
  (await stage.database.query<{ state: string }>('select state from outbox where key = $1', [key]))[0]?.state;

test('a bot that is removed from a group gives up what waits there with the reason, and its owner learns of it once', async () => {
  await put(group, 'one');
  await put({ ...group, thread: '5' }, 'two');
  await put({ ...group, room: '-1001' }, 'elsewhere');
  await stage.does(group, olga, { type: 'membership', change: 'left' });
  await stage.does(group, olga, { type: 'membership', change: 'left' });
  expect([await stateOf('one'), await stateOf('two'), await stateOf('elsewhere')]).toEqual(['dead', 'dead', 'pending']);
  const [row] = await stage.database.query<{ last_error: string }>(`select last_error from outbox where key = 'one'`);
  expect(row?.last_error).toBe('the room is left: the bot was removed');
  const told = (await stage.said(dm)).filter(({ text }) =>
    text.includes('I was removed from the telegram room `-100`'),
  );
  expect(told).toHaveLength(1);
  expect(await roomState(group)).toBe('left');
  await put(group, 'later');
  await dropForLostRooms({ db: stage.database.db });
  expect(await stateOf('later')).toBe('dead');
});

test('a bot that is invited again, or hears from a room it thought lost, goes on there', async () => {
  await stage.does(group, olga, { type: 'membership', change: 'left' });
  await stage.does(group, olga, { type: 'membership', change: 'joined' });
  expect(await roomState(group)).toBe('active');
  await stage.does(dm, olga, { type: 'membership', change: 'blocked' });
  await stage.says(dm, olga, 'back again');
  expect((await listRooms(stage.database.db)).find(({ room }) => room === '7')?.state).toBe('active');
  await put(dm, 'now');
  await dropForLostRooms({ db: stage.database.db });
  expect(await stateOf('now')).toBe('pending');
});

test('a send that failed for good does not overwrite what the platform said of a room', async () => {
  const note = async (state: 'archived' | 'unreachable'): Promise<boolean> =>
    await stage.database.db.transaction().execute(async (tx) => await noteRoom({ tx, log }, group, state, 'test'));
  expect(await note('archived')).toBe(true);
  expect(await note('unreachable')).toBe(false);
  expect((await listRooms(stage.database.db))[0]).toMatchObject({ state: 'archived' });
});

test('a group that became a supergroup keeps its sessions, settings, lanes, open messages and questions', async () => {
  const topic = { ...group, thread: '3' };
  await stage.commands(group, olga, 'queue followup');
  await stage.says(group, olga, 'first');
  await stage.says(topic, olga, 'in the topic');
  await put(group, 'waits');
  await stage.deliver();
  await put(group, 'pending');
  const [before] = await stage.database.query<{ id: string }>(
    `select id from session where thread_key = 'telegram:bot:-100:-'`,
  );
  await stage.does(group, olga, { type: 'membership', change: 'migrated', newRoom: '-200' });

  const moved = { ...group, room: '-200' };
  const [after] = await stage.database.query<{ id: string; room: string }>(
    `select id, origin ->> 'room' as room from session where thread_key = 'telegram:bot:-200:-'`,
  );
  expect(after).toEqual({ id: before?.id, room: '-200' });
  expect((await stage.turns(moved)).map(({ text }) => text)).toEqual(['first']);
  expect((await stage.turns({ ...moved, thread: '3' })).map(({ text }) => text)).toEqual(['in the topic']);
  expect((await stage.said(moved)).find(({ key }) => key === 'pending')?.state).toBe('pending');
  expect(await stage.commands(moved, olga, 'status')).toContain('queue mode `followup`');

  // What a late event still says of the old room is meant for the new one.
  await stage.says(group, olga, 'late');
  expect((await stage.turns(moved)).map(({ text }) => text)).toEqual(['first', 'late']);
  await put(group, 'by a running turn');
  await moveRoom({ db: stage.database.db, log }, group, '-200');
  expect((await stage.said(moved)).map(({ key }) => key)).toContain('by a running turn');
});

test('an open approval is shown again in the new room, and its buttons work there', async () => {
  await stage.says(group, olga, 'install it');
  const sessionId = await stage.asksApproval(group, olga);
  await stage.does(group, olga, { type: 'membership', change: 'migrated', newRoom: '-250' });
  const moved = { ...group, room: '-250' };
  expect((await stage.said(moved)).find(({ buttons }) => buttons.has('Approve'))?.state).toBe('pending');
  await stage.presses(moved, olga, 'Approve');
  const [approval] = await stage.database.query<{ state: string }>('select state from approval');
  expect(approval?.state).toBe('approved');
  expect(stage.rung.at(-1)?.sessionId).toBe(sessionId);
});

test('two that follow a room at the same time, and again, move it once', async () => {
  await stage.says(group, olga, 'hello');
  const move = async (): Promise<void> => await moveRoom({ db: stage.database.db, log }, group, '-300');
  await Promise.all([move(), move(), move()]);
  await move();
  expect(await stage.turns({ ...group, room: '-300' })).toHaveLength(1);
});

test('a conversation that was begun in the new room already gives way while it is idle', async () => {
  await stage.says(group, olga, 'old history');
  const moved = { ...group, room: '-400' };
  await stage.says(moved, olga, 'new');
  await stage.database.query(`update turn set state = 'done', finished_at = now() where payload ->> 'text' = 'new'`);
  await moveRoom({ db: stage.database.db, log }, group, '-400');
  const rows = await stage.database.query<{ text: string }>(
    `select t.payload ->> 'text' as text from session s join turn t on t.session_id = s.id
     where s.thread_key = 'telegram:bot:-400:-' and s.state = 'active'`,
  );
  expect(rows).toEqual([{ text: 'old history' }]);
});

test('a halted account is told to the owner on another channel once, and so is its return', async () => {
  const slack = { channel: 'slack', account: 'T1:A1' };
  const note = async (state: 'starting' | 'connected' | 'halted', detail = ''): Promise<void> =>
    await noteAccount({ db: stage.database.db, log }, slack, { state, detail });
  await note('connected');
  await note('halted', 'the token was revoked.');
  // A restart alone changes nothing.
  await note('starting');
  await note('halted', 'the token was revoked.');
  await note('starting');
  await note('connected');
  const texts = (await stage.said(dm)).map(({ text }) => text);
  expect(texts.filter((text) => text.includes('has stopped: the token was revoked.'))).toHaveLength(1);
  expect(texts.filter((text) => text.includes('works again'))).toHaveLength(1);
});

test('a channel is switched off and on by name, with an audit record, and an unknown one is refused with the nearest', async () => {
  const { db } = stage.database;
  await noteAccount({ db, log }, { channel: 'telegram', account: 'bot' }, { state: 'connected', detail: '' });
  expect(await switchChannel(db, 'telegram', { isEnabled: false, by: 'me' })).toEqual(['bot']);
  expect(await switchChannel(db, 'telegram:bot', { isEnabled: false, by: 'me' })).toEqual([]);
  expect((await listAccounts(db))[0]?.isEnabled).toBe(false);
  await noteAccount({ db, log }, { channel: 'telegram', account: 'bot' }, { state: 'disconnected', detail: '' });
  expect((await listAccounts(db))[0]?.isEnabled).toBe(false);
  expect(await switchChannel(db, 'telegram', { isEnabled: true, by: 'me' })).toEqual(['bot']);
  expect(await stage.audited('channel.disabled')).toBe(1);
  await expect(switchChannel(db, 'telegran', { isEnabled: true, by: 'me' })).rejects.toMatchObject({
    mend: 'Did you mean telegram?',
  });
});
