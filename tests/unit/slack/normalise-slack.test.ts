import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { summarise } from '#bots/slack/dedup-key.ts';
import { formCallbackId } from '#bots/slack/form-view.ts';
import { normaliseSlack } from '#bots/slack/normalise-slack.ts';
import type { InboundEvent } from '#core/inbox/inbound.ts';

const bot = { teamId: 'T1', userId: 'U0BOT' };

function stored(body: unknown, rest: Record<string, unknown> = {}): unknown {
  return { bot, account: 'acc', hasDmThreads: true, receivedAt: 1_700_000_000_000, body, ...rest };
}

function callback(event: Record<string, unknown>, rest: Record<string, unknown> = {}): Record<string, unknown> {
  return { type: 'event_callback', team_id: 'T1', api_app_id: 'A1', event_id: 'Ev1', event, ...rest };
}

function message(rest: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    type: 'message',
    channel: 'C1',
    channel_type: 'channel',
    user: 'U1',
    team: 'T1',
    text: 'hello',
    ts: '1700000001.000200',
    event_ts: '1700000001.000200',
    ...rest,
  };
}

function one(event: Record<string, unknown>, rest: Record<string, unknown> = {}): InboundEvent | undefined {
  const events = normaliseSlack(stored(callback(event), rest));
  expect(events.length).toBeLessThanOrEqual(1);
  return events[0];
}

describe('who is meant', () => {
  test.each([
    ['a direct message', { channel: 'D1', channel_type: 'im' }, 'dm'],
    ['a mention', { text: '<@U0BOT> hi' }, 'mention'],
    ['a mention in the middle', { text: 'hey <@U0BOT|switchyard> hi' }, 'mention'],
    ['chatter in a channel', {}, 'none'],
    ['@channel', { text: '<!channel> hi' }, 'none'],
    ['another person', { text: '<@U2> hi' }, 'none'],
    ['a reply in a thread', { thread_ts: '1700000000.000100', parent_user_id: 'U2' }, 'thread'],
    ['a reply below a message of the bot', { thread_ts: '1700000000.000100', parent_user_id: 'U0BOT' }, 'reply'],
    ['a mention in a direct message', { channel: 'D1', channel_type: 'im', text: '<@U0BOT> status' }, 'mention'],
  ])('%s', (_what, rest, addressed) => {
    expect(one(message(rest))).toMatchObject({ type: 'message', addressed });
  });

  test('only the bot’s own name is taken out', () => {
    expect(one(message({ text: '<@U0BOT>, ask <@U2> please' }))).toMatchObject({ text: 'ask <@U2> please' });
    expect(one(message({ text: 'ask <@U0BOT> please' }))).toMatchObject({ text: 'ask please' });
  });
});

describe('who is not listened to', () => {
  test.each([
    ['the bot itself', { user: 'U0BOT' }],
    ['the bot by its id', { bot_id: 'B0' }],
    ['another bot without a subtype', { bot_id: 'B7', user: 'U7' }],
    ['our own app', { app_id: 'A1' }],
    ['a bot message', { subtype: 'bot_message' }],
    ['a join', { subtype: 'channel_join' }],
    ['a topic change', { subtype: 'channel_topic' }],
    ['Slackbot', { user: 'USLACKBOT' }],
    ['nobody', { user: undefined }],
    ['an empty message', { text: '  ' }],
  ])('%s', (_what, rest) => {
    expect(one(message({ text: '<@U0BOT> hi', ...rest }))).toBeUndefined();
  });
});

describe('where it was said', () => {
  test('a message in a channel is the root of its thread', () => {
    expect(one(message())?.conversation).toEqual({
      channel: 'slack',
      account: 'acc',
      space: 'T1',
      room: 'C1',
      thread: '1700000001.000200',
      kind: 'channel',
    });
  });

  test('a reply is in its thread, also when it is shown in the channel', () => {
    const reply = { thread_ts: '1700000000.000100', subtype: 'thread_broadcast' };
    expect(one(message(reply))?.conversation.thread).toBe('1700000000.000100');
  });

  test('direct messages are threads of their own, or one stream', () => {
    const dm = message({ channel: 'D1', channel_type: 'im' });
    expect(one(dm)?.conversation).toMatchObject({ kind: 'dm', thread: '1700000001.000200' });
    expect(one(dm, { hasDmThreads: false })?.conversation.thread).toBeUndefined();
    const reply = { ...dm, thread_ts: '1700000000.000100' };
    expect(one(reply, { hasDmThreads: false })?.conversation.thread).toBe('1700000000.000100');
  });

  test('messages of several people are a group', () => {
    expect(one(message({ channel: 'G1', channel_type: 'mpim' }))?.conversation.kind).toBe('group');
  });

  test('its time and its place in the order are Slack’s own', () => {
    const event = one(message());
    expect(event?.occurredAt.toISOString()).toBe('2023-11-14T22:13:21.000Z');
    expect(event?.sequence).toBe(1_700_000_001_000_200);
  });
});

