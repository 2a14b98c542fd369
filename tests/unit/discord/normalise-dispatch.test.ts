import { expect, test } from 'vitest';
import { idAt, isAlive, packInteraction, timeOf, unpackInteraction } from '#bots/discord/interaction-ref.ts';
import { parseId, writeId } from '#bots/discord/message-id.ts';
import { normaliseDispatch } from '#bots/discord/normalise-dispatch.ts';
import { missingPrivileged } from '#bots/discord/privileged-intents.ts';

const me = '1088860213370363904';
const author = { id: '600000000000000001', username: 'ann', global_name: 'Ann' };
const place = { guild: '7', room: '8', kind: 'channel' };
const message = { id: '1500000000000000000', channel_id: '8', guild_id: '7', type: 0, content: 'hello', author };

const stored = (d: object, more: object = {}) => ({
  t: 'MESSAGE_CREATE',
  me,
  at: 1,
  place,
  d: { ...message, ...d },
  ...more,
});
const addressed = (d: object, more: object = {}): unknown =>
  Reflect.get(normaliseDispatch(stored(d, more))[0] ?? {}, 'addressed');

test('only a mention of the bot itself, a reply to it or a thread addresses it', () => {
  expect(addressed({ content: `<@!${me}> hi` })).toBe('mention');
  expect(addressed({ content: 'hi', mentions: [{ id: me }] })).toBe('none');
  expect(addressed({ referenced_message: { author: { id: me } }, message_reference: { message_id: '1' } })).toBe(
    'reply',
  );
  expect(addressed({ referenced_message: { author: { id: '5' } } })).toBe('none');
  expect(addressed({}, { place: { ...place, thread: '9' } })).toBe('thread');
  expect(addressed({ content: '@everyone <@&1088860213370363904>', mention_everyone: true })).toBe('none');
});

test('a forwarded message of the bot is not an answer to it', () => {
  const forwarded = {
    message_reference: { type: 1, message_id: '1' },
    referenced_message: { author: { id: me } },
    message_snapshots: [{ message: { content: 'old words' } }],
  };
  const [event] = normaliseDispatch(stored({ ...forwarded, content: '' }));
  expect(event).toMatchObject({ addressed: 'none', text: '> old words' });
  expect(event?.replyToId).toBeUndefined();
});

test('only the bot’s own mention at the start is taken out of the text', () => {
  expect(normaliseDispatch(stored({ content: `<@${me}>: ask <@600000000000000002> and <@${me}>` }))[0]).toMatchObject({
    text: `ask <@600000000000000002> and <@${me}>`,
  });
});

test('sub-commands come before the options in the text of a command', () => {
  const d = {
    id: '1500000000000000000',
    application_id: '5',
    token: 'tok',
    type: 2,
    channel: { id: '8', type: 0 },
    guild_id: '7',
    member: { user: author, roles: ['r'] },
    data: { name: 'a', type: 1, options: [{ name: 'b', type: 1, options: [{ name: 'n', type: 4, value: 3 }] }] },
  };
  expect(normaliseDispatch({ t: 'INTERACTION_CREATE', me, at: 1, d })[0]).toMatchObject({
    name: 'a',
    args: 'b 3',
    options: { n: '3' },
    interactionToken: 'c.5.1500000000000000000.tok',
  });
  expect(normaliseDispatch({ t: 'INTERACTION_CREATE', me, at: 1, d: { ...d, data: { name: 'a', type: 3 } } })).toEqual(
    [],
  );
});

test('forms are read in both shapes Discord has for them', () => {
  const d = {
    id: '1500000000000000000',
    application_id: '5',
    token: 'tok',
    type: 5,
    channel: { id: '8', type: 1 },
    user: author,
    data: {
      custom_id: 'v1.f',
      components: [
        { type: 18, component: { type: 4, custom_id: 'a', value: '1' } },
        { type: 1, components: [{ type: 4, custom_id: 'b', value: '2' }] },
        { type: 18, component: { type: 3, custom_id: 'c', values: ['x', 'y'] } },
        { type: 10, content: 'a text' },
      ],
    },
  };
  const event = normaliseDispatch({ t: 'INTERACTION_CREATE', me, at: 1, d })[0];
  expect(event).toMatchObject({
    type: 'form',
    values: { a: '1', b: '2', c: 'x, y' },
    conversation: { kind: 'dm', room: '8' },
  });
});

test('an interaction in a chat the bot is not part of comes from outside', () => {
  const base = { id: '1500000000000000000', application_id: '5', token: 't', type: 2, data: { name: 'a' } };
  const foreign = {
    ...base,
    guild_id: '7',
    channel: { id: '8', type: 0 },
    member: { user: author },
    authorizing_integration_owners: { 1: author.id },
  };
  expect(normaliseDispatch({ t: 'INTERACTION_CREATE', me, at: 1, d: foreign })[0]?.actor.isExternal).toBe(true);
  const group = {
    ...base,
    channel: { id: '8', type: 3 },
    user: author,
    context: 2,
    authorizing_integration_owners: { 1: author.id },
  };
  expect(normaliseDispatch({ t: 'INTERACTION_CREATE', me, at: 1, d: group })[0]).toMatchObject({
    actor: { isExternal: true },
    conversation: { kind: 'group' },
  });
});

test('what is no dispatch of ours gives nothing', () => {
  for (const raw of [
    undefined,
    null,
    1,
    'x',
    [],
    {},
    { t: 'MESSAGE_CREATE' },
    stored({ id: 'abc' }),
    stored({ author: { id: '1', bot: true } }),
  ]) {
    expect(normaliseDispatch(raw)).toEqual([]);
  }
});

test('ids carry their time, and interactions live a quarter of an hour', () => {
  const at = Date.parse('2026-11-21T12:00:00Z');
  expect(timeOf(idAt(at))).toBe(at);
  const ref = { kind: 'component', appId: '5', id: idAt(at), token: 'a.b-c_d' } as const;
  expect(unpackInteraction(packInteraction(ref))).toEqual(ref);
  expect(unpackInteraction('x.1.2.3')).toBeUndefined();
  expect(isAlive(ref, at + 14 * 60_000)).toBe(true);
  expect(isAlive(ref, at + 15 * 60_000)).toBe(false);
});

test('the id of a message is plain unless more has to be known of it', () => {
  const plain = { id: '1', isFile: false, isEphemeral: false, channelId: undefined };
  for (const sent of [plain, { ...plain, isFile: true, channelId: '9' }, { ...plain, isEphemeral: true }]) {
    expect(parseId(writeId(sent))).toEqual(sent);
  }
  expect(writeId(plain)).toBe('1');
});

test('the one intent that has to be switched on is named when it is not', () => {
  expect(missingPrivileged(0)).toEqual(['Message Content']);
  expect(missingPrivileged(1 << 18)).toEqual([]);
  expect(missingPrivileged(1 << 19)).toEqual([]);
});
