import { expect, test } from 'vitest';
import { type Clock, systemClock } from '#core/kit/clock.ts';
import type { AnswerStream } from '#core/outbox/channel-sender.ts';
import { alice, room, SlackStage } from './slack-stage.ts';

/** Real time, moved ahead at will, for the app and for Slack alike. */
function movableTime(): { readonly clock: Clock; readonly now: () => number; move(ms: number): void } {
  let ahead = 0;
  return {
    clock: { ...systemClock, now: () => new Date(Date.now() + ahead), sleep: systemClock.sleep.bind(systemClock) },
    now: () => Date.now() + ahead,
    move: (ms) => {
      ahead += ms;
    },
  };
}

/** What people see of the bot's messages: without the mark a stream begins with. */
function said(stage: SlackStage, thread?: string) {
  return stage.fake.said(room, thread).map((message) => ({ ...message, text: message.text.replaceAll('\u2060', '') }));
}

async function openStream(stage: SlackStage): Promise<{ stream: AnswerStream; thread: string }> {
  const thread = stage.fake.people.says(room, alice, 'tell me all');
  const stream = await stage.channel.openStream(stage.at({ thread }), { recipient: alice });
  return { stream, thread };
}

test('an answer grows in its thread and ends as its final text', async () => {
  await using stage = await SlackStage.open();
  const { stream, thread } = await openStream(stage);
  for (const word of ['Once ', 'upon ', 'a time']) await stream.append(word);
  expect(said(stage)).toMatchObject([{ text: 'Once upon a time', threadTs: thread, isStreaming: true }]);
  const ref = await stage.channel.edit(
    stage.at({ thread }),
    stream.ref,
    { parts: [{ type: 'markdown', markdown: 'The **end**.' }] },
    'o1',
  );
  expect(said(stage)).toMatchObject([{ ts: ref.ids[0], text: 'The **end**.', isStreaming: false }]);
  expect(stage.fake.callsOf('chat.startStream')[0]?.params).toMatchObject({
    recipient_user_id: alice,
    recipient_team_id: stage.fake.world.teamId,
  });
  expect(await stage.channel.findSent(stage.at({ thread }), 'o1')).toEqual(ref);
});

test('a stream goes on in another message before 9,000 characters, at the end of a block, and loses nothing', async () => {
  await using stage = await SlackStage.open();
  const { stream, thread } = await openStream(stage);
  const blocks = Array.from({ length: 60 }, (_, block) => `Paragraph ${block} ${'word '.repeat(80).trim()}.`);
  for (const piece of blocks
    .map((block) => `${block}\n\n`)
    .join('')
    .match(/[\s\S]{1,130}/g) ?? [])
    await stream.append(piece);
  const messages = said(stage, thread);
  expect(messages.length).toBe(stream.ref.ids.length);
  expect(messages.length).toBeGreaterThanOrEqual(3);
  for (const { text } of messages) expect(text.length).toBeLessThanOrEqual(9_000);
  expect(messages.slice(0, -1).every(({ isStreaming, text }) => !isStreaming && text.trimEnd().endsWith('.'))).toBe(
    true,
  );
  expect(
    messages
      .map(({ text }) => text.trim())
      .join('\n\n')
      .split(/\n+/),
  ).toEqual(blocks);
});

test('code that crosses two messages is code in both', async () => {
  await using stage = await SlackStage.open();
  const { stream, thread } = await openStream(stage);
  const lines = Array.from({ length: 700 }, (_, line) => `const value${line} = ${line};`);
  await stream.append('Here:\n\n```ts\n');
  for (const line of lines) await stream.append(`${line}\n`);
  await stream.append('```\n');
  const code = said(stage, thread).flatMap(({ text }) => {
    const blocks = [...text.matchAll(/^```ts\n([\s\S]*?)\n```$/gm)];
    expect(blocks.length).toBe(1);
    return (blocks[0]?.[1] ?? '').split('\n').filter((line) => line !== '');
  });
  expect(code).toEqual(lines);
});

test('one endless line goes on from message to message', async () => {
  await using stage = await SlackStage.open();
  const { stream, thread } = await openStream(stage);
  const line = `\`\`\`\n${'0123456789'.repeat(2_500)}`;
  await stream.append(line);
  const shown = said(stage, thread).map(({ text }) => text.replaceAll(/^```\n?|\n?```$/g, ''));
  expect(shown.length).toBe(3);
  expect(shown.join('')).toBe('0123456789'.repeat(2_500));
});

