import { expect, test } from 'vitest';
import { eventually } from '#tests/support/eventually.ts';
import { DiscordStage } from './discord-stage.ts';

const ann = '600000000000000001';
const ben = '600000000000000002';

test('a mention in a server addresses the bot, chatter and mentions of everyone do not', async () => {
  await using stage = await DiscordStage.open();
  const { people } = stage.fake;
  const guild = people.guild([ann], ['700000000000000001']);
  const room = people.channel(guild);
  await stage.start();
  people.says(room, ann, 'just talking @everyone <@&123456>');
  people.says(room, ann, `<@${stage.channel.account}>, do this`);
  const addressed = await stage.event('message', ({ addressed: how }) => how === 'mention');
  expect(addressed).toMatchObject({
    text: 'do this',
    conversation: { channel: 'discord', space: guild.id, room, kind: 'channel' },
    actor: { externalId: ann, roles: ['700000000000000001'], isBot: false },
  });
  expect(await stage.event('message', ({ addressed: how }) => how === 'none')).toMatchObject({
    messageId: expect.any(String),
  });
});

test('a reply to the bot addresses it, a reply to somebody else does not', async () => {
  await using stage = await DiscordStage.open();
  const { people } = stage.fake;
  const room = people.channel(people.guild([ann, ben]));
  await stage.start();
  const { ids } = await stage.channel.send(
    stage.conversation(room, { kind: 'channel' }),
    { parts: [{ type: 'markdown', markdown: 'hi' }] },
    'o1',
  );
  const own = people.says(room, ben, 'something');
  people.says(room, ann, 'to the bot', { replyTo: ids[0] ?? '' });
  people.says(room, ann, 'to ben', { replyTo: own });
  await stage.event(
    'message',
    ({ text, addressed, replyToId }) => text === 'to the bot' && addressed === 'reply' && replyToId === ids[0],
  );
  await stage.event('message', ({ text, addressed }) => text === 'to ben' && addressed === 'none');
});

test('the messages of bots, web hooks and the platform, and our own, are not stored', async () => {
  await using stage = await DiscordStage.open();
  const { people } = stage.fake;
  const room = people.dm(ann);
  await stage.start();
  people.says(room, ben, 'I am a bot', { asBot: true });
  people.says(room, ben, 'from a hook', { asWebhook: true });
  people.says(room, ann, '', { type: 7 });
  await stage.channel.send(stage.conversation(room), { parts: [{ type: 'markdown', markdown: 'our own' }] }, 'o1');
  people.says(room, ann, 'a person');
  await stage.event('message');
  expect(stage.texts).toEqual(['a person']);
});

test('a thread is a place of its own in the room around it, and known as such by the next process', async () => {
  await using stage = await DiscordStage.open();
  const { people } = stage.fake;
  const guild = people.guild([ann]);
  const room = people.channel(guild);
  await stage.start();
  const conversation = stage.conversation(room, { kind: 'channel', space: guild.id });
  const opened = await stage.channel.startThread(conversation, { title: 'A run', key: 'run-1' });
  expect(opened).toMatchObject({ room, thread: expect.any(String) });
  people.says(opened?.thread ?? '', ann, 'go on');
  const place = { room, thread: opened?.thread, kind: 'channel', space: guild.id };
  expect(await stage.event('message', ({ text }) => text === 'go on')).toMatchObject({
    addressed: 'thread',
    conversation: place,
  });
  await stage.restart();
  people.says(opened?.thread ?? '', ann, 'still there?');
  expect(await stage.event('message', ({ text }) => text === 'still there?')).toMatchObject({ conversation: place });
});

test('what was missed in a thread of ours that is archived meanwhile is asked for too', async () => {
  await using stage = await DiscordStage.open();
  const { people } = stage.fake;
  const room = people.channel(people.guild([ann]));
  await stage.start();
  const thread = people.thread(room, ann);
  people.says(thread, ann, `<@${stage.channel.account}> join in`);
  await stage.event('message');
  await stage.stop();
  people.says(thread, ann, 'missed');
  people.archives(thread);
  await stage.restart();
  expect(await stage.event('message', ({ text }) => text === 'missed')).toMatchObject({
    conversation: { room, thread },
  });
});

