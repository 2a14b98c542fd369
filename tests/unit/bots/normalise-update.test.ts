import { describe, expect, it } from 'vitest';
import { normaliseUpdate } from '#bots/telegram/normalise-update.ts';
import { dedupKeyOf } from '#bots/telegram/update-schema.ts';

const bot = { id: 700, username: 'switchyard_bot' };
const person = { id: 5, is_bot: false, first_name: 'Ada', last_name: 'L', username: 'ada' };
const dm = { id: 5, type: 'private', first_name: 'Ada' };
const group = { id: -100, type: 'supergroup', title: 'Team' };
const forum = { ...group, is_forum: true };

const read = (update: Record<string, unknown>) =>
  normaliseUpdate({ bot, receivedAt: 1_700_000_000_000, update: { update_id: 1, ...update } });
const message = (fields: Record<string, unknown>) =>
  read({ message: { message_id: 9, date: 1_700_000_000, chat: dm, from: person, ...fields } });
const mention = { type: 'mention', offset: 0, length: 15 };
const command = (length: number, offset = 0) => ({ type: 'bot_command', offset, length });

describe('Telegram update to neutral event', () => {
  it('a private message says who, where, when and what', () => {
    expect(message({ text: 'hi' })).toEqual([
      {
        type: 'message',
        conversation: { channel: 'telegram', account: '700', room: '5', kind: 'dm' },
        actor: { externalId: '5', displayName: 'Ada L', isBot: false, isAnonymous: false },
        occurredAt: new Date(1_700_000_000_000),
        messageId: '9',
        text: 'hi',
        addressed: 'dm',
        files: [],
      },
    ]);
  });

  it('a mention addresses us and is taken off the front only', () => {
    const text = '@Switchyard_Bot, ask @switchyard_bot again';
    const [event] = message({ chat: group, text, entities: [mention, { type: 'mention', offset: 21, length: 15 }] });
    expect(event).toMatchObject({ addressed: 'mention', text: 'ask @switchyard_bot again' });
  });

  it('group talk that does not name us is not for us', () => {
    expect(message({ chat: group, text: 'hello all' })).toMatchObject([{ addressed: 'none' }]);
    expect(message({ chat: group, text: '@everyone hi', entities: [{ ...mention, length: 9 }] })).toMatchObject([
      { addressed: 'none' },
    ]);
    expect(message({ chat: group, text: 'mail switchyard_bot' })).toMatchObject([{ addressed: 'none' }]);
  });

  it('a reply to us addresses us, the implicit reply of a topic does not', () => {
    const reply = { message_id: 1, from: { id: 700, is_bot: true } };
    expect(message({ chat: group, text: 'x', reply_to_message: reply })).toMatchObject([{ addressed: 'reply' }]);
    const implicit = { ...reply, forum_topic_created: { name: 'Topic' } };
    const topic = { is_topic_message: true, message_thread_id: 44 };
    expect(message({ chat: forum, text: 'x', reply_to_message: implicit, ...topic })).toMatchObject([
      { addressed: 'none', conversation: { thread: '44' } },
    ]);
  });

  it('a text mention by id addresses us', () => {
    const entities = [{ type: 'text_mention', offset: 0, length: 4, user: { id: 700, is_bot: true } }];
    expect(message({ chat: group, text: 'Yard do it', entities })).toMatchObject([
      { addressed: 'mention', text: 'do it' },
    ]);
  });

  it('reply chains and the General topic are not threads of their own', () => {
    expect(message({ chat: group, text: 'x', message_thread_id: 44 })[0]?.conversation.thread).toBeUndefined();
    const general = { message_thread_id: 1, is_topic_message: true };
    expect(message({ chat: forum, text: 'x', ...general })[0]?.conversation.thread).toBeUndefined();
  });

  it.each([
    ['/run', 'run', ''],
    ['/run a | b', 'run', 'a | b'],
    ['/Run@Switchyard_Bot  a\nb ', 'run', 'a\nb'],
  ])('%j is the command %s with arguments %j', (text, name, args) => {
    const entities = [command(text.split(/\s/)[0]?.length ?? 0)];
    for (const chat of [dm, group])
      expect(message({ chat, text, entities })).toMatchObject([{ type: 'command', name, args }]);
  });

  it('a command to another bot is ignored', () => {
    expect(message({ chat: group, text: '/run@other_bot x', entities: [command(14)] })).toEqual([]);
  });

  it('a command in a caption and one after our name are commands', () => {
    const captioned = { caption: '/run@switchyard_bot it', caption_entities: [command(19)], media_group_id: 'g' };
    expect(message({ ...captioned, photo: [{ file_id: 'p' }] })).toMatchObject([
      { type: 'command', name: 'run', args: 'it', files: [{ fetchKey: 'p' }], albumId: 'g' },
    ]);
    const text = '@switchyard_bot /run it';
    expect(message({ chat: group, text, entities: [mention, command(4, 16)] })).toMatchObject([
      { type: 'command', name: 'run', args: 'it' },
    ]);
  });

  it('a command in the middle of a text is text', () => {
    expect(message({ text: 'use /run here', entities: [command(4, 4)] })).toMatchObject([{ type: 'message' }]);
  });

  it('code and links come back as Markdown', () => {
    const text = 'see x = `1`\nand docs: ls -la';
    const entities = [
      { type: 'pre', offset: 4, length: 7, language: 'py' },
      { type: 'text_link', offset: 16, length: 4, url: 'http://d.e' },
      { type: 'code', offset: 22, length: 6 },
    ];
    expect(message({ text, entities })).toMatchObject([
      { text: 'see ```py\nx = `1`\n```\nand [docs](http://d.e): `ls -la`' },
    ]);
  });

  it('files come with a key that is not an address', () => {
    const [event] = message({ caption: 'look', photo: [{ file_id: 'small' }, { file_id: 'large', file_size: 9 }] });
    expect(event).toMatchObject({ text: 'look', files: [{ name: 'photo.jpg', fetchKey: 'large', bytes: 9 }] });
    const animation = { file_id: 'a', mime_type: 'video/mp4' };
    expect(message({ animation, document: animation })[0]).toMatchObject({ files: [{ fetchKey: 'a' }] });
  });

  it.each([
    ['voice', { file_id: 'v', mime_type: 'audio/ogg' }, { name: 'voice.ogg', mime: 'audio/ogg' }],
    ['video_note', { file_id: 'v' }, { name: 'video.mp4', mime: 'video/mp4' }],
    ['audio', { file_id: 'v', file_name: 'song.mp3' }, { name: 'song.mp3' }],
    ['document', { file_id: 'v', file_name: '../../etc/pass\u202ewd' }, { name: 'passwd' }],
    ['document', { file_id: 'v', file_name: '...' }, { name: 'document' }],
    ['document', { file_id: 'v', file_name: `${'x'.repeat(300)}.tar` }, { name: `${'x'.repeat(76)}.tar` }],
  ])('a %s comes with a name that is only a name', (kind, file, expected) => {
    expect(message({ [kind]: file })).toMatchObject([{ type: 'message', files: [{ fetchKey: 'v', ...expected }] }]);
  });

  it('a real reply names what it answers, the implicit one of a topic names nothing', () => {
    expect(message({ text: 'x', reply_to_message: { message_id: 3 } })).toMatchObject([{ replyToId: '3' }]);
    const implicit = { message_id: 3, forum_topic_created: {} };
    expect(message({ text: 'x', reply_to_message: implicit })[0]?.replyToId).toBeUndefined();
  });

  it('a topic of a private chat is a thread of its own, whatever its number', () => {
    const topic = { is_topic_message: true, message_thread_id: 1 };
    expect(message({ text: 'x', ...topic })[0]?.conversation).toMatchObject({ thread: '1', kind: 'dm' });
  });

  it('messages of business chats and guest calls are not ours to answer', () => {
    expect(message({ text: 'x', business_connection_id: 'b' })).toEqual([]);
    expect(message({ text: 'x', guest_query_id: 'g' })).toEqual([]);
  });

  it('whoever writes in the name of a chat has no identity, even with an author beside it', () => {
    expect(message({ chat: group, text: 'x', sender_chat: { id: -5, title: 'Other' } })).toMatchObject([
      { actor: { externalId: 'chat:-5', isAnonymous: true } },
    ]);
    expect(read({ channel_post: { message_id: 1, chat: { id: -5, type: 'channel' }, text: 'x' } })).toEqual([]);
  });

  it('a deep link brings its payload as the argument of start', () => {
    expect(message({ text: '/start ABCD-2345', entities: [command(6)] })).toMatchObject([
      { type: 'command', name: 'start', args: 'ABCD-2345' },
    ]);
  });

  it.each([
    [[], ['👍'], { emoji: '👍', isAdded: true }],
    [['👍'], [], { emoji: '👍', isAdded: false }],
    [['👍'], ['🔥'], { emoji: '🔥', isAdded: true }],
  ])('a reaction from %j to %j reads as one change', (before, after, expected) => {
    const toTypes = (all: readonly string[]) => all.map((emoji) => ({ type: 'emoji', emoji }));
    const change = { old_reaction: toTypes(before), new_reaction: toTypes(after) };
    expect(read({ message_reaction: { chat: dm, message_id: 3, date: 1, user: person, ...change } })).toMatchObject([
      { type: 'reaction', messageId: '3', ...expected },
    ]);
  });

  it('anonymous reactions, reactions of bots and custom ones are nothing', () => {
    const change = {
      chat: group,
      message_id: 3,
      date: 1,
      old_reaction: [],
      new_reaction: [{ type: 'emoji', emoji: '👍' }],
    };
    expect(read({ message_reaction: change })).toEqual([]);
    expect(read({ message_reaction: { ...change, user: { ...person, is_bot: true } } })).toEqual([]);
    expect(read({ message_reaction: { ...change, user: person, new_reaction: [{ type: 'custom_emoji' }] } })).toEqual(
      [],
    );
  });

  it('only web hook deliveries are counted: polled ones are in order', () => {
    const update = { update_id: 41, message: { message_id: 9, date: 1, chat: dm, from: person, text: 'x' } };
    expect(normaliseUpdate({ bot, receivedAt: 1, via: 'webhook', update })).toMatchObject([{ sequence: 41 }]);
    expect(normaliseUpdate({ bot, receivedAt: 1, update })[0]?.sequence).toBeUndefined();
  });

  it('bots, automatic forwards and service messages are ignored', () => {
    expect(message({ text: 'x', from: { ...person, is_bot: true } })).toEqual([]);
    expect(message({ text: 'x', is_automatic_forward: true })).toEqual([]);
    expect(message({ new_chat_title: 'x' })).toEqual([]);
    expect(message({ text: 'x', from: { id: 777_000, is_bot: false } })).toEqual([]);
  });

  it('an anonymous admin has no identity', () => {
    const anonymous = { from: { id: 1_087_968_824, is_bot: true }, sender_chat: { id: -100, title: 'Team' } };
    expect(message({ chat: group, text: 'approve', ...anonymous })).toMatchObject([
      { actor: { externalId: 'chat:-100', isAnonymous: true } },
    ]);
  });

  it('an edit carries the new text and the old id', () => {
    const edited = { message_id: 9, date: 1, edit_date: 1_700_000_060, chat: dm, from: person, text: 'new' };
    expect(read({ edited_message: edited })).toMatchObject([
      { type: 'edit', text: 'new', messageId: '9', occurredAt: new Date(1_700_000_060_000) },
    ]);
  });

  it('a press carries the token and the chat it was made in, even when the message is out of reach', () => {
    const query = { id: 'q', from: person, data: 'v1.t.y', message: { chat: group, message_id: 3, date: 0 } };
    expect(read({ callback_query: query })).toMatchObject([
      { type: 'action', token: 'v1.t.y', interactionToken: 'q', messageId: '3', conversation: { room: '-100' } },
    ]);
    expect(read({ callback_query: { ...query, message: undefined } })).toEqual([]);
    expect(read({ callback_query: { ...query, data: undefined } })).toEqual([]);
  });

  it('a press belongs to the topic its button names, in the room it was made in', () => {
    const message = { chat: forum, message_id: 3, date: 0 };
    expect(read({ callback_query: { id: 'q', from: person, data: 'v1.t.y~45', message } })).toMatchObject([
      { type: 'action', token: 'v1.t.y', conversation: { room: '-100', thread: '45' } },
    ]);
  });

  it('the Stop button names the draft', () => {
    expect(read({ stopped_message_generation: { chat: dm, draft_id: 77, message_thread_id: 4 } })).toMatchObject([
      { type: 'stop', draftId: 77, conversation: { room: '5', thread: '4' }, actor: { externalId: '5' } },
    ]);
  });

  it.each([
    [dm, 'member', 'kicked', 'blocked'],
    [dm, 'kicked', 'member', 'unblocked'],
    [group, 'left', 'administrator', 'joined'],
    [group, 'member', 'kicked', 'left'],
  ])('membership in %j from %s to %s reads as %s', (chat, before, after, change) => {
    const my_chat_member = {
      chat,
      from: person,
      date: 1,
      old_chat_member: { status: before },
      new_chat_member: { status: after },
    };
    expect(read({ my_chat_member })).toMatchObject([{ type: 'membership', change }]);
  });

  it('a promotion is not a membership change', () => {
    const my_chat_member = {
      chat: group,
      from: person,
      date: 1,
      old_chat_member: { status: 'member' },
      new_chat_member: { status: 'administrator' },
    };
    expect(read({ my_chat_member })).toEqual([]);
  });

  it('both announcements of a group that became a supergroup say the same under one key', () => {
    const moved = { type: 'membership', change: 'migrated', newRoom: '-200', conversation: { room: '-100' } };
    expect(message({ chat: { ...group, type: 'group' }, migrate_to_chat_id: -200 })).toMatchObject([moved]);
    expect(message({ chat: { ...group, id: -200 }, migrate_from_chat_id: -100 })).toMatchObject([moved]);
    const keys = [
      { update_id: 1, message: { chat: { id: -100 }, migrate_to_chat_id: -200 } },
      { update_id: 2, message: { chat: { id: -200 }, migrate_from_chat_id: -100 } },
      { update_id: 3, message: { chat: { id: -200 } } },
    ].map(dedupKeyOf);
    expect(keys).toEqual(['migration:-100:-200', 'migration:-100:-200', '3']);
  });

  it('unknown updates and broken ones are nothing', () => {
    expect(read({ poll: { id: '1' } })).toEqual([]);
    expect(read({ message: { message_id: 'nine' } })).toEqual([]);
    expect(normaliseUpdate({ update_id: 1, message: {} })).toEqual([]);
    expect(normaliseUpdate(null)).toEqual([]);
  });
});
