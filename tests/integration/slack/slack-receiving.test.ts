import { expect, test } from 'vitest';
import { alice, bob, repeatsSoon, room, SlackStage } from './slack-stage.ts';

test('an envelope is acknowledged only after it was stored', async () => {
  await using stage = await SlackStage.open();
  const store = Promise.withResolvers<void>();
  stage.beforeStore = store.promise;
  stage.fake.people.mentions(room, alice, 'hello');
  await stage.fake.waitFor(() => stage.fake.lastPush.tries.length > 0);
  await stage.fake.waitFor(() => stage.fake.callCounts.has('users.info'));
  expect(stage.received).toEqual([]);
  expect(stage.fake.lastPush.ackedAt).toBeUndefined();
  store.resolve();
  await stage.fake.waitFor(() => stage.fake.lastPush.ackedAt !== undefined);
  expect(stage.texts).toEqual(['hello']);
});

test('what could not be stored is not acknowledged, comes again and is there once', async () => {
  await using stage = await SlackStage.open({ fake: repeatsSoon });
  stage.isDatabaseDown = true;
  stage.fake.people.mentions(room, alice, 'while the database is away');
  await stage.fake.waitFor(() => stage.fake.lastPush.tries.length >= 2);
  expect(stage.fake.lastPush.ackedAt).toBeUndefined();
  stage.isDatabaseDown = false;
  await stage.fake.waitFor(() => stage.fake.lastPush.ackedAt !== undefined);
  expect(stage.texts).toEqual(['while the database is away']);
});

test('an event that is delivered twice has one key', async () => {
  await using stage = await SlackStage.open();
  stage.fake.people.says(stage.fake.people.dm(alice), alice, 'once');
  await stage.until(() => stage.received.length === 1);
  stage.fake.push.repeat(stage.fake.lastPush);
  await stage.until(() => stage.received.length === 2);
  expect(stage.texts).toEqual(['once']);
});

test('a press that is acknowledged too late still counts, once', async () => {
  await using stage = await SlackStage.open({ fake: { limits: { ackMs: 100 } } });
  await stage.channel.send(
    stage.at(),
    { parts: [{ type: 'buttons', rows: [[{ label: 'Approve', token: 'v1.t' }]] }] },
    'o1',
  );
  const store = Promise.withResolvers<void>();
  stage.beforeStore = store.promise;
  const push = stage.fake.people.presses(alice, 'Approve');
  await stage.fake.waitFor(() => push.isGivenUp);
  store.resolve();
  await stage.fake.waitFor(() => push.ackedAt !== undefined);
  expect(stage.events).toMatchObject([{ type: 'action', token: 'v1.t' }]);
  expect(push.tries.length).toBe(1);
});

test('a message that mentions the bot comes as two events and is one', async () => {
  await using stage = await SlackStage.open();
  stage.fake.people.mentions(room, alice, 'deploy it');
  await stage.until(() => stage.received.length === 2);
  expect(new Set(stage.received.map(({ dedupKey }) => dedupKey)).size).toBe(1);
  expect(stage.events).toMatchObject([{ type: 'message', text: 'deploy it', addressed: 'mention' }]);
});

test('events that overtake each other say in which order they were written', async () => {
  await using stage = await SlackStage.open();
  const dm = stage.fake.people.dm(alice);
  stage.fake.push.isHeld = true;
  for (const text of ['first', 'second', 'third']) stage.fake.people.says(dm, alice, text);
  stage.fake.push.release('reversed');
  await stage.until(() => stage.received.length === 3);
  expect(stage.texts).toEqual(['third', 'second', 'first']);
  const sorted = stage.events.toSorted((a, b) => (a.sequence ?? 0) - (b.sequence ?? 0));
  expect(sorted.map((event) => (event.type === 'message' ? event.text : ''))).toEqual(['first', 'second', 'third']);
});

test('while Slack replaces a connection two are open and nothing is lost', async () => {
  await using stage = await SlackStage.open();
  const dm = stage.fake.people.dm(alice);
  stage.fake.people.says(dm, alice, 'before');
  const store = Promise.withResolvers<void>();
  await stage.until(() => stage.texts.length === 1);
  // One is still being stored when the connection it came through is asked to leave.
  stage.beforeStore = store.promise;
  stage.fake.people.says(dm, alice, 'during');
  const during = stage.fake.lastPush;
  await stage.fake.waitFor(() => during.tries.length === 1);
  const close = stage.fake.socketMode.refresh(60_000);
  await stage.fake.waitFor(() => stage.fake.socketMode.opened === 2);
  expect(stage.fake.socketMode.openConnections).toBe(2);
  store.resolve();
  await stage.fake.waitFor(() => during.ackedAt !== undefined);
  expect(during.tries.length).toBe(1);
  stage.fake.people.says(dm, alice, 'after');
  await stage.until(() => stage.texts.length === 3);
  expect(stage.texts).toEqual(['before', 'during', 'after']);
  expect(stage.fake.lastPush.tries.map(({ connection }) => connection)).toEqual([2]);
  close();
  await stage.fake.waitFor(() => stage.fake.socketMode.openConnections === 1);
  expect(stage.channel.health().state).toBe('connected');
});

