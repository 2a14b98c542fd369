import { expect, test } from 'vitest';
import type { CommandSpec } from '#bots/channel.ts';
import { type Clock, systemClock } from '#core/kit/clock.ts';
import { eventually } from '#tests/support/eventually.ts';
import { DiscordStage, markdown } from './discord-stage.ts';

const ann = '600000000000000001';

/** After this time Discord takes no more answers by the token of an interaction. */
const tokenLifeMs = 15 * 60_000;

const commands: readonly CommandSpec[] = [
  { name: 'help', description: 'What I can do' },
  {
    name: 'run',
    description: 'Work on a longer task',
    options: [
      { name: 'task', description: 'What to work on', isRequired: true },
      { name: 'agent', description: 'Who', suggest: 'agents' },
    ],
  },
  {
    name: 'queue',
    description: 'Mode',
    options: [{ name: 'mode', description: 'Which', choices: ['steer', 'collect'] }],
  },
];

const card = {
  parts: [
    { type: 'markdown' as const, markdown: 'Allow it?' },
    {
      type: 'buttons' as const,
      rows: [
        [
          { label: 'Allow', token: 'v1.allow' },
          { label: 'Deny', token: 'v1.deny' },
        ],
      ],
    },
  ],
};

const form = {
  token: 'v1.form',
  title: 'Why do you deny this, and what should be done instead of it?',
  submitLabel: 'Deny',
  fields: [{ name: 'reason', label: 'Reason', isLong: true, isRequired: true, charsMax: 500 }],
};

/** What is stored counts as new, however long a slow machine took: an old interaction is not acknowledged any more. */
async function openStage(options: Parameters<typeof DiscordStage.open>[0] = {}) {
  const openedAt = new Date();
  const clock: Clock = { ...systemClock, now: () => openedAt };
  const stage = await DiscordStage.open({ ...options, channel: { clock, ...options.channel } });
  await stage.channel.registerCommands(commands);
  const { people } = stage.fake;
  const guild = people.guild([ann], ['700000000000000003']);
  const room = people.channel(guild);
  return { stage, people, guild, room };
}

test('a slash command arrives with its options, in the order of its text, with the roles of who gave it', async () => {
  const { stage, people, guild, room } = await openStage();
  await using _ = stage;
  await stage.start();
  people.slash(room, ann, 'run', { agent: 'coder', task: 'mend the roof' });
  expect(await stage.event('command')).toMatchObject({
    name: 'run',
    args: 'mend the roof coder',
    options: { task: 'mend the roof', agent: 'coder' },
    conversation: { room, space: guild.id, kind: 'channel' },
    actor: { externalId: ann, roles: ['700000000000000003'] },
  });
  const thread = people.thread(room, ann);
  people.slash(thread, ann, 'help');
  expect(await stage.event('command', ({ name }) => name === 'help')).toMatchObject({ conversation: { room, thread } });
});

test('a command nobody answers in time is acknowledged by the channel, after it is stored', async () => {
  const { stage, people, room } = await openStage();
  await using _ = stage;
  await stage.start();
  // A machine that is held up answers some commands late, but not each of them.
  await eventually(async () => {
    const id = people.slash(room, ann, 'help');
    const statesAtStoring: string[] = [];
    stage.onStoring = () => statesAtStoring.push(stage.fake.interaction(id).state);
    await stage.event('command', ({ interactionToken }) => interactionToken?.includes(id) === true);
    await stage.fake.waitFor(() => stage.fake.interaction(id).state === 'answered', 5_000);
    expect(statesAtStoring).toEqual(['open']);
    expect(stage.fake.interaction(id)).toMatchObject({ answer: 5 });
    expect(stage.fake.interaction(id).answeredAfterMs).toBeLessThan(1_500);
    expect(stage.fake.said(room).at(-1)).toMatchObject({ isBusy: true });
  });
});

test('a press that nobody answers in time is acknowledged without a sign', async () => {
  const { stage, people } = await openStage();
  await using _ = stage;
  await stage.start();
  const room = people.dm(ann);
  await stage.channel.send(stage.conversation(room), card, 'o1');
  const id = people.presses(room, ann, 'v1.allow');
  await stage.fake.waitFor(() => stage.fake.interaction(id).answer === 6);
  expect(stage.fake.said(room).length).toBe(1);
});

