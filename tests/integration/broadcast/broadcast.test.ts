import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { agentFrontMatterSchema } from '#core/agents/agent-profile.ts';
import type { Broadcast } from '#core/broadcast/broadcast.ts';
import { readBroadcast } from '#core/broadcast/read-broadcast.ts';
import { reportBroadcasts } from '#core/broadcast/report-broadcasts.ts';
import { resolveTargets } from '#core/broadcast/resolve-target.ts';
import { type BroadcastRequest, sendBroadcast } from '#core/broadcast/send-broadcast.ts';
import { announceCommands } from '#core/commands/announce-commands.ts';
import { createRunCommand } from '#core/commands/command.ts';
import { newId } from '#core/kit/ids.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { seedPerson, seedSession, seedTurn } from '#tests/support/asking-turn.ts';
import { ChatStage } from '#tests/support/chat-stage.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';
import { notifyTool } from '#workers/tools/notify.ts';
import type { ToolContext } from '#workers/tools/tool.ts';

let database: TestDatabase;
let stage: ChatStage;
const ownerDm: Conversation = { channel: 'slack', account: 'T1', room: 'D0WNER', kind: 'dm' };
const miaDm: Conversation = { channel: 'telegram', account: 'bot', room: '7', kind: 'dm' };
const team: Conversation = { channel: 'telegram', account: 'bot', room: '-42', kind: 'group' };
const teamTopic: Conversation = { ...team, thread: '5' };
const left: Conversation = { channel: 'discord', account: 'app', room: '66', kind: 'channel' };
const ops: Conversation = { channel: 'discord', account: 'app', room: '77', kind: 'channel' };
let owner: string;
let mia: string;

beforeAll(async () => {
  database = await openTestDatabase(8);
  owner = await seedPerson(database, { name: 'Olga', role: 'owner', dm: ownerDm, externalId: 'UOLGA' });
  mia = await seedPerson(database, { name: 'Mia', role: 'member', dm: miaDm });
  await seedPerson(database, { name: 'Silent', role: 'member' });
  for (const place of [teamTopic, team, left, ops]) await seedSession(database, place);
  await database.query(
    "insert into channel_room (channel, account, room, state, reason) values ('discord', 'app', '66', 'left', 'kicked')",
  );
  await database.query("insert into channel_account (channel, account) values ('slack', 'T1')");
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
});
beforeEach(async () => {
  await database.query('delete from outbox');
  stage = new ChatStage(database);
});

async function send(targets: readonly string[], more: Partial<BroadcastRequest> = {}): Promise<Broadcast> {
  return await database.db.transaction().execute(
    async (tx) =>
      await sendBroadcast(tx, {
        id: newId(),
        markdown: 'The build is **red**.',
        level: 'warn',
        priority: 'high',
        author: 'Olga',
        createdBy: owner,
        turnId: undefined,
        report: undefined,
        targets,
        ...more,
      }),
  );
}

test('targets are people by name or id, rooms, threads, roles and every room; what leads nowhere says why', async () => {
  const { places, problems } = await resolveTargets(database.db, [
    '@mia',
    `person:${owner}`,
    'discord:77',
    'telegram:-42:5',
    'slack:C0NEW',
    '@nobody',
    '@Silent',
    'discord:66',
    'telegram:',
    'here',
  ]);
  expect(places.map((place) => place.conversation)).toEqual([
    miaDm,
    ownerDm,
    ops,
    teamTopic,
    { channel: 'slack', account: 'T1', room: 'C0NEW', kind: 'channel' },
  ]);
  expect(problems.map(({ target, reason }) => `${target}: ${reason}`)).toEqual([
    '@nobody: I know nobody called "nobody".',
    '@Silent: They have not written to me in private yet.',
    'discord:66: The room discord:66 is closed to me (left).',
    'telegram:: "telegram:" is nobody I could write to.',
    'here: "here" means something only to an agent at work.',
  ]);
  const rooms = await resolveTargets(database.db, ['rooms', 'owners', 'owners']);
  expect(rooms.places.map((place) => place.conversation)).toEqual([ops, team, ownerDm]);
});

test('who used the terminal last is written to there, and on the platform that tells them', async () => {
  const desk: Conversation = { channel: 'console', account: 'local', room: 'desk', kind: 'dm' };
  const phone: Conversation = { channel: 'telegram', account: 'bot', room: '8', kind: 'dm' };
  const dora = await seedPerson(database, { name: 'Dora', role: 'member', dm: phone });
  await database.query(
    `insert into identity (id, person_id, channel, account, external_id, display_name, dm_conversation, last_seen_at)
     values ($1, $2, 'console', 'local', 'operator:dora', 'dora', $3, now() + interval '1 s')`,
    [newId(), dora, JSON.stringify(desk)],
  );
  const { places } = await resolveTargets(database.db, [`person:${dora}`]);
  expect(places.map((place) => place.conversation)).toEqual([desk, phone]);
  await database.query('update person set disabled_at = now() where id = $1', [dora]);
});