test('a thread nobody has told us about is looked up', async () => {
  await using stage = await DiscordStage.open();
  const { people, gateway, world } = stage.fake;
  const room = people.channel(people.guild([ann]));
  await stage.start();
  gateway.isMute = true;
  const thread = people.thread(room, ann);
  gateway.isMute = false;
  people.says(thread, ann, 'in a new thread');
  expect(await stage.event('message')).toMatchObject({ conversation: { room, thread } });
  expect(world.channels.has(thread)).toBe(true);
});

test('an edit carries the new text, a preview that is added is no edit, a deletion names the message', async () => {
  await using stage = await DiscordStage.open();
  const { people } = stage.fake;
  const room = people.dm(ann);
  await stage.start();
  const id = people.says(room, ann, 'frist');
  people.unfurls(room, id);
  people.edits(room, id, 'first');
  expect(await stage.event('edit')).toMatchObject({ messageId: id, text: 'first', actor: { externalId: ann } });
  people.deletes(room, id);
  expect(await stage.event('delete')).toMatchObject({ messageId: id });
  expect(stage.events.map(({ type }) => type)).toEqual(['message', 'edit', 'delete']);
});

test('reactions of people are events, with their server roles', async () => {
  await using stage = await DiscordStage.open();
  const { people } = stage.fake;
  const room = people.channel(people.guild([ann], ['700000000000000002']));
  await stage.start();
  const id = people.says(room, ann, 'x');
  people.reacts(room, ann, id, '👍');
  people.reacts(room, ann, id, '👍', false);
  await stage.event('reaction', ({ isAdded }) => !isAdded);
  expect(await stage.event('reaction', ({ isAdded }) => isAdded)).toMatchObject({
    emoji: '👍',
    messageId: id,
    actor: { externalId: ann, roles: ['700000000000000002'] },
  });
});

test('files come with a key that holds no address; a forwarded message is quoted', async () => {
  await using stage = await DiscordStage.open();
  const { people } = stage.fake;
  const room = people.dm(ann);
  await stage.start();
  people.says(room, ann, '', { files: [{ name: 'a.txt', bytes: Buffer.from('content'), mime: 'text/plain' }] });
  const event = await stage.event('message');
  expect(event.files).toEqual([
    { name: 'a.txt', mime: 'text/plain', bytes: 7, fetchKey: expect.stringMatching(/^\d+\/\d+\/\d+$/) },
  ]);
  expect(JSON.stringify(stage.stored)).not.toContain('http');
  people.says(room, ann, 'look', { forwards: 'their words' });
  expect((await stage.event('message', ({ text }) => text.startsWith('look'))).text).toBe('look\n\n> their words');
});

test('events that cannot be stored are kept and stored in their order, and the state says so meanwhile', async () => {
  await using stage = await DiscordStage.open();
  const { people } = stage.fake;
  const room = people.dm(ann);
  await stage.start();
  stage.refusals = Number.POSITIVE_INFINITY;
  people.says(room, ann, 'one');
  people.says(room, ann, 'two');
  await eventually(() =>
    expect(stage.channel.health()).toMatchObject({
      state: 'disconnected',
      detail: expect.stringMatching(/cannot be stored/),
    }),
  );
  people.says(room, ann, 'three');
  stage.refusals = 0;
  await eventually(() => expect(stage.texts).toEqual(['one', 'two', 'three']));
  await eventually(() => expect(stage.channel.health().state).toBe('connected'));
});

test('what an outage of the store leaves no room for is asked for again, in order and once', async () => {
  await using stage = await DiscordStage.open({ channel: { waitingMax: 20 } });
  const { people } = stage.fake;
  const rooms = [people.dm(ann), people.dm(ben)] as const;
  await stage.start();
  people.says(rooms[0], ann, '0');
  people.says(rooms[1], ben, '0');
  await eventually(() => expect(stage.texts.length).toBe(2));
  stage.refusals = Number.POSITIVE_INFINITY;
  for (let n = 1; n <= 100; n += 1) {
    people.says(rooms[0], ann, String(n));
    people.says(rooms[1], ben, String(n));
  }
  await eventually(() => expect(stage.channel.health().state).toBe('disconnected'));
  stage.refusals = 0;
  const heardIn = (room: string): string[] =>
    stage.events.flatMap((event) => (event.type === 'message' && event.conversation.room === room ? [event.text] : []));
  const all = Array.from({ length: 101 }, (_text, index) => String(index));
  await eventually(() => expect([heardIn(rooms[0]), heardIn(rooms[1])]).toEqual([all, all]));
});