test('an event that is not stored yet is not acknowledged', async () => {
  const { stage, people, room } = await openStage({ channel: { clock: systemClock } });
  await using _ = stage;
  await stage.start();
  stage.refusals = 1_000;
  const id = people.slash(room, ann, 'help');
  // Longer than Discord waits: what is stored after that needs no answer any more.
  await eventually(() => expect(Date.now()).toBeGreaterThan(stage.fake.interaction(id).at + 3_100));
  expect(stage.fake.interaction(id).state).toBe('open');
  stage.refusals = 0;
  await stage.event('command');
  expect(stage.fake.interaction(id).state).toBe('open');
});

test('a command answered at once is one message; answered late it takes the place of the busy sign', async () => {
  const { stage, people, room } = await openStage();
  await using _ = stage;
  await stage.start();
  const conversation = stage.conversation(room, { kind: 'channel' });
  people.slash(room, ann, 'help');
  const quick = await stage.event('command');
  const body = {
    ...markdown('the help'),
    ...(quick.interactionToken === undefined ? {} : { interactionToken: quick.interactionToken }),
  };
  const ref = await stage.channel.send(conversation, body, 'o1');
  expect(stage.fake.said(room)).toMatchObject([{ id: ref.ids[0], text: 'the help', isBusy: false }]);
  // Sent again, as after a crash between sending and recording.
  expect(await stage.channel.send(conversation, body, 'o1')).toEqual(ref);

  const id = people.slash(room, ann, 'queue', { mode: 'steer' });
  const slow = await stage.event('command', ({ name }) => name === 'queue');
  await stage.fake.waitFor(() => stage.fake.interaction(id).answer === 5);
  await stage.channel.send(
    conversation,
    { ...markdown('the mode'), interactionToken: slow.interactionToken ?? '' },
    'o2',
  );
  expect(stage.fake.said(room).map(({ text, isBusy }) => [text, isBusy])).toEqual([
    ['the help', false],
    ['the mode', false],
  ]);
});

test('an answer in a level’s look takes the place of the busy sign too, and long ones go on in the channel', async () => {
  const { stage, people, room } = await openStage();
  await using _ = stage;
  await stage.start();
  const conversation = stage.conversation(room, { kind: 'channel' });
  const id = people.slash(room, ann, 'help');
  const { interactionToken = '' } = await stage.event('command');
  await stage.fake.waitFor(() => stage.fake.interaction(id).answer === 5);
  await stage.channel.send(
    conversation,
    { parts: [{ type: 'notice', level: 'warn', markdown: 'Not **now**.' }], interactionToken },
    'o1',
  );
  expect(stage.fake.said(room)).toMatchObject([{ isCard: true, text: '⚠️ Not **now**.' }]);
  const words = Array.from({ length: 400 }, (_word, index) => `word${index}`).join(' ');
  people.slash(room, ann, 'queue');
  const second = await stage.event('command', ({ name }) => name === 'queue');
  const { ids } = await stage.channel.send(
    conversation,
    { ...markdown(words), interactionToken: second.interactionToken ?? '' },
    'o2',
  );
  expect(ids.length).toBe(2);
  const parts = stage.fake.said(room).slice(1);
  expect(parts.map(({ text }) => text).join(' ')).toBe(words);
});

test('a result that comes after the token died is a message to the channel', async () => {
  const { stage, people, room } = await openStage();
  await using _ = stage;
  await stage.start();
  people.slash(room, ann, 'help');
  const { interactionToken = '' } = await stage.event('command');
  await stage.channel.acknowledge(interactionToken);
  await stage.fake.waitFor(() => stage.fake.said(room).some(({ isBusy }) => isBusy));
  stage.fake.ages(tokenLifeMs);
  await stage.channel.send(
    stage.conversation(room, { kind: 'channel' }),
    { ...markdown('late'), interactionToken },
    'o1',
  );
  expect(stage.fake.said(room).at(-1)).toMatchObject({ text: 'late', nonce: expect.any(String) });
  await expect(
    stage.channel.acknowledge(interactionToken, { text: 'too late', isAlert: true }),
  ).resolves.toBeUndefined();
});

test.each([
  [10_062, 'Unknown interaction'],
  [10_015, 'Unknown Webhook'],
  [50_027, 'Invalid Webhook Token'],
])('an answer refused with %i (%s) goes to the channel', async (code, description) => {
  const { stage, people, room } = await openStage();
  await using _ = stage;
  await stage.start();
  people.slash(room, ann, 'help');
  const { interactionToken = '' } = await stage.event('command');
  // One each for the answer, and for the channel's own acknowledgement should it come first.
  stage.fake.faults.next('webhookGET', { kind: 'status', code, description }, 2);
  stage.fake.faults.next('callback', { kind: 'status', code, description }, 2);
  await stage.channel.send(
    stage.conversation(room, { kind: 'channel' }),
    { ...markdown('still here'), interactionToken },
    'o1',
  );
  expect(stage.fake.said(room).at(-1)).toMatchObject({ text: 'still here', nonce: expect.any(String) });
});