test('a broadcast has a message and a result for each place, and one that fails stops no other', async () => {
  const sent = await send(['@Mia', 'discord:77', '@nobody', 'discord:77']);
  expect(sent.results.map(({ target, state }) => [target, state])).toEqual([
    ['@Mia', 'waiting'],
    ['discord:77', 'waiting'],
    ['@nobody', 'failed'],
  ]);
  const message = await stage.last(miaDm);
  expect(message.body).toMatchObject({
    parts: [
      { type: 'notice', level: 'warn', markdown: 'The build is **red**.' },
      { type: 'markdown', markdown: '— Olga' },
    ],
    priority: 'high',
    mentions: ['7'],
  });
  await database.query("update outbox set state = 'sent', sent_at = now() where thread_key like 'telegram:%'");
  await database.query(
    "update outbox set state = 'dead', last_error = 'unreachable: gone' where thread_key like 'discord:%'",
  );
  const read = await readBroadcast(database.db, sent.id);
  expect(read?.results.map(({ state, reason }) => [state, reason])).toEqual([
    ['delivered', undefined],
    ['failed', 'unreachable: gone'],
    ['failed', 'I know nobody called "nobody".'],
  ]);
});

test('sent again under the same id it says nothing twice', async () => {
  const id = newId();
  await send(['@Mia'], { id });
  await send(['@Mia', 'discord:77'], { id });
  expect(await stage.said(miaDm)).toHaveLength(1);
  expect(await stage.said(ops)).toEqual([]);
});

async function announce(place: Conversation, personId: string, args: string): Promise<void> {
  const run = createRunCommand(stage.deps, announceCommands(stage.deps, ['rooms', 'people']), {});
  await run(await stage.event(place, personId, { type: 'command', name: 'announce', args }), 'announce', args);
}

test('/announce goes everywhere, tells its author for how many it arrived, and is for owners and admins', async () => {
  await expect(announce(miaDm, mia, 'Hello')).rejects.toMatchObject({ code: 'grant.missing' });
  await expect(announce(ownerDm, owner, 'level:loud Hello')).rejects.toMatchObject({ code: 'command.invalid' });
  await announce(ownerDm, owner, 'priority:urgent We move at **noon**.');
  for (const place of [team, ops, miaDm]) {
    expect((await stage.last(place)).body).toMatchObject({
      parts: [
        { type: 'notice', level: 'announcement', markdown: 'We move at **noon**.' },
        { type: 'markdown', markdown: '— Olga' },
      ],
      priority: 'urgent',
    });
  }
  const reportOf = async (): Promise<string> =>
    (await stage.said(ownerDm)).find((said) => said.key.startsWith('inbox:'))?.text ?? '';
  expect(await reportOf()).toMatch(/^Announced: 4 waiting, 1 failed\./);
  await database.query("update outbox set state = 'sent', sent_at = now() where key like 'broadcast:%'");
  await reportBroadcasts({ db: database.db });
  expect(await reportOf()).toMatch(/^Announced: 4 delivered, 1 failed\..*\n- people: failed, They have not written/s);
  await announce(ownerDm, owner, 'to:@Mia only you');
  expect((await stage.last(miaDm)).text).toBe('only you\n— Olga');
});

async function noticeContext(): Promise<ToolContext> {
  const sessionId = await seedSession(database, team);
  const turnId = newId();
  await seedTurn(database, { sessionId, turnId, origin: team });
  const agent = {
    ...agentFrontMatterSchema.parse({ name: 'coder', description: 'x' }),
    prompt: '',
    version: 'v1',
    source: 'test',
  };
  return {
    sessionId,
    turnId,
    callKey: '1:call',
    agent,
    origin: { ...team, personId: mia },
    signal: new AbortController().signal,
    sandbox: async () => await Promise.reject(new Error('a notice needs no hands')),
    progress: () => undefined,
  };
}

test('an agent writes to its requester or thread, once, and a sign of life is not sent', async () => {
  const tool = notifyTool(stage.deps);
  const context = await noticeContext();
  const notice = { to: 'requester', text: 'Deployed.', level: 'success' as const };
  expect(tool.claim(notice)).toMatchObject({ action: 'message.send', resource: 'requester' });
  expect(await tool.run(notice, context)).toEqual({ text: 'Sent to 1 of 1.', isError: false });
  await tool.run(notice, context);
  expect((await stage.said(miaDm)).map(({ text }) => text)).toEqual(['Deployed.\n— coder']);
  for (const text of ['HEARTBEAT_OK', 'Nothing to do.', ' ok ', '', 'No updates!']) {
    expect((await tool.run({ to: 'here', text }, context)).text).toMatch(/^Not sent/);
  }
  expect(await stage.said(team)).toEqual([]);
  expect(await tool.run({ to: '@nobody', text: 'Hello?' }, context)).toMatchObject({ isError: true });
});