test('a connection that breaks is opened again and brings what came meanwhile', async () => {
  await using stage = await SlackStage.open();
  stage.fake.socketMode.drop();
  stage.fake.people.says(stage.fake.people.dm(alice), alice, 'in the gap');
  await stage.until(() => stage.texts.length === 1);
  expect(stage.texts).toEqual(['in the gap']);
});

test('an outage of Slack ends by itself', async () => {
  await using stage = await SlackStage.open();
  const { port } = stage.fake;
  await stage.fake.goDown();
  await stage.until(() => stage.channel.health().state === 'disconnected');
  await stage.fake.listen(port);
  await stage.until(() => stage.channel.health().state === 'connected');
});

test('a bot token that is refused halts the channel with what to do and asks no more', async () => {
  await using stage = await SlackStage.prepare();
  stage.fake.botTokenError = 'invalid_auth';
  stage.run();
  await stage.until(() => stage.channel.health().state === 'halted');
  expect(stage.channel.health().detail).toMatch(/invalid_auth.*SLACK_BOT_TOKEN/);
  expect(stage.fake.callCounts.get('auth.test')).toBe(1);
  expect(stage.fake.callCounts.has('apps.connections.open')).toBe(false);
});

test('an app token that is refused halts the channel with what to do', async () => {
  await using stage = await SlackStage.prepare();
  stage.fake.appTokenError = 'invalid_auth';
  stage.run();
  await stage.until(() => stage.channel.health().state === 'halted');
  expect(stage.channel.health().detail).toMatch(/invalid_auth.*SLACK_APP_TOKEN/);
});

test('Socket Mode that is turned off halts the channel with what to do', async () => {
  await using stage = await SlackStage.open();
  stage.fake.socketMode.refresh(10, 'link_disabled');
  await stage.until(() => stage.channel.health().state === 'halted');
  expect(stage.channel.health().detail).toContain('Socket Mode was turned off');
});

test.each(['app_uninstalled', 'tokens_revoked'] as const)('%s halts the channel while it runs', async (how) => {
  await using stage = await SlackStage.open();
  stage.fake.people.endsApp(how);
  await stage.until(() => stage.channel.health().state === 'halted');
  expect(stage.channel.health().detail).toContain('SLACK_BOT_TOKEN');
  expect(stage.lines.some((line) => line.includes('"level":50') && line.includes('bot token was refused'))).toBe(true);
  await stage.fake.waitFor(() => stage.fake.socketMode.openConnections === 0);
});

test('a token revoked behind our back is noticed by the next call', async () => {
  await using stage = await SlackStage.open();
  stage.fake.botTokenError = 'token_revoked';
  const send = stage.channel.send(stage.at(), { parts: [{ type: 'markdown', markdown: 'hi' }] }, 'o1');
  const failure = await send.catch((err: unknown) => stage.channel.classify(err));
  expect(failure).toMatchObject({ kind: 'auth' });
  expect(stage.channel.health().state).toBe('halted');
});

test('names come from the workspace, and an event does not wait long for one', async () => {
  await using stage = await SlackStage.open();
  stage.fake.faults.next('users.info', { kind: 'delay', ms: 2_500 });
  const dm = stage.fake.people.dm(alice);
  stage.fake.people.says(dm, alice, 'who am I');
  await stage.until(() => stage.received.length === 1);
  // It was stored before its author's name was there.
  expect(stage.events[0]?.actor).toMatchObject({ externalId: alice, displayName: alice });
  await stage.until(() => stage.fake.callCounts.get('users.info') === 1);
  await stage.until(() => {
    stage.fake.people.says(dm, alice, 'and now');
    return stage.events.some(({ actor }) => actor.displayName === `person ${alice}`);
  });
});

test('user groups are the roles of an actor', async () => {
  await using stage = await SlackStage.prepare();
  stage.fake.world.userGroups.set('S0OPS', new Set([bob]));
  await stage.start();
  await stage.fake.waitFor(() => stage.fake.callCounts.has('usergroups.list'));
  await stage.until(() => {
    stage.fake.people.mentions(room, bob, 'hello');
    return stage.events.some(({ actor }) => actor.roles?.includes('S0OPS') === true);
  });
});

test('no token, ticket or response address is ever logged', async () => {
  await using stage = await SlackStage.open();
  stage.fake.people.slashCommand(room, alice, '/status');
  await stage.until(() => stage.received.length === 1);
  stage.fake.socketMode.drop();
  stage.fake.botTokenError = 'token_revoked';
  await stage.channel.typing(stage.at({ thread: '1700000000.000001' }));
  await stage.until(() => stage.channel.health().state === 'halted');
  const log = stage.lines.join('\n');
  for (const secret of [stage.fake.botToken, stage.fake.appToken, 'ticket=', '/response/']) {
    expect(log).not.toContain(secret);
  }
});