test('someone of another workspace is external', () => {
  expect(one(message({ user_team: 'T2' }))?.actor).toMatchObject({ isExternal: true });
  expect(one(message({ user_team: 'T1' }))?.actor.isExternal).toBeUndefined();
});

test('a press from another workspace is external', () => {
  const [event] = normaliseSlack(stored(press({ user: { id: 'U9', team_id: 'T2', name: 'eve' } })));
  expect(event).toMatchObject({ type: 'action', actor: { externalId: 'U9', isExternal: true } });
  const [bare] = normaliseSlack(stored(press({ user: { id: 'U9', name: 'eve' }, team: { id: 'T2' } })));
  expect(bare).toMatchObject({ type: 'action', actor: { externalId: 'U9', isExternal: true } });
});

test('names and user groups are those known when the event was stored', () => {
  expect(one(message(), { name: 'Alice', roles: ['S1'] })?.actor).toMatchObject({
    displayName: 'Alice',
    roles: ['S1'],
  });
});

test.each([
  ['a link', '<https://a.example/x?a=1&amp;b=2|the page>', '[the page](https://a.example/x?a=1&b=2)'],
  ['a bare link', '<https://a.example>', 'https://a.example'],
  ['a link that shows itself', '<http://a.example|a.example>', 'http://a.example'],
  ['a mail address', '<mailto:a@b.example|a@b.example>', 'a@b.example'],
  ['a channel', 'see <#C1|general>', 'see #general'],
  ['a group', '<!subteam^S1|@ops> look', '@ops look'],
  ['everyone', '<!here> look', '@here look'],
  ['a date', '<!date^1392734382^{date}|Feb 18>', 'Feb 18'],
  ['escapes', 'a &lt; b &amp;&amp; c &gt; d', 'a < b && c > d'],
  ['code', '```if (a &lt; b)```', '```if (a < b)```'],
])('%s is written out for the agent', (_what, text, expected) => {
  expect(one(message({ text }))).toMatchObject({ text: expected });
});

test('a slash that reaches the bot as a private message is a command, in a channel it is not', () => {
  expect(one(message({ channel: 'D1', channel_type: 'im', text: '/start ABCD-EFGH' }))).toMatchObject({
    type: 'command',
    name: 'start',
    args: 'ABCD-EFGH',
  });
  expect(one(message({ text: '/etc/passwd is a file' }))).toMatchObject({ type: 'message' });
});

test('files come with their message and without any address', () => {
  const file = {
    id: 'F1',
    name: 'a.pdf',
    mimetype: 'application/pdf',
    size: 5,
    url_private: 'https://files.slack.com/x',
  };
  const event = one(message({ subtype: 'file_share', text: '', files: [file, { id: 'F2', mode: 'tombstone' }] }));
  expect(event).toMatchObject({ files: [{ name: 'a.pdf', mime: 'application/pdf', bytes: 5, fetchKey: 'F1' }] });
  expect(JSON.stringify(event)).not.toContain('files.slack.com');
});

describe('changes of a message', () => {
  const changed = (rest: Record<string, unknown>) =>
    message({ user: undefined, text: undefined, subtype: 'message_changed', ts: '1700000009.000100', ...rest });
  const before = { ts: '1700000001.000200', user: 'U1', text: 'helo' };

  test('an edit says what it says now, in the thread of the message', () => {
    expect(one(changed({ message: { ...before, text: '<@U0BOT> hello' }, previous_message: before }))).toMatchObject({
      type: 'edit',
      text: 'hello',
      messageId: '1700000001.000200',
      conversation: { thread: '1700000001.000200' },
    });
  });

  test('a link preview is not an edit', () => {
    expect(one(changed({ message: before, previous_message: before }))).toBeUndefined();
  });

  test('the bot’s own edits are nobody’s', () => {
    expect(one(changed({ message: { ...before, bot_id: 'B0', text: 'x' }, previous_message: before }))).toBeUndefined();
  });

  test('a deletion names the message', () => {
    const event = message({
      user: undefined,
      subtype: 'message_deleted',
      deleted_ts: before.ts,
      previous_message: before,
    });
    expect(one(event)).toMatchObject({ type: 'delete', messageId: before.ts, actor: { externalId: 'U1' } });
  });

  test('the deleted root of a thread is a deletion, too', () => {
    const event = changed({ message: { ...before, subtype: 'tombstone' }, previous_message: before });
    expect(one(event)).toMatchObject({ type: 'delete', messageId: before.ts });
  });
});

