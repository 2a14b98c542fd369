import { expect, test } from 'vitest';
import type { FormSpec } from '#bots/channel.ts';
import type { OutboundBody } from '#core/outbox/outbound.ts';
import { alice, room, SlackStage, standingClock } from './slack-stage.ts';

const form: FormSpec = {
  token: 'form-token',
  title: 'Why do you deny this, dear approver of things?',
  submitLabel: 'Deny',
  fields: [{ name: 'reason', label: 'Reason', isLong: true, isRequired: true, charsMax: 500 }],
};
const card: OutboundBody = { parts: [{ type: 'buttons', rows: [[{ label: 'Deny…', token: 'v1.deny' }]] }] };

/** A press on a card in a thread. @returns its interaction token. */
async function press(stage: SlackStage, thread: string): Promise<string> {
  await stage.channel.send(stage.at({ thread }), card, 'o1');
  stage.fake.people.presses(alice, 'Deny…');
  await stage.until(() => stage.events.some(({ type }) => type === 'action'));
  return stage.events.find(({ type }) => type === 'action')?.interactionToken ?? '';
}

test('a form opens over a press and comes back with its token and conversation', async () => {
  await using stage = await SlackStage.open({ clock: standingClock() });
  const thread = stage.fake.people.says(room, alice, 'root');
  const token = await press(stage, thread);
  expect(await stage.channel.openForm(token, form)).toBe(true);
  stage.fake.people.submits(alice, { reason: 'too risky' });
  await stage.until(() => stage.events.some(({ type }) => type === 'form'));
  expect(stage.events.find(({ type }) => type === 'form')).toMatchObject({
    token: 'form-token',
    values: { reason: 'too risky' },
    conversation: stage.at({ thread }),
    actor: { externalId: alice },
  });
});

test('a form that comes too late is not opened, and says so', async () => {
  // In time for us, and too late for Slack.
  await using stage = await SlackStage.open({ clock: standingClock(), fake: { limits: { triggerMs: -1 } } });
  const token = await press(stage, stage.fake.people.says(room, alice, 'root'));
  expect(await stage.channel.openForm(token, form)).toBe(false);
  expect(stage.fake.callsOf('views.open').length).toBe(1);
});

test('one press opens one form', async () => {
  await using stage = await SlackStage.open({ clock: standingClock() });
  const token = await press(stage, stage.fake.people.says(room, alice, 'root'));
  expect(await stage.channel.openForm(token, form)).toBe(true);
  expect(await stage.channel.openForm(token, form)).toBe(false);
});

test('a press is acknowledged although nobody ever answers it', async () => {
  await using stage = await SlackStage.open();
  await press(stage, stage.fake.people.says(room, alice, 'root'));
  await stage.fake.waitFor(() => stage.fake.lastPush.ackedAt !== undefined);
});

test('opening the home page is an event, and what is shown there can be pressed', async () => {
  await using stage = await SlackStage.open();
  stage.fake.people.opensHome(alice);
  stage.fake.people.opensHome(alice, 'messages');
  await stage.until(() => stage.received.length === 2);
  expect(stage.events).toMatchObject([{ type: 'home', actor: { externalId: alice } }]);
  await stage.channel.showHome(alice, { parts: [{ type: 'markdown', markdown: '## Needs you' }, ...card.parts] });
  expect(stage.fake.world.homes.get(alice)?.view).toMatchObject({ type: 'home' });
  stage.fake.people.presses(alice, 'Deny…');
  await stage.until(() => stage.events.some(({ type }) => type === 'action'));
  const action = stage.events.find(({ type }) => type === 'action');
  expect(action).toMatchObject({ token: 'v1.deny', conversation: stage.at({ room: stage.fake.people.dm(alice) }) });
  expect(action?.messageId).toBeUndefined();
  await stage.channel.acknowledge(action?.interactionToken ?? '', { text: 'Too late.', isAlert: true });
  expect(stage.fake.said(stage.fake.people.dm(alice))).toMatchObject([{ text: 'Too late.', onlyFor: alice }]);
});

test('a home page that another process has changed is shown anew all the same', async () => {
  await using stage = await SlackStage.open();
  const page = (markdown: string): OutboundBody => ({ parts: [{ type: 'markdown', markdown }] });
  await stage.channel.showHome(alice, page('first'));
  const home = stage.fake.world.homes.get(alice);
  if (home !== undefined) home.hash = 'changed elsewhere';
  await stage.channel.showHome(alice, page('second'));
  expect(JSON.stringify(stage.fake.world.homes.get(alice)?.view)).toContain('second');
});

test('the bot’s comings and goings are told, other people’s are not', async () => {
  await using stage = await SlackStage.open();
  stage.fake.people.changes(room, 'archive', alice);
  stage.fake.people.changes(room, 'unarchive', alice);
  stage.fake.people.changes(room, 'remove', alice);
  stage.fake.people.changes(room, 'invite', alice);
  stage.fake.people.event({ type: 'member_joined_channel', user: alice, channel: room });
  await stage.until(() => stage.received.length === 5);
  const changes = stage.events.map((event) => (event.type === 'membership' ? event.change : event.type));
  expect(changes).toEqual(['archived', 'unarchived', 'left', 'joined']);
});
