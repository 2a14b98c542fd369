import { expect, test } from 'vitest';
import { isAppError } from '#core/kit/errors.ts';
import type { OutboundBody } from '#core/outbox/outbound.ts';
import { alice, bob, room, SlackStage } from './slack-stage.ts';

const say = (markdown: string, rest: Omit<OutboundBody, 'parts'> = {}): OutboundBody => ({
  parts: [{ type: 'markdown', markdown }],
  ...rest,
});

/** A thread in the room. */
function threadIn(stage: SlackStage): string {
  return stage.fake.people.says(room, alice, 'a root');
}

test('an answer goes into its thread, links unfurl nothing and names link nobody', async () => {
  await using stage = await SlackStage.open();
  const thread = threadIn(stage);
  await stage.channel.send(stage.at({ thread }), say('see https://example.com'), 'o1');
  expect(stage.fake.said(room)).toMatchObject([
    {
      threadTs: thread,
      options: { unfurl_links: 'false', unfurl_media: 'false', parse: 'none', link_names: 'false' },
      metadata: { event_type: 'switchyard_message', event_payload: { outbox_id: 'o1', part: 0 } },
    },
  ]);
});

test('mentions in an answer ring for nobody but those who are meant', async () => {
  await using stage = await SlackStage.open();
  const text = `<!channel> <!here> <@${bob}> <@${alice}> <!subteam^S0OPS> @everyone <#C100ROOM> \`<!everyone>\``;
  await stage.channel.send(stage.at(), say(text, { mentions: [alice] }), 'o1');
  const [message] = stage.fake.said(room);
  const live = [...JSON.stringify(message?.blocks).matchAll(/<[!@#][A-Za-z0-9]+|@(?:here|channel|everyone)/g)].map(
    ([m]) => m,
  );
  expect(live).toEqual([`<@${alice}`]);
  const fallback = String(stage.fake.callsOf('chat.postMessage')[0]?.params['text']);
  expect(fallback).not.toMatch(/<[!@#]/);
});

test('an urgent message names whom it is for and looks it', async () => {
  await using stage = await SlackStage.open();
  await stage.channel.send(stage.at(), say('Disk is full', { priority: 'urgent', mentions: [bob] }), 'o1');
  expect(stage.fake.said(room)[0]?.text).toMatch(new RegExp(`Urgent.*<@${bob}>`));
});

test('every kind of notice has a look of its own', async () => {
  await using stage = await SlackStage.open();
  const levels = ['info', 'warn', 'error', 'success', 'status', 'question', 'announcement'] as const;
  for (const level of levels) {
    await stage.channel.send(stage.at(), { parts: [{ type: 'notice', level, markdown: 'Look' }] }, level);
  }
  const looks = stage.fake.said(room).map(({ blocks: [block] }) => JSON.stringify(block));
  expect(new Set(looks).size).toBe(levels.length);
  expect(looks[1]).toContain('"level":"warning"');
});

test('progress is a plan with a card for each task and is edited in place', async () => {
  await using stage = await SlackStage.open();
  const progress = (state: 'running' | 'done'): OutboundBody => ({
    parts: [{ type: 'progress', title: 'Deploying', tasks: [{ id: 't1', title: 'Build', state, detail: 'step 2' }] }],
  });
  const ref = await stage.channel.send(stage.at(), progress('running'), 'o1');
  expect(stage.fake.said(room)[0]?.blocks).toMatchObject([
    { type: 'plan', title: 'Deploying', tasks: [{ type: 'task_card', task_id: 't1', status: 'in_progress' }] },
  ]);
  await stage.channel.edit(stage.at(), ref, progress('done'), 'o2');
  expect(stage.fake.said(room)[0]?.blocks).toMatchObject([{ type: 'plan', tasks: [{ status: 'complete' }] }]);
});

test('a workspace that refuses the newest blocks gets the same words in older ones', async () => {
  await using stage = await SlackStage.open();
  stage.fake.knowsNewBlocks = false;
  const ref = await stage.channel.send(
    stage.at(),
    {
      parts: [
        { type: 'markdown', markdown: '**bold** & <b>' },
        { type: 'notice', level: 'warn', markdown: 'careful' },
      ],
    },
    'o1',
  );
  const [message] = stage.fake.said(room);
  expect(message?.text).toMatch(/\*bold\* & <b>[\s\S]*careful/);
  await stage.channel.edit(stage.at(), ref, say('_later_'), 'o2');
  expect(stage.fake.said(room)[0]?.text).toBe('_later_');
});

test('a long answer in older blocks is whole, and so is what one person sees', async () => {
  await using stage = await SlackStage.open();
  stage.fake.knowsNewBlocks = false;
  const words = Array.from({ length: 2_500 }, (_, word) => `a<${word}`);
  const ref = await stage.channel.send(stage.at(), say(words.join(' ')), 'o1');
  const shown = stage.fake.said(room).map(({ text }) => text);
  expect(ref.ids.length).toBe(shown.length);
  expect(shown.join(' ').split(/\s+/)).toEqual(words);
  await stage.channel.send(stage.at(), say('psst', { ephemeralTo: bob }), 'o2');
  expect(stage.fake.said(room).at(-1)).toMatchObject({ text: 'psst', onlyFor: bob });
});

test('a long text in Chinese is posted and edited, whatever its size in bytes', async () => {
  await using stage = await SlackStage.open();
  const text = '漢字👩‍💻'.repeat(1_200);
  const ref = await stage.channel.send(stage.at(), say(text), 'o1');
  const edited = await stage.channel.edit(stage.at(), ref, say(`${text}!`), 'o2');
  expect(edited.ids).toEqual(ref.ids);
  const [update] = stage.fake.callsOf('chat.update');
  expect(Buffer.byteLength(String(update?.params['text']))).toBeLessThanOrEqual(4_000);
});

test('a message that was deleted by someone is posted anew and nothing stands there twice', async () => {
  await using stage = await SlackStage.open();
  const { textMax } = stage.channel.capabilities(stage.at());
  const ref = await stage.channel.send(stage.at(), say('word '.repeat(textMax / 4)), 'o1');
  expect(ref.ids.length).toBe(2);
  stage.fake.people.deletes(room, ref.ids[0] ?? '');
  const failure = await stage.channel
    .edit(stage.at(), ref, say('new'), 'o2')
    .catch((err: unknown) => stage.channel.classify(err));
  expect(failure).toMatchObject({ kind: 'gone' });
  expect(stage.fake.said(room)).toEqual([]);
});

test('a part of a message that is gone is posted again in its place', async () => {
  await using stage = await SlackStage.open();
  const { textMax } = stage.channel.capabilities(stage.at());
  const long = 'word '.repeat(textMax / 4);
  const ref = await stage.channel.send(stage.at(), say(long), 'o1');
  stage.fake.people.deletes(room, ref.ids[1] ?? '');
  const edited = await stage.channel.edit(stage.at(), ref, say(long), 'o2');
  expect(edited.ids[0]).toBe(ref.ids[0]);
  expect(edited.ids[1]).not.toBe(ref.ids[1]);
});

test('a reply below a deleted root is still posted', async () => {
  await using stage = await SlackStage.open();
  const thread = threadIn(stage);
  stage.fake.people.deletes(room, thread);
  await stage.channel.send(stage.at({ thread }), say('late answer'), 'o1');
  expect(stage.fake.said(room)).toMatchObject([{ text: 'late answer', threadTs: thread }]);
});

test('a thread Slack does not know any more does not swallow the answer', async () => {
  await using stage = await SlackStage.open();
  const thread = threadIn(stage);
  stage.fake.faults.next('chat.postMessage', { kind: 'status', code: 200, description: 'thread_not_found' });
  await stage.channel.send(stage.at({ thread }), say('still said'), 'o1');
  expect(stage.fake.said(room)).toMatchObject([{ text: 'still said', threadTs: undefined }]);
});

test('a send whose answer was lost is found again by what it carries', async () => {
  await using stage = await SlackStage.open();
  const place = stage.at({ thread: threadIn(stage) });
  stage.fake.faults.next('chat.postMessage', { kind: 'dropAfter' });
  const failure = await stage.channel
    .send(place, say('once'), 'o-lost')
    .catch((err: unknown) => stage.channel.classify(err));
  expect(failure).toMatchObject({ kind: 'unknown_outcome' });
  const found = await stage.channel.findSent(place, 'o-lost');
  expect(found?.ids).toEqual([stage.fake.said(room)[0]?.ts]);
  expect(await stage.channel.findSent(place, 'o-never')).toBeUndefined();
  expect(await stage.channel.findSent(stage.at(), 'o-never')).toBeUndefined();
});

test('a send of several messages goes on after those an earlier try has posted', async () => {
  await using stage = await SlackStage.open();
  const { textMax } = stage.channel.capabilities(stage.at());
  const long = say('word '.repeat(textMax / 4));
  const posted: string[] = [];
  const progress = {
    posted,
    onPosted: async (id: string) => {
      posted.push(id);
      if (posted.length === 1)
        stage.fake.faults.next('chat.postMessage', { kind: 'status', code: 200, description: 'internal_error' });
    },
  };
  const failure = await stage.channel
    .send(stage.at(), long, 'o1', progress)
    .catch((err: unknown) => stage.channel.classify(err));
  expect(failure).toMatchObject({ kind: 'retry' });
  const ref = await stage.channel.send(stage.at(), long, 'o1', { ...progress, posted: [...posted] });
  expect(ref.ids).toEqual(stage.fake.said(room).map(({ ts }) => ts));
  expect(ref.ids.length).toBe(2);
});

test('one throttled conversation does not hold up another', async () => {
  await using stage = await SlackStage.open();
  const dm = stage.fake.people.dm(alice);
  stage.fake.faults.next('chat.postMessage', { kind: 'throttle', retryAfter: 30 }, 1, room);
  const throttled = stage.channel
    .send(stage.at(), say('slow'), 'o1')
    .catch((err: unknown) => stage.channel.classify(err));
  const other = stage.channel.send(stage.at({ room: dm }), say('quick'), 'o2');
  expect(await throttled).toMatchObject({ kind: 'throttled', afterMs: 30_000 });
  expect((await other).ids.length).toBe(1);
});

test('rate limits of Slack are told as a time to wait', async () => {
  const now = Date.now();
  await using stage = await SlackStage.open({ fake: { now: () => now, limits: { hasRates: true } } });
  const ref = await stage.channel.send(stage.at(), say('0'), 'o');
  let failure: unknown;
  for (let edit = 1; edit <= 60 && failure === undefined; edit += 1) {
    failure = await stage.channel.edit(stage.at(), ref, say(String(edit)), `o${edit}`).then(
      () => undefined,
      (err: unknown) => stage.channel.classify(err),
    );
  }
  expect(failure).toMatchObject({ kind: 'throttled' });
  expect(stage.fake.rates.refused.get('chat.update')).toBe(1);
});

test.each([
  ['the bot is not in the channel', 'not_in_channel'],
  ['the channel is archived', 'is_archived'],
] as const)('%s: the message is undeliverable', async (_what, code) => {
  await using stage = await SlackStage.open();
  const channel = stage.fake.world.channels.get(room);
  if (code === 'is_archived') stage.fake.people.changes(room, 'archive', alice);
  else channel?.members.delete(stage.fake.world.botUser);
  const failure = await stage.channel
    .send(stage.at(), say('hello'), 'o1')
    .catch((err: unknown) => stage.channel.classify(err));
  expect(failure).toMatchObject({ kind: 'unreachable', reason: expect.stringContaining(code) });
});

test('a missing scope is named', async () => {
  await using stage = await SlackStage.open();
  stage.fake.scopes.delete('chat:write');
  const error: unknown = await stage.channel.send(stage.at(), say('hello'), 'o1').catch((err: unknown) => err);
  expect(stage.channel.classify(error)).toMatchObject({
    kind: 'auth',
    reason: expect.stringContaining('needs the scope chat:write'),
  });
  expect(isAppError(error) && error.message).toContain('chat:write');
  expect(stage.channel.health().state).toBe('connected');
});

test('a command is answered to its sender alone, without a call of the Web API', async () => {
  await using stage = await SlackStage.open();
  stage.fake.people.slashCommand(room, alice, '/agents');
  await stage.until(() => stage.events.length === 1);
  const { interactionToken = '' } = stage.events[0] ?? {};
  await stage.channel.send(stage.at(), say('two agents', { interactionToken }), 'o1');
  expect(stage.fake.said(room)).toMatchObject([{ text: 'two agents', onlyFor: alice }]);
  expect(stage.fake.callCounts.has('chat.postMessage')).toBe(false);
});

test('a command from a channel the bot is not in is answered five times there, then in the direct messages', async () => {
  await using stage = await SlackStage.open();
  stage.fake.people.channel('C200OTHER', [alice], { hasBot: false });
  stage.fake.people.slashCommand('C200OTHER', alice, '/agents');
  await stage.until(() => stage.events.length === 1);
  const { interactionToken = '' } = stage.events[0] ?? {};
  const place = stage.at({ room: 'C200OTHER' });
  for (let answer = 1; answer <= 6; answer += 1) {
    await stage.channel.send(place, say(`answer ${answer}`, { interactionToken }), `o${answer}`);
  }
  expect(stage.fake.said('C200OTHER').map(({ text }) => text)).toEqual([1, 2, 3, 4, 5].map((n) => `answer ${n}`));
  expect(stage.fake.said(stage.fake.people.dm(alice)).map(({ text }) => text)).toEqual(['answer 6']);
});

test('what is for one person only is seen by nobody else', async () => {
  await using stage = await SlackStage.open();
  const ref = await stage.channel.send(stage.at(), say('psst', { ephemeralTo: bob }), 'o1');
  expect(stage.fake.said(room)).toMatchObject([{ text: 'psst', onlyFor: bob }]);
  await stage.channel.delete(stage.at(), ref);
  const failure = await stage.channel
    .edit(stage.at(), ref, say('x'), 'o2')
    .catch((err: unknown) => stage.channel.classify(err));
  expect(failure).toMatchObject({ kind: 'gone' });
});

test('a refused press is explained to whoever pressed, an accepted one needs no words', async () => {
  await using stage = await SlackStage.open();
  const thread = threadIn(stage);
  const buttons: OutboundBody = { parts: [{ type: 'buttons', rows: [[{ label: 'Approve', token: 'v1.t' }]] }] };
  await stage.channel.send(stage.at({ thread }), buttons, 'o1');
  stage.fake.people.presses(bob, 'Approve');
  await stage.until(() => stage.events.some(({ type }) => type === 'action'));
  const press = stage.events.find(({ type }) => type === 'action');
  expect(press).toMatchObject({ conversation: stage.at({ thread }), actor: { externalId: bob } });
  const token = press?.interactionToken ?? '';
  await stage.channel.acknowledge(token, { text: 'Approved.', isAlert: false });
  await stage.channel.acknowledge(token, { text: 'You may not decide this.', isAlert: true });
  expect(stage.fake.said(room).filter(({ onlyFor }) => onlyFor !== undefined)).toMatchObject([
    { text: 'You may not decide this.', onlyFor: bob, threadTs: thread },
  ]);
});

test('a thread for a piece of work is made once, however often it is asked for', async () => {
  await using stage = await SlackStage.open();
  const wish = { title: 'Deploy <!channel>', key: 'inbox-1' };
  const first = await stage.channel.startThread(stage.at(), wish);
  const second = await stage.channel.startThread(stage.at(), wish);
  expect(first).toEqual(stage.at({ thread: stage.fake.said(room)[0]?.ts ?? '' }));
  expect(second).toEqual(first);
  expect(stage.fake.said(room).length).toBe(1);
  expect(await stage.channel.startThread(stage.at(), { ...wish, messageId: '1700000000.000001' })).toMatchObject({
    thread: '1700000000.000001',
  });
});

test('work asked for where the bot may not write is shown to whoever asked, with a link to where', async () => {
  await using stage = await SlackStage.open();
  stage.fake.people.channel('C200OTHER', [alice], { hasBot: false });
  const wish = { title: 'Deploy', key: 'inbox-2', requester: alice };
  const dm = stage.fake.people.dm(alice);
  const first = await stage.channel.startThread(stage.at({ room: 'C200OTHER' }), wish);
  const [anchor] = stage.fake.said(dm);
  expect(anchor?.text).toContain('<#C200OTHER>');
  expect(first).toEqual(stage.at({ room: dm, thread: anchor?.ts ?? '' }));
  expect(await stage.channel.startThread(stage.at({ room: 'C200OTHER' }), wish)).toEqual(first);
});

test('where the bot may not write there is no thread', async () => {
  await using stage = await SlackStage.open();
  stage.fake.people.channel('C200OTHER', [alice], { hasBot: false });
  expect(await stage.channel.startThread(stage.at({ room: 'C200OTHER' }), { title: 'x', key: 'k' })).toBeUndefined();
});

test('the sign under a message changes with the work', async () => {
  await using stage = await SlackStage.open();
  const ts = threadIn(stage);
  const shown = () => stage.fake.transcript(room, ts)[0]?.reactions;
  await stage.channel.react(stage.at(), ts, 'seen');
  expect(shown()).toEqual(['eyes']);
  await stage.channel.react(stage.at(), ts, 'working');
  expect(shown()).toEqual(['hourglass_flowing_sand']);
  await stage.channel.react(stage.at(), ts, 'done');
  expect(shown()).toEqual(['white_check_mark']);
  await stage.channel.react(stage.at(), ts, undefined);
  expect(shown()).toEqual([]);
});

test('a process that did not set the last sign replaces it all the same', async () => {
  await using stage = await SlackStage.open();
  const ts = threadIn(stage);
  stage.fake.world.channels.get(room)?.messages.get(ts)?.reactions.add('hourglass_flowing_sand');
  await stage.channel.react(stage.at(), ts, 'done');
  expect(stage.fake.transcript(room, ts)[0]?.reactions).toEqual(['white_check_mark']);
});

test('a thread shows that work goes on', async () => {
  await using stage = await SlackStage.open();
  const thread = threadIn(stage);
  await stage.channel.typing(stage.at({ thread }));
  await stage.channel.typing(stage.at());
  expect(stage.fake.world.statuses).toMatchObject([{ channel: room, threadTs: thread, status: 'is working…' }]);
});
