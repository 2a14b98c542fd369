import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TelegramChannel } from '#bots/telegram/telegram-channel.ts';
import type { OutboundBody } from '#core/outbox/outbound.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { FakeTelegram } from '../../fakes/telegram/fake-telegram.ts';

const person = 501;
const group = -100;
const lines = (count: number, name = 'line') =>
  Array.from({ length: count }, (_, line) => `${name} ${line}`.padEnd(99, '.')).join('\n');
const markdown = (text: string): OutboundBody => ({ parts: [{ type: 'markdown', markdown: text }] });

describe('sending to Telegram', () => {
  let fake: FakeTelegram;
  let channel: TelegramChannel;
  let logLines: string[];
  let dm: Conversation;
  let team: Conversation;

  const failure = async (work: Promise<unknown>) => {
    const err: unknown = await work.then(
      () => expect.fail('this was expected to fail'),
      (thrown: unknown) => thrown,
    );
    expect(`${String(err)}${JSON.stringify(err)}`).not.toContain(fake.token.split(':')[1]);
    return channel.classify(err);
  };

  beforeEach(async () => {
    fake = await FakeTelegram.start();
    fake.people.privateChat(person);
    fake.people.group(group, { isForum: true });
    logLines = [];
    channel = new TelegramChannel({
      token: fake.token,
      apiRoot: fake.apiRoot,
      log: pino({ level: 'trace' }, { write: (line: string) => void logLines.push(line) }),
    });
    dm = { channel: 'telegram', account: channel.account, room: String(person), kind: 'dm' };
    team = { ...dm, room: String(group), kind: 'group' };
  });
  afterEach(async () => {
    await fake[Symbol.asyncDispose]();
    expect(logLines.join()).not.toContain(fake.token.split(':')[1]);
  });

  it('styles, silence, reply and topic go over the wire, previews of links do not', async () => {
    fake.people.topic(group, 44);
    const asked = fake.people.says(group, person, { text: 'question', threadId: 44 });
    await channel.send(
      { ...team, thread: '44' },
      { ...markdown('**yes** [a](https://b.c)'), replyTo: String(asked), isSilent: true },
      'o1',
    );
    expect(fake.said(group)).toMatchObject([{ text: 'yes a', threadId: 44, replyTo: asked, isSilent: true }]);
    expect(fake.callsOf('sendMessage')[0]?.params['link_preview_options']).toEqual({ is_disabled: true });
  });

  it('a reply to a message that is gone is sent all the same', async () => {
    await channel.send(dm, { ...markdown('answer'), replyTo: '999' }, 'o1');
    expect(fake.said(person)).toMatchObject([{ text: 'answer', replyTo: undefined }]);
  });

  it('nobody is pinged from a group message', async () => {
    await channel.send(team, markdown('@everyone @person501 [x](tg://user?id=501) `@code`'), 'o1');
    expect(fake.said(group)[0]?.pings).toEqual([]);
    expect(fake.said(group)[0]?.entities.map((entity) => entity.type)).toEqual(['code']);
  });

  it('an answer over several messages goes on where it was interrupted', async () => {
    fake.faults.next('sendMessage', { kind: 'delay', ms: 0 });
    const body = markdown(lines(100));
    fake.faults.next('sendMessage', { kind: 'throttle', retryAfter: 2 });
    const posted: string[] = [];
    const onPosted = async (id: string) => void posted.push(id);
    expect(await failure(channel.send(dm, body, 'o1', { posted: [], onPosted }))).toMatchObject({
      kind: 'throttled',
      afterMs: 2_000,
    });
    expect(posted.length).toBe(1);
    const ref = await channel.send(dm, body, 'o1', { posted, onPosted });
    const said = fake.said(person);
    expect(posted).toEqual(ref.ids);
    expect(said.map((message) => String(message.id))).toEqual(ref.ids);
    expect(said.flatMap((message) => message.text.split('\n').map((line) => line.trim()))).toEqual(
      lines(100)
        .split('\n')
        .map((line) => line.trim()),
    );
  });

  it('throttling of one chat leaves the others alone', async () => {
    fake.faults.next('sendMessage', { kind: 'throttle', retryAfter: 30 }, 1, group);
    expect((await failure(channel.send(team, markdown('a'), 'o1'))).kind).toBe('throttled');
    await channel.send(dm, markdown('b'), 'o2');
    expect(fake.said(person)).toMatchObject([{ text: 'b' }]);
  });

  it('an edit grows over several messages, then into a file, and shrinks again', async () => {
    const first = await channel.send(dm, markdown('start'), 'o1');
    const two = await channel.edit(dm, first, markdown(lines(60)), 'o2');
    expect(two.ids.length).toBe(2);
    const filed = await channel.edit(dm, two, markdown(lines(200)), 'o3');
    expect(fake.said(person).map((message) => message.file?.name)).toEqual([undefined, 'answer.md']);
    const longer = await channel.edit(dm, filed, markdown(lines(300)), 'o4');
    expect(longer.ids).toEqual(filed.ids);
    expect(fake.said(person)[1]?.file?.bytes.toString()).toBe(lines(300));
    const last = await channel.edit(dm, longer, markdown('end'), 'o5');
    expect(last.ids).toEqual(first.ids);
    expect(fake.said(person)).toMatchObject([{ text: 'end', file: undefined }]);
  });

  it('an edit that was interrupted while growing posts no part twice', async () => {
    const first = await channel.send(dm, markdown('start'), 'o1');
    fake.faults.next('sendMessage', { kind: 'delay', ms: 0 });
    fake.faults.next('sendMessage', { kind: 'throttle', retryAfter: 1 });
    const ids = [...first.ids];
    const progress = { posted: [], onPosted: async (id: string) => void ids.push(id) };
    expect((await failure(channel.edit(dm, first, markdown(lines(100)), 'o2', progress))).kind).toBe('throttled');
    expect(ids.length).toBe(2);
    const grown = await channel.edit(dm, { ids }, markdown(lines(100)), 'o2', progress);
    expect(fake.said(person).map((message) => String(message.id))).toEqual(grown.ids);
  });

  it('when the first message of several is gone, the rest is cleared for the new post', async () => {
    const ref = await channel.send(dm, markdown(lines(60)), 'o1');
    fake.people.deletes(person, Number(ref.ids[0]));
    expect((await failure(channel.edit(dm, ref, markdown(`${lines(60)}!`), 'o2'))).kind).toBe('gone');
    expect(fake.said(person)).toEqual([]);
  });

  it('a later message that is gone is posted again', async () => {
    const ref = await channel.send(dm, markdown(lines(60)), 'o1');
    fake.people.deletes(person, Number(ref.ids[1]));
    const edited = await channel.edit(dm, ref, markdown(lines(60, 'other')), 'o2');
    expect(edited.ids[0]).toBe(ref.ids[0]);
    expect(fake.said(person).map((message) => String(message.id))).toEqual(edited.ids);
  });

  it('buttons come, go and are disabled by edits', async () => {
    const card = (button: object): OutboundBody => ({
      parts: [
        { type: 'markdown', markdown: 'Run it?' },
        { type: 'buttons', rows: [[{ label: 'Allow', ...button }]] },
      ],
    });
    const ref = await channel.send(dm, card({ token: 't1', style: 'success' }), 'o1');
    expect(fake.said(person)[0]?.buttons).toEqual([{ text: 'Allow', data: 't1', isDisabled: false }]);
    await channel.edit(dm, ref, card({ isDisabled: true }), 'o2');
    expect(fake.said(person)[0]?.buttons).toEqual([{ text: 'Allow', isDisabled: true }]);
    await channel.edit(dm, ref, markdown('Run it?'), 'o3');
    expect(fake.said(person)[0]?.buttons).toEqual([]);
  });

  it('a press is answered once, late answers are harmless', async () => {
    await channel.send(dm, { parts: [{ type: 'buttons', rows: [[{ label: 'x', token: 't' }]] }] }, 'o1');
    const query = fake.people.presses(person, person, 't');
    await channel.acknowledge(query, { text: 'n'.repeat(500), isAlert: true });
    await channel.acknowledge(query);
    await channel.acknowledge('never-was');
    expect(fake.state.answers.get(query)).toEqual({ text: `${'n'.repeat(199)}…`, isAlert: true });
  });

  it('styles the server refuses are left out rather than the message', async () => {
    const description = "Bad Request: can't parse entities: unsupported";
    fake.faults.next('sendMessage', { kind: 'status', code: 400, description });
    await channel.send(dm, markdown('**words**'), 'o1');
    expect(fake.said(person)).toMatchObject([{ text: 'words', entities: [] }]);
  });

  it('a preview is healed, styled and cleared by the message', async () => {
    await channel.draft(dm, 7, '');
    await channel.draft(dm, 7, 'half **bo');
    expect(fake.drafts(person)).toMatchObject([
      { draftId: 7, text: '', entities: [] },
      { draftId: 7, text: 'half bo', entities: [{ type: 'bold', offset: 5, length: 2 }] },
    ]);
    expect(fake.callsOf('sendMessageDraft')[0]?.params).toMatchObject({ can_stop: true });
    await channel.send(dm, markdown('half **bold**'), 'o1');
    expect(fake.people.chat(person).liveDraft).toBeUndefined();
  });

  it('a throttled preview pauses previews of that chat and fails nothing', async () => {
    fake.faults.next('sendMessageDraft', { kind: 'throttle', retryAfter: 60 });
    await channel.draft(dm, 7, 'one');
    await channel.draft(dm, 7, 'two');
    expect(fake.callCounts.get('sendMessageDraft')).toBe(1);
    fake.people.privateChat(502);
    await channel.draft({ ...dm, room: '502' }, 8, 'other');
    expect(fake.drafts(502).length).toBe(1);
  });

  it('on a server without previews a private chat streams by edits', async () => {
    fake.state.missingMethods.add('sendMessageDraft');
    expect(channel.capabilities(dm).nativeStream).toBe('draft');
    await channel.draft(dm, 7, 'one');
    expect(channel.capabilities(dm)).toMatchObject({ nativeStream: 'none', editIntervalMs: 1_100 });
  });

  it('groups have no previews and slow edits', async () => {
    expect(channel.capabilities(team)).toMatchObject({
      nativeStream: 'none',
      editIntervalMs: 3_100,
      sendIntervalMs: 3_000,
    });
    await channel.draft(team, 7, 'x');
    expect(fake.callCounts.get('sendMessageDraft')).toBeUndefined();
  });

  it('lost groups and moved groups are told apart', async () => {
    expect((await failure(channel.send({ ...team, room: '-9' }, markdown('x'), 'o3'))).kind).toBe('unreachable');
    fake.people.migrates(group, -200);
    expect(await failure(channel.send(team, markdown('x'), 'o4'))).toMatchObject({ kind: 'moved', newRoom: '-200' });
  });

  it('a server that is not there means retry, a lost answer means unknown', async () => {
    fake.faults.next('sendMessage', { kind: 'dropAfter' });
    expect((await failure(channel.send(dm, markdown('x'), 'o1'))).kind).toBe('unknown_outcome');
    expect(fake.said(person).length).toBe(1);
    fake.faults.next('sendMessage', { kind: 'html', code: 502 });
    expect((await failure(channel.send(dm, markdown('x'), 'o2'))).kind).toBe('retry');
    await fake.goDown();
    // The first call meets the dead connection; the next one finds that nobody listens.
    await channel.typing(dm);
    expect((await failure(channel.send(dm, markdown('x'), 'o3'))).kind).toBe('retry');
  });

  it('ten megabytes, lone surrogates and a hundred thousand stars arrive as something readable', async () => {
    await channel.send(dm, markdown('y'.repeat(10_000_000)), 'o1');
    await channel.send(dm, markdown('a\ud800b'), 'o2');
    await channel.send(dm, markdown('*'.repeat(100_000)), 'o3');
    const said = fake.said(person);
    expect(said.filter((message) => message.file !== undefined).map((message) => message.file?.bytes.length)).toEqual([
      10_000_000, 100_000,
    ]);
    expect(said[2]?.text).toBe('a\ufffdb');
  });

  it('the command list is written only when it differs', async () => {
    const commands = [
      { name: 'help', description: 'What I can do' },
      { name: 'Bad-Name', description: 'left out' },
    ];
    expect(await channel.registerCommands(commands)).toEqual({ changed: true });
    expect(await channel.registerCommands(commands)).toEqual({ changed: false });
    expect(fake.state.commands).toEqual([{ command: 'help', description: 'What I can do' }]);
  });
});
