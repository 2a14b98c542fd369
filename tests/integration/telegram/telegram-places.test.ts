import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openTopicStore } from '#bots/telegram/topic-store.ts';
import type { OutboundBody } from '#core/outbox/outbound.ts';
import { openTestDatabase } from '../../support/database.ts';
import { group, markdown, person, TelegramStage } from '../../support/telegram-stage.ts';

describe('where a Telegram message appears', () => {
  let stage: TelegramStage;
  const texts = (chat: number) => stage.fake.said(chat).map((message) => message.text);

  beforeEach(async () => {
    stage = await TelegramStage.open();
  });
  afterEach(async () => {
    await stage[Symbol.asyncDispose]();
  });

  describe('topics', () => {
    it('a piece of work gets a topic of its own, and the same one when asked again', async () => {
      const title = `Sort ${'the pictures '.repeat(20)}`;
      const thread = await stage.channel.startThread(stage.team, { title, key: 'run:1' });
      expect(thread).toEqual({ ...stage.team, thread: expect.any(String) });
      expect(await stage.channel.startThread(stage.team, { title: 'other', key: 'run:1' })).toEqual(thread);
      const names = [...stage.fake.people.chat(group).topicNames.values()];
      expect(names.map((name) => name.slice(0, 17))).toEqual(['Sort the pictures']);
      await stage.channel.send(thread ?? stage.team, markdown('begun'), 'o1');
      expect(stage.fake.said(group)).toMatchObject([{ text: 'begun', threadId: Number(thread?.thread) }]);
    });

    it('topics are remembered over restarts', async () => {
      await using database = await openTestDatabase();
      await using other = await TelegramStage.open({ topics: (account) => openTopicStore(database.db, account) });
      const thread = await other.channel.startThread(other.team, { title: 'Work', key: 'run:1' });
      const again = openTopicStore(database.db, other.channel.account);
      expect(await again.find(other.team.room, 'run:1')).toBe(thread?.thread);
      expect([await again.noteLost('-1', '5'), await again.noteLost('-1', '5')]).toEqual([true, false]);
    });

    it('a private chat has topics when the bot was given them', async () => {
      expect(await stage.channel.startThread(stage.dm, { title: 'Work', key: 'a' })).toBeUndefined();
      await using other = await TelegramStage.open();
      other.fake.state.hasTopics = true;
      const thread = await other.channel.startThread(other.dm, { title: '', key: 'a' });
      await other.channel.send(thread ?? other.dm, markdown('hi'), 'o1');
      expect(other.fake.said(person)).toMatchObject([{ threadId: Number(thread?.thread) }]);
      await other.channel.draft(thread ?? other.dm, 7, 'more');
      expect(other.fake.drafts(person)).toMatchObject([{ threadId: Number(thread?.thread) }]);
    });

    it('a room without topics, or without the right to make them, works in its main stream', async () => {
      stage.fake.people.group(-300);
      const plain = { ...stage.team, room: '-300' };
      expect(await stage.channel.startThread(plain, { title: 'x', key: 'a' })).toBeUndefined();
      expect(await stage.channel.startThread(plain, { title: 'x', key: 'b' })).toBeUndefined();
      expect(stage.fake.callCounts.get('createForumTopic')).toBe(1);
      stage.fake.people.chat(group).canManageTopics = false;
      expect(await stage.channel.startThread(stage.team, { title: 'x', key: 'a' })).toBeUndefined();
    });

    it('the General topic is written to without its number', async () => {
      await stage.channel.send({ ...stage.team, thread: '1' }, markdown('hello'), 'o1');
      expect(stage.fake.said(group)).toMatchObject([{ text: 'hello', threadId: undefined }]);
    });

    it.each(['closed', 'deleted'] as const)(
      'a %s topic is left for the main stream, and its people are told once',
      async (how) => {
        const lost = { ...stage.team, thread: '45' };
        stage.fake.people.topic(group, 45, how === 'closed' ? 'closed' : 'open');
        const asked = stage.fake.people.says(group, person, { text: 'question', threadId: 45 });
        if (how === 'deleted') stage.fake.people.deletesTopic(group, 45);
        await stage.channel.send(lost, { ...markdown('first'), replyTo: String(asked) }, 'o1');
        const ref = await stage.channel.send(lost, markdown('second'), 'o2');
        await stage.channel.edit(lost, ref, markdown('second, changed'), 'o3');
        expect(texts(group)).toEqual([expect.stringMatching(/topic .* closed or deleted/), 'first', 'second, changed']);
        expect(stage.fake.said(group).map((message) => message.threadId)).toEqual([undefined, undefined, undefined]);
      },
    );
  });

  it('what can no longer be changed in a closed topic is said in the main stream', async () => {
    stage.fake.people.topic(group, 45);
    const lost = { ...stage.team, thread: '45' };
    const ref = await stage.channel.send(lost, markdown('so far'), 'o1');
    stage.fake.people.topic(group, 45, 'closed');
    stage.fake.faults.next('editMessageText', { kind: 'status', code: 400, description: 'Bad Request: TOPIC_CLOSED' });
    const edited = await stage.channel.edit(lost, ref, markdown('so far, and the end'), 'o2');
    expect(edited.ids).not.toEqual(ref.ids);
    expect(stage.fake.said(group).at(-1)).toMatchObject({ text: 'so far, and the end', threadId: undefined });
  });

  it('a chat that cannot be written to is not tried with every word of a preview', async () => {
    stage.fake.people.changesMembership(person, person, 'kicked');
    for (const text of ['one', 'one two', 'one two three']) await stage.channel.draft(stage.dm, 7, text);
    expect(stage.fake.callCounts.get('sendMessageDraft')).toBe(1);
  });

  it('a button keeps its topic when the card has to be shown outside of it', async () => {
    const lost = { ...stage.team, thread: '45' };
    stage.fake.people.topic(group, 45, 'closed');
    await stage.channel.send(
      lost,
      { parts: [{ type: 'buttons', rows: [[{ label: 'Go', token: 'v1.abcdefghijklmnopqrstuv.y' }]] }] },
      'o1',
    );
    const data = stage.fake.said(group).at(-1)?.buttons[0]?.data ?? '';
    stage.fake.people.presses(group, person, data);
    const update = stage.fake.updates.waiting(undefined).at(-1);
    const bot = { id: 700_001, username: 'switchyard_bot' };
    expect(stage.channel.normalise({ bot, receivedAt: 1, update })).toMatchObject([
      { type: 'action', token: 'v1.abcdefghijklmnopqrstuv.y', conversation: lost },
    ]);
  });

  describe('for one person', () => {
    const secret: OutboundBody = { ...markdown('only you may see this'), ephemeralTo: String(person) };

    it('a notice in a group is shown to that person alone, changed and taken away', async () => {
      const ref = await stage.channel.send(stage.team, { ...secret, interactionToken: 'query1' }, 'o1');
      const { ephemerals } = stage.fake.people.chat(group);
      expect([...ephemerals.values()]).toMatchObject(
        [{ receiver: person, queryId: 'query1', text: /only you/ }].map((message) => ({
          ...message,
          text: expect.stringMatching(message.text),
        })),
      );
      expect(stage.fake.said(group)).toEqual([]);
      const edited = await stage.channel.edit(stage.team, ref, { ...secret, ...markdown('changed') }, 'o2');
      expect(edited).toEqual(ref);
      expect([...ephemerals.values()]).toMatchObject([{ text: 'changed' }]);
      await stage.channel.delete(stage.team, ref);
      expect(ephemerals.size).toBe(0);
    });

    it('a notice that grows stays with that person, also when a try was interrupted', async () => {
      const long = `${'line\n'.repeat(1_200)}end`;
      const posted: string[] = [];
      const progress = { posted: [], onPosted: async (id: string) => void posted.push(id) };
      stage.fake.faults.next('sendMessage', { kind: 'delay', ms: 0 });
      stage.fake.faults.next('sendMessage', { kind: 'throttle', retryAfter: 1 });
      const body = { ...secret, ...markdown(long) };
      expect((await stage.failure(stage.channel.send(stage.team, body, 'o1', progress))).kind).toBe('throttled');
      const ref = await stage.channel.send(stage.team, body, 'o1', { ...progress, posted: [...posted] });
      expect(ref.ids).toHaveLength(2);
      expect(stage.fake.people.chat(group).ephemerals.size).toBe(2);
      expect(stage.fake.said(group)).toEqual([]);
    });

    it('an answer to a press that is too old is shown all the same', async () => {
      const description = 'Bad Request: query is too old and response timeout expired or query ID is invalid';
      stage.fake.faults.next('sendMessage', { kind: 'status', code: 400, description });
      await stage.channel.send(stage.team, { ...secret, interactionToken: 'query1' }, 'o1');
      expect([...stage.fake.people.chat(group).ephemerals.values()]).toMatchObject([{ queryId: undefined }]);
      expect(texts(person)).toEqual([]);
    });

    it('where the server does not know such messages it goes to the private chat, and none stays visible', async () => {
      stage.fake.state.knowsEphemeral = false;
      const ref = await stage.channel.send(stage.team, secret, 'o1');
      expect(texts(group)).toEqual([]);
      expect(texts(person)).toEqual(['only you may see this']);
      await stage.channel.edit(stage.team, ref, { ...secret, ...markdown('changed') }, 'o2');
      expect(texts(person)).toEqual(['changed']);
      await stage.channel.send(stage.team, secret, 'o3');
      expect(stage.fake.callsOf('sendMessage').filter(({ params }) => params['chat_id'] === group).length).toBe(1);
    });

    it('who cannot be written to in private is answered where they asked', async () => {
      stage.fake.state.knowsEphemeral = false;
      stage.fake.people.changesMembership(person, person, 'kicked');
      await stage.channel.send(stage.team, secret, 'o1');
      expect(texts(group)).toEqual(['only you may see this']);
    });

    it('in a private chat it is a message like any other', async () => {
      await stage.channel.send(stage.dm, secret, 'o1');
      expect(texts(person)).toEqual(['only you may see this']);
    });
  });

  describe('reactions', () => {
    it('show how far the work is, one at a time, and can be taken away', async () => {
      const asked = String(stage.fake.people.says(group, person, 'do it'));
      for (const sign of ['seen', 'working', 'done', 'failed', undefined] as const) {
        await stage.channel.react(stage.team, asked, sign);
      }
      expect(stage.fake.state.reactions.map(({ emoji }) => emoji)).toEqual([['👀'], ['👨‍💻'], ['👍'], ['👎'], []]);
      expect(stage.channel.capabilities(stage.team).reactions).toBe(true);
    });

    it('a chat that does not allow them is left alone', async () => {
      stage.fake.people.chat(group).allowsReactions = false;
      const asked = String(stage.fake.people.says(group, person, 'do it'));
      await stage.channel.react(stage.team, asked, 'seen');
      await stage.channel.react(stage.team, asked, 'working');
      await stage.channel.react(stage.team, 'file:1', 'seen');
      expect(stage.fake.callCounts.get('setMessageReaction')).toBe(1);
    });
  });

  describe('attention', () => {
    it('only who is listed is pinged, by links and by urgent messages', async () => {
      const words = '[Ada](tg://user?id=501) [Eve](tg://user?id=666) @person501';
      await stage.channel.send(stage.team, { ...markdown(words), mentions: ['501'] }, 'o1');
      await stage.channel.send(stage.team, { ...markdown('Now!'), mentions: ['501'], priority: 'urgent' }, 'o2');
      await stage.channel.send(stage.team, markdown('[Ada](tg://user?id=501)'), 'o3');
      const mentioned = stage.fake
        .said(group)
        .map((message) =>
          message.entities.flatMap((entity) => (entity.type === 'text_mention' ? [entity.user?.id] : [])),
        );
      expect(mentioned).toEqual([[501], [501], []]);
      expect(texts(group)[1]).toBe('🚨 🔔 Now!');
      expect(stage.fake.said(group).flatMap((message) => message.pings)).toEqual([]);
    });

    it('what is of low priority makes no sound', async () => {
      await stage.channel.send(stage.team, { ...markdown('fyi'), priority: 'low' }, 'o1');
      await stage.channel.send(stage.team, { ...markdown('look'), priority: 'high' }, 'o2');
      expect(stage.fake.said(group)).toMatchObject([
        { text: 'fyi', isSilent: true },
        { text: '❗ look', isSilent: false },
      ]);
    });

    it('every level of a notice has a look of its own', async () => {
      const levels = ['info', 'warn', 'error', 'success', 'status', 'question', 'announcement'] as const;
      for (const level of levels) {
        await stage.channel.send(stage.dm, { parts: [{ type: 'notice', level, markdown: 'x' }] }, level);
      }
      expect(new Set(texts(person)).size).toBe(levels.length);
    });

    it('a question opens a reply, with buttons beside it or not', async () => {
      await stage.channel.send(stage.team, { ...markdown('Why?'), asksReply: true }, 'o1');
      const buttons: OutboundBody['parts'][number] = { type: 'buttons', rows: [[{ label: 'Skip', token: 't' }]] };
      const ref = await stage.channel.send(
        stage.team,
        { parts: [{ type: 'markdown', markdown: 'Which?' }, buttons], asksReply: true },
        'o2',
      );
      expect(stage.fake.said(group).map((message) => message.asksReply)).toEqual([true, true]);
      await stage.channel.edit(stage.team, ref, { ...markdown('Answered.'), asksReply: true }, 'o3');
      expect(texts(group)[1]).toBe('Answered.');
    });
  });
});