test('a broken connection is resumed, and what was said meanwhile arrives once', async () => {
  await using stage = await DiscordStage.open();
  const { people, gateway } = stage.fake;
  const room = people.dm(ann);
  await stage.start();
  people.says(room, ann, 'before');
  await stage.event('message');
  gateway.isHolding = true;
  gateway.disconnect(4_000);
  await eventually(() => expect(stage.channel.health().state).toBe('disconnected'));
  people.says(room, ann, 'between');
  gateway.greet();
  await stage.event('message', ({ text }) => text === 'between');
  gateway.askToReconnect();
  await eventually(() => expect(gateway.resumes).toBe(2));
  gateway.repeat();
  people.says(room, ann, 'after');
  await stage.event('message', ({ text }) => text === 'after');
  expect(stage.texts).toEqual(['before', 'between', 'after']);
  expect(gateway.identifies).toBe(1);
});

test('after a session that cannot be resumed, what was missed is asked for before anything newer', async () => {
  await using stage = await DiscordStage.open();
  const { people, gateway } = stage.fake;
  const dm = people.dm(ann);
  const guild = people.guild([ann]);
  const room = people.channel(guild);
  await stage.start();
  people.says(dm, ann, 'dm 1');
  people.says(room, ann, 'room 1');
  await eventually(() => expect(stage.texts.length).toBe(2));
  await stage.stop();
  for (let n = 2; n <= 250; n += 1) people.says(dm, ann, `dm ${n}`);
  people.says(room, ann, `<@${stage.channel.account}> room 2`);
  const made = people.channel(guild, 'made meanwhile');
  people.says(made, ann, `<@${stage.channel.account}> in the new one`);
  gateway.forgetSessions();
  await stage.restart();
  people.says(dm, ann, 'dm 251');
  await stage.event('message', ({ text }) => text === 'dm 251');
  await stage.event('message', ({ text }) => text === 'in the new one');
  const dms = stage.texts.filter((text) => text.startsWith('dm'));
  expect(dms).toEqual(Array.from({ length: 251 }, (_, index) => `dm ${index + 1}`));
  // What is asked for comes without the author's roles; they are asked for too.
  expect(await stage.event('message', ({ text }) => text === 'room 2')).toMatchObject({
    addressed: 'mention',
    actor: { roles: [] },
  });
  // Channels in which nothing was said are not asked about.
  expect(stage.fake.callsOf('listMessages').filter(({ channelId }) => channelId === room).length).toBe(1);
});

test('a room that is heard from for the first time is on record before what was said there', async () => {
  await using stage = await DiscordStage.open();
  const { people } = stage.fake;
  await stage.start();
  const room = people.channel(people.guild([ann]));
  const dm = people.dm(ann);
  stage.refusals = 1;
  people.says(dm, ann, 'hello');
  await eventually(() => expect(stage.refusals).toBe(0), { interval: 5 });
  const rows = await stage.database.query<{ channel_id: string }>('select channel_id from discord_place');
  expect(rows.map((row) => row.channel_id).sort()).toEqual([room, dm].sort());
});

test('an invalid session within a process is begun anew, with a catch-up', async () => {
  await using stage = await DiscordStage.open();
  const { people, gateway } = stage.fake;
  const room = people.dm(ann);
  await stage.start();
  people.says(room, ann, 'one');
  await stage.event('message');
  gateway.invalidate(false);
  people.says(room, ann, 'two');
  await eventually(() => expect(gateway.identifies).toBe(2));
  people.says(room, ann, 'three');
  await stage.event('message', ({ text }) => text === 'three');
  expect(stage.texts).toEqual(['one', 'two', 'three']);
});

test('a catch-up waits out a throttled or failing server, and skips a channel that is closed to us', async () => {
  await using stage = await DiscordStage.open();
  const { people, faults, world } = stage.fake;
  const guild = people.guild([ann]);
  const [open, closed] = [people.channel(guild), people.channel(guild)];
  const dm = people.dm(ann);
  await stage.start();
  people.says(dm, ann, 'first');
  await stage.event('message');
  await stage.stop();
  people.says(dm, ann, 'missed');
  people.says(open, ann, `<@${stage.channel.account}> seen`);
  people.says(closed, ann, `<@${stage.channel.account}> hidden`);
  faults.next('listMessages', { kind: 'throttle', retryAfter: 0.2 }, 1, dm);
  faults.next('listMessages', { kind: 'status', code: 503, description: 'unavailable' }, 1, dm);
  faults.next('listMessages', { kind: 'dropBefore' }, 1, open);
  faults.next('listMessages', { kind: 'status', code: 50_001, description: 'Missing Access' }, 1, closed);
  await stage.restart();
  await stage.event('message', ({ text }) => text === 'seen');
  expect(stage.texts.filter((text) => text === 'missed')).toEqual(['missed']);
  expect(world.channels.get(closed)?.canView).toBe(true);
});