test('a stream goes on in another message before four minutes', async () => {
  const time = movableTime();
  await using stage = await SlackStage.open({ clock: time.clock, fake: { now: time.now } });
  const { stream, thread } = await openStream(stage);
  for (let minute = 0; minute < 12; minute += 1) {
    await stream.append(`Minute ${minute} is over.\n\n`);
    time.move(60_000);
  }
  const messages = said(stage, thread);
  expect(messages.length).toBeGreaterThanOrEqual(3);
  expect(messages.map(({ text }) => text.trim()).join('\n\n')).toBe(
    Array.from({ length: 12 }, (_, minute) => `Minute ${minute} is over.`).join('\n\n'),
  );
});

test('a stream that Slack has ended meanwhile is repaired by the final text', async () => {
  const time = movableTime();
  await using stage = await SlackStage.open({ clock: systemClock, fake: { now: time.now } });
  const { stream, thread } = await openStream(stage);
  await stream.append('half a sen');
  time.move(301_000);
  const failure = await stream.append('tence').catch((err: unknown) => stage.channel.classify(err));
  expect(failure).toMatchObject({ kind: 'gone' });
  await stage.channel.edit(
    stage.at({ thread }),
    stream.ref,
    { parts: [{ type: 'markdown', markdown: 'half a sentence' }] },
    'o1',
  );
  expect(said(stage)).toMatchObject([{ text: 'half a sentence', isStreaming: false }]);
});

test('another process ends a stream it did not begin', async () => {
  await using stage = await SlackStage.open();
  const { stream, thread } = await openStream(stage);
  await stream.append('begun by one');
  // All that is left after a crash is what the database remembers.
  const ids = JSON.parse(JSON.stringify(stream.ref.ids)) as string[];
  await using other = await SlackStage.prepare();
  const ref = await stage.channel.edit(
    stage.at({ thread }),
    { ids },
    { parts: [{ type: 'markdown', markdown: 'ended' }] },
    'o1',
  );
  expect(said(stage)).toMatchObject([{ ts: ref.ids[0], text: 'ended', isStreaming: false }]);
  const again = await stage.channel.edit(
    stage.at({ thread }),
    { ids },
    { parts: [{ type: 'markdown', markdown: 'twice' }] },
    'o1',
  );
  expect(again).toEqual(ref);
  expect(other.received).toEqual([]);
});

test('surplus messages of a stream are deleted when the final text is shorter', async () => {
  await using stage = await SlackStage.open();
  const { stream, thread } = await openStream(stage);
  await stream.append(`${'long '.repeat(2_500)}\n\nend`);
  expect(stream.ref.ids.length).toBe(2);
  await stage.channel.edit(
    stage.at({ thread }),
    stream.ref,
    { parts: [{ type: 'markdown', markdown: 'short' }] },
    'o1',
  );
  expect(said(stage, thread).map(({ text }) => text)).toEqual(['short']);
});

test('mentions are neutralised while the answer grows', async () => {
  await using stage = await SlackStage.open();
  const { stream } = await openStream(stage);
  for (const piece of ['<!channel> look <', '!he', 're> and @every', 'one', ' is ', 'told']) await stream.append(piece);
  const text = stage.fake.said(room)[0]?.text ?? '';
  expect(text).not.toMatch(/<!|@everyone/);
  expect(text.replaceAll('\u2060', '')).toBe('<!channel> look <!here> and @everyone is told');
});

test('outside of a thread there is no stream, and the capabilities say so', async () => {
  await using stage = await SlackStage.open();
  expect(stage.channel.capabilities(stage.at()).nativeStream).toBe('none');
  expect(stage.channel.capabilities(stage.at({ thread: '1.1' })).nativeStream).toBe('append');
  await expect(stage.channel.openStream(stage.at(), { recipient: alice })).rejects.toMatchObject({
    code: 'channel.rejected',
  });
});

test('the stop sign of Slack says in which thread', async () => {
  await using stage = await SlackStage.open();
  const { thread } = await openStream(stage);
  stage.fake.people.pressesStop(room, alice, thread);
  await stage.until(() => stage.events.some(({ type }) => type === 'stop'));
  expect(stage.events.find(({ type }) => type === 'stop')).toMatchObject({
    conversation: stage.at({ thread }),
    actor: { externalId: alice },
  });
});