test('what only one person should see is ephemeral where an interaction allows it, else private', async () => {
  const { stage, people, room } = await openStage();
  await using _ = stage;
  await stage.start();
  const conversation = stage.conversation(room, { kind: 'channel' });
  const id = people.slash(room, ann, 'help');
  const { interactionToken = '' } = await stage.event('command');
  await stage.fake.waitFor(() => stage.fake.interaction(id).answer === 5);
  const ref = await stage.channel.send(
    conversation,
    { ...markdown('for you'), interactionToken, ephemeralTo: ann },
    'o1',
  );
  expect(stage.fake.said(room)).toMatchObject([{ text: 'for you', onlyFor: ann }]);
  await stage.channel.edit(
    conversation,
    ref,
    { ...markdown('for you alone'), interactionToken, ephemeralTo: ann },
    'o1',
  );
  expect(stage.fake.said(room)).toMatchObject([{ text: 'for you alone', onlyFor: ann }]);

  const dm = await stage.channel.send(conversation, { ...markdown('no interaction'), ephemeralTo: ann }, 'o2');
  expect(stage.fake.said(people.dm(ann))).toMatchObject([{ text: 'no interaction' }]);
  await stage.channel.edit(conversation, dm, { ...markdown('changed'), ephemeralTo: ann }, 'o2');
  expect(stage.fake.said(people.dm(ann))).toMatchObject([{ text: 'changed' }]);
  await stage.channel.delete(conversation, dm);
  expect(stage.fake.said(people.dm(ann))).toEqual([]);

  stage.fake.world.closedTo.add(ann);
  const failure = await stage.channel
    .send(conversation, { ...markdown('closed'), ephemeralTo: ann }, 'o3')
    .catch((err: unknown) => stage.channel.classify(err));
  expect(failure).toMatchObject({ kind: 'unreachable' });
});

test('a process that stops acknowledges what it stored, and the next one answers it', async () => {
  const { stage, people, room } = await openStage();
  await using _ = stage;
  await stage.start();
  const id = people.slash(room, ann, 'help');
  const { interactionToken = '' } = await stage.event('command');
  await stage.restart();
  expect(stage.fake.interaction(id).answer).toBe(5);
  const body = { ...markdown('the help'), interactionToken };
  await stage.channel.send(stage.conversation(room, { kind: 'channel' }), body, 'o1');
  expect(stage.fake.said(room)).toMatchObject([{ text: 'the help', isBusy: false }]);
});

test('a private answer whose interaction dies goes to the private chat, and never grows in public', async () => {
  const { stage, people, room } = await openStage();
  await using _ = stage;
  await stage.start();
  const conversation = stage.conversation(room, { kind: 'channel' });
  people.slash(room, ann, 'help');
  const { interactionToken = '' } = await stage.event('command');
  const body = { ...markdown('secret'), interactionToken, ephemeralTo: ann };
  const ref = await stage.channel.send(conversation, body, 'o1');
  stage.fake.ages(tokenLifeMs);
  const long = Array.from({ length: 500 }, (_word, index) => `secret${index}`).join(' ');
  const { interactionToken: _dead, ...rest } = body;
  await stage.channel.edit(conversation, ref, { ...rest, ...markdown(long) }, 'o1');
  await stage.channel.send(conversation, { ...body, ...markdown('secret two') }, 'o2');
  expect(stage.fake.said(room).filter(({ onlyFor }) => onlyFor !== ann)).toEqual([]);
  expect(stage.fake.said(people.dm(ann))).toMatchObject([{ text: 'secret two' }]);
});

test('a notice over a press is for who pressed; a second one follows it; a repeated press is answered again', async () => {
  const { stage, people, room } = await openStage();
  await using _ = stage;
  await stage.start();
  await stage.channel.send(stage.conversation(room, { kind: 'channel' }), card, 'o1');
  people.presses(room, ann, 'v1.deny');
  const { interactionToken, token, messageId } = await stage.event('action');
  expect([token, messageId]).toEqual(['v1.deny', stage.fake.said(room)[0]?.id]);
  await stage.channel.acknowledge(interactionToken, { text: 'Noted.', isAlert: false });
  await stage.channel.acknowledge(interactionToken, { text: 'Twice.', isAlert: true });
  expect(stage.fake.said(room).slice(1)).toMatchObject([
    { text: 'Noted.', onlyFor: ann },
    { text: 'Twice.', onlyFor: ann },
  ]);
});