const command = {
  command: '/Run',
  text: 'the &lt;tests&gt;',
  team_id: 'T1',
  user_id: 'U1',
  user_name: 'alice',
  channel_id: 'C1',
  channel_name: 'general',
  trigger_id: 'trig',
  response_url: 'https://hooks.slack.com/commands/x',
};

test('a slash command comes from the main stream of its channel', () => {
  const [event] = normaliseSlack(stored(command));
  expect(event).toMatchObject({ type: 'command', name: 'run', args: 'the <tests>', actor: { displayName: 'alice' } });
  expect(event?.conversation).toEqual({ channel: 'slack', account: 'acc', space: 'T1', room: 'C1', kind: 'channel' });
});

test('a command Slack keeps for itself comes under its other name', () => {
  expect(normaliseSlack(stored({ ...command, command: '/bot-status' }))[0]).toMatchObject({ name: 'status' });
});

function press(rest: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    type: 'block_actions',
    user: { id: 'U1', name: 'alice', team_id: 'T1' },
    trigger_id: 'trig',
    channel: { id: 'C1', name: 'general' },
    container: { type: 'message', message_ts: '1700000002.000100', thread_ts: '1700000001.000200' },
    message: { ts: '1700000002.000100', thread_ts: '1700000001.000200' },
    actions: [{ action_id: 'a', value: 'v1.token', action_ts: '1700000003.000100' }],
    ...rest,
  };
}

test('a press belongs to the thread of its message', () => {
  expect(normaliseSlack(stored(press()))[0]).toMatchObject({
    type: 'action',
    token: 'v1.token',
    messageId: '1700000002.000100',
    conversation: { room: 'C1', thread: '1700000001.000200' },
  });
});

test('a press on a message that has become the root of a thread belongs to the channel', () => {
  const root = { ts: '1700000002.000100', thread_ts: '1700000002.000100' };
  expect(normaliseSlack(stored(press({ message: root })))[0]?.conversation.thread).toBeUndefined();
});

test('a press on an ephemeral message, which Slack sends without it, has its place all the same', () => {
  expect(normaliseSlack(stored(press({ message: undefined })))[0]).toMatchObject({
    conversation: { thread: '1700000001.000200' },
  });
});

test('a link that was followed is no event', () => {
  expect(normaliseSlack(stored(press({ actions: [{ action_id: 'a', action_ts: '1.1' }] })))).toEqual([]);
});

test('a form from another workspace is external', () => {
  const metadata = JSON.stringify({ room: 'C1', kind: 'channel', token: 'form.1' });
  const view = { id: 'V1', hash: 'h', callback_id: formCallbackId, private_metadata: metadata, state: { values: {} } };
  const form = { type: 'view_submission', user: { id: 'U9' }, view };
  expect(normaliseSlack(stored({ ...form, team: { id: 'T2' } }))).toMatchObject([{ actor: { isExternal: true } }]);
  expect(normaliseSlack(stored({ ...form, team: { id: 'T1' } }))[0]?.actor.isExternal).toBeUndefined();
});

test('forms of other makers are no events', () => {
  const view = { id: 'V1', hash: 'h', callback_id: 'someone_elses', private_metadata: '{}', state: { values: {} } };
  expect(normaliseSlack(stored({ type: 'view_submission', user: { id: 'U1' }, view }))).toEqual([]);
});

describe('keys', () => {
  test('the two events of one message share a key', () => {
    const mention = callback({ ...message(), type: 'app_mention' }, { event_id: 'Ev1' });
    const said = callback(message(), { event_id: 'Ev2' });
    expect(summarise(mention)?.dedupKey).toBe(summarise(said)?.dedupKey);
  });

  test('a change of a message does not share it', () => {
    const changed = callback(message({ subtype: 'message_changed' }), { event_id: 'Ev3' });
    expect(summarise(changed)?.dedupKey).toBe('event:Ev3');
  });

  test('commands, presses and forms have keys of their own', () => {
    const view = { id: 'V1', hash: 'h1', callback_id: 'c', state: { values: {} } };
    expect(summarise(command)?.dedupKey).toBe('command:trig');
    expect(summarise(press())?.dedupKey).toBe('action:1700000003.000100:a:U1');
    expect(summarise({ type: 'view_submission', user: { id: 'U1' }, view })?.dedupKey).toBe('view:V1:h1');
  });

  test('what we have no use for has none', () => {
    expect(summarise({ type: 'view_closed' })).toBeUndefined();
    expect(summarise(undefined)).toBeUndefined();
  });
});

test('junk inside a real envelope throws nothing', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.anything()), (event) => {
      normaliseSlack(stored(callback({ ...event, type: 'message' })));
      summarise(callback(event));
    }),
    { numRuns: 300 },
  );
});