test('being removed from a server leaves its rooms, an outage does not, and coming back joins them again', async () => {
  await using stage = await DiscordStage.open();
  const { people } = stage.fake;
  const guild = people.guild([ann]);
  const room = people.channel(guild);
  await stage.start();
  people.says(room, ann, 'x');
  await stage.event('message');
  people.loses(guild);
  people.kicksBot(guild);
  expect(await stage.event('membership')).toMatchObject({ change: 'left', conversation: { room, space: guild.id } });
  people.invitesBot(guild);
  await stage.event('membership', ({ change }) => change === 'joined');
  people.deletesChannel(room);
  await eventually(() =>
    expect(stage.events.flatMap((event) => (event.type === 'membership' ? [event.change] : []))).toEqual([
      'left',
      'joined',
      'left',
    ]),
  );
});

test('a server that removed the bot while it was away is noticed at the next start', async () => {
  await using stage = await DiscordStage.open();
  const { people } = stage.fake;
  const guild = people.guild([ann]);
  const room = people.channel(guild);
  await stage.start();
  people.says(room, ann, 'x');
  await stage.event('message');
  await stage.stop();
  people.kicksBot(guild);
  await stage.restart();
  expect(await stage.event('membership')).toMatchObject({ change: 'left', conversation: { room } });
});

test.each([
  ['a wrong token', 4_004, /does not accept the bot token.*DISCORD_BOT_TOKEN/],
  ['an intent that is not switched on', 4_014, /refuses the intents Message Content.*Privileged Gateway Intents/],
  ['an intent the server does not know', 4_013, /does not know one of the intents Guilds, /],
  ['more servers than one connection serves', 4_011, /2,500 servers/],
])('%s halts the channel with the mend (close code %i)', async (_, code, detail) => {
  await using stage = await DiscordStage.open();
  if (code === 4_004) stage.fake.isTokenRevoked = true;
  if (code === 4_014) stage.fake.world.applicationFlags = 0;
  if (code === 4_004 || code === 4_014) {
    await stage.start('halted');
  } else {
    await stage.start();
    stage.fake.gateway.disconnect(code);
    await eventually(() => expect(stage.channel.health().state).toBe('halted'));
  }
  expect(stage.channel.health().detail).toMatch(detail);
  expect(stage.fake.gateway.identifies).toBeLessThanOrEqual(1);
});

test('a token that is reset while the bot runs halts it, and a text that is no token halts it without a call', async () => {
  await using stage = await DiscordStage.open();
  await stage.start();
  stage.fake.isTokenRevoked = true;
  stage.fake.gateway.disconnect(4_004);
  await eventually(() =>
    expect(stage.channel.health()).toMatchObject({ state: 'halted', detail: expect.stringMatching(/bot token/) }),
  );

  await using other = await DiscordStage.open({ channel: { token: 'not a token' } });
  await other.start('halted');
  expect(other.channel.account).toBe('invalid');
  expect(JSON.stringify(other.fake.calls)).not.toContain('not a token');
});

test('a platform that is down at the start is waited for', async () => {
  await using stage = await DiscordStage.open();
  await stage.fake.goDown();
  const started = stage.start();
  await eventually(() =>
    expect(stage.channel.health()).toMatchObject({
      state: 'disconnected',
      detail: expect.stringMatching(/cannot be reached/),
    }),
  );
  await stage.fake.listen();
  await started;
  stage.fake.people.says(stage.fake.people.dm(ann), ann, 'hello');
  await stage.event('message');
});

test('a command that is typed out instead of chosen is a command too', async () => {
  await using stage = await DiscordStage.open();
  const { people } = stage.fake;
  const room = people.dm(ann);
  await stage.start();
  people.says(room, ann, `/start ABCD-EFGH`);
  people.says(room, ann, `/frobnicate`);
  expect(await stage.event('command', ({ name }) => name === 'start')).toMatchObject({ args: 'ABCD-EFGH' });
  await stage.event('command', ({ name }) => name === 'frobnicate');
});