test('an acknowledgement that comes too late changes nothing and says so to nobody', async () => {
  const { stage, people, room } = await openStage({ times: { answerMs: 1 } });
  await using _ = stage;
  await stage.start();
  await stage.channel.send(stage.conversation(room, { kind: 'channel' }), card, 'o1');
  people.presses(room, ann, 'v1.allow');
  const { interactionToken } = await stage.event('action');
  await stage.channel.acknowledge(interactionToken, { text: 'Noted.', isAlert: false });
  expect(stage.fake.said(room).length).toBe(1);
});

test('a form opens over a press and comes back with its token and what was entered', async () => {
  const { stage, people, room } = await openStage();
  await using _ = stage;
  await stage.start();
  await stage.channel.send(stage.conversation(room, { kind: 'channel' }), card, 'o1');
  // Where the machine is held up the press is acknowledged without a form; then it is pressed again.
  const press = await eventually(async () => {
    const id = people.presses(room, ann, 'v1.deny');
    const { interactionToken } = await stage.event('action', (event) => event.interactionToken.includes(id));
    expect(await stage.channel.openForm(interactionToken, form)).toBe(true);
    return id;
  });
  const sent = people.submits(press, { reason: 'not today' });
  const event = await stage.event('form');
  expect(event).toMatchObject({ token: 'v1.form', values: { reason: 'not today' }, actor: { externalId: ann } });
  await stage.channel.acknowledge(event.interactionToken ?? '');
  expect(stage.fake.interaction(sent).answer).toBe(6);
});

test('a form cannot open once the press is acknowledged, by this process or another', async () => {
  const { stage, people, room } = await openStage();
  await using _ = stage;
  await stage.start();
  await stage.channel.send(stage.conversation(room, { kind: 'channel' }), card, 'o1');
  people.presses(room, ann, 'v1.deny');
  const { interactionToken } = await stage.event('action');
  await stage.channel.acknowledge(interactionToken);
  expect(await stage.channel.openForm(interactionToken, form)).toBe(false);
  await stage.restart();
  expect(await stage.channel.openForm(interactionToken, form)).toBe(false);
});

test('while somebody types, the names there are are suggested, and nothing of it is stored', async () => {
  const { stage, people, room } = await openStage({
    channel: {
      suggest: async (source, typed) =>
        source === 'agents' ? ['coder', 'cook'].filter((name) => name.startsWith(typed)) : [],
    },
  });
  await using _ = stage;
  await stage.start();
  expect(await people.types(room, ann, 'run', 'agent', 'co')).toEqual(['coder', 'cook']);
  expect(await people.types(room, ann, 'run', 'agent', 'cod')).toEqual(['coder']);
  expect(await people.types(room, ann, 'run', 'task', 'x')).toEqual([]);
  expect(stage.stored).toEqual([]);
});

test('a press of a person who brought the bot along is marked as from outside', async () => {
  const { stage, people, room } = await openStage();
  await using _ = stage;
  await stage.start();
  people.slash(room, ann, 'help', {}, { isUserInstall: true });
  expect(await stage.event('command')).toMatchObject({ actor: { isExternal: true } });
});

test('commands are written only when something differs, and the entry point stays', async () => {
  await using stage = await DiscordStage.open();
  const { world } = stage.fake;
  world.commands = [{ id: '1', type: 4, name: 'launch', body: { handler: 2 } }];
  expect(await stage.channel.registerCommands(commands)).toEqual({ changed: true });
  expect(world.commands.map(({ name, type }) => [name, type])).toEqual([
    ['launch', 4],
    ['help', 1],
    ['run', 1],
    ['queue', 1],
  ]);
  expect(world.commands[2]?.body).toMatchObject({
    contexts: [0, 1, 2],
    options: [
      { name: 'task', required: true },
      { name: 'agent', autocomplete: true },
    ],
  });
  expect(await stage.channel.registerCommands([...commands].reverse())).toEqual({ changed: false });
  expect(world.commandWrites).toBe(1);
  expect(await stage.channel.registerCommands(commands.slice(1))).toEqual({ changed: true });
  await eventually(() => expect(world.commands.map(({ name }) => name)).toEqual(['launch', 'run', 'queue']));
});
