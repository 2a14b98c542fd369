import { expect, test } from 'vitest';
import type { OutboundBody } from '#core/outbox/outbound.ts';
import { eventually } from '#tests/support/eventually.ts';
import { DiscordStage, markdown } from './discord-stage.ts';

const ann = '600000000000000001';
const ben = '600000000000000002';

async function openStage(options: Parameters<typeof DiscordStage.open>[0] = {}) {
  const stage = await DiscordStage.open(options);
  const { people } = stage.fake;
  const guild = people.guild([ann, ben]);
  const room = people.channel(guild);
  const conversation = stage.conversation(room, { kind: 'channel', space: guild.id });
  const failureOf = async (work: Promise<unknown>) =>
    await work.then(
      () => {
        throw new Error('this was expected to fail');
      },
      (err: unknown) => stage.channel.classify(err),
    );
  return { stage, people, room, conversation, failureOf };
}

const buttons = (...labels: string[]): OutboundBody['parts'][number] => ({
  type: 'buttons',
  rows: [labels.map((label) => ({ label, token: `v1.${label}` }))],
});

test('only the people a message names for it are pinged; everyone, roles and other people are shown as text', async () => {
  const { stage, room, conversation } = await openStage();
  await using _ = stage;
  const text = `@everyone @here <@&123456789> <@${ann}> <@${ben}> <#99> </run:1>`;
  await stage.channel.send(conversation, { ...markdown(text), mentions: [ben] }, 'o1');
  await stage.channel.send(conversation, { parts: [{ type: 'notice', level: 'warn', markdown: text }] }, 'o2');
  const [plain, card] = stage.fake.said(room);
  expect(plain?.pings).toEqual([ben]);
  expect(card?.pings).toEqual([]);
  expect(plain?.text).toContain(`\\<@${ann}> <@${ben}>`);
  expect(plain?.text).not.toMatch(/@everyone|@here/);
  for (const call of stage.fake.callsOf('createMessage')) {
    expect(call.body['allowed_mentions']).toMatchObject({ parse: [], replied_user: false });
  }
});

test('an urgent message pings whom it is for, a low one makes no sound, each level has its colour', async () => {
  const { stage, room, conversation } = await openStage();
  await using _ = stage;
  await stage.channel.send(conversation, { ...markdown('now'), priority: 'urgent', mentions: [ann] }, 'o1');
  await stage.channel.send(conversation, { ...markdown('later'), priority: 'low' }, 'o2');
  for (const level of ['success', 'error', 'question'] as const) {
    await stage.channel.send(conversation, { parts: [{ type: 'notice', level, markdown: level }] }, `o-${level}`);
  }
  const said = stage.fake.said(room);
  expect(said[0]).toMatchObject({ pings: [ann], isSilent: false, isCard: true });
  expect(said[1]).toMatchObject({ pings: [], isSilent: true, isCard: false });
  expect(new Set(said.slice(2).map(({ accent }) => accent)).size).toBe(3);
});

test('addresses in the words of an agent fetch no preview', async () => {
  const { stage, room, conversation } = await openStage();
  await using _ = stage;
  await stage.channel.send(
    conversation,
    markdown('see https://evil.example/?q=secret_one and [this](https://x.example/a_b)'),
    'o1',
  );
  const [call] = stage.fake.callsOf('createMessage');
  expect(Number(call?.body['flags']) & 4).toBe(4);
  expect(stage.fake.said(room)[0]?.text).toBe(
    'see https://evil.example/?q=secret_one and [this](<https://x.example/a_b>)',
  );
});

test('every message carries a short nonce, and a send that is repeated is one message', async () => {
  const { stage, room, conversation, failureOf } = await openStage();
  await using _ = stage;
  const long = Array.from({ length: 500 }, (_word, index) => `word${index}`).join(' ');
  // The second part is posted, but its answer is lost; then the process starts over without a memory of the first.
  stage.fake.faults.next('createMessage', { kind: 'delay', ms: 1 }, 1);
  stage.fake.faults.next('createMessage', { kind: 'dropAfter' }, 1);
  expect((await failureOf(stage.channel.send(conversation, markdown(long), 'o1'))).kind).toBe('unknown_outcome');
  const ref = await stage.channel.send(conversation, markdown(long), 'o1');
  expect(stage.fake.said(room).map(({ id }) => id)).toEqual(ref.ids);
  for (const { nonce } of stage.fake.said(room)) expect(nonce?.length).toBeLessThanOrEqual(25);
});

test('after a long outage a message whose answer was lost is found instead of sent again', async () => {
  let now = Date.now();
  const clock = { now: () => new Date(now), sleep: async () => undefined };
  const { stage, room, conversation, failureOf } = await openStage({ channel: { clock } });
  await using _ = stage;
  const card = { parts: [{ type: 'notice' as const, level: 'warn' as const, markdown: 'Mind the step.' }] };
  for (const [index, body] of [markdown('the result'), card].entries()) {
    now = Date.now();
    stage.fake.faults.next('createMessage', { kind: 'dropAfter' });
    expect((await failureOf(stage.channel.send(conversation, body, `o${index}`))).kind).toBe('unknown_outcome');
    stage.fake.faults.next('createMessage', { kind: 'dropBefore' });
    expect((await failureOf(stage.channel.send(conversation, body, `o${index}`))).kind).toBe('unknown_outcome');
    now += 600_000;
    stage.fake.world.nonces.clear();
    const ref = await stage.channel.send(conversation, body, `o${index}`);
    expect(stage.fake.said(room).map(({ id }) => id)).toContain(ref.ids[0]);
  }
  expect(stage.fake.said(room).length).toBe(2);
  // What never arrived is sent.
  now = Date.now();
  stage.fake.faults.next('createMessage', { kind: 'dropBefore' });
  expect((await failureOf(stage.channel.send(conversation, markdown('another'), 'o9'))).kind).toBe('unknown_outcome');
  now += 600_000;
  await stage.channel.send(conversation, markdown('another'), 'o9');
  expect(stage.fake.said(room).map(({ text }) => text)).toContain('another');
});

test('a send of several parts goes on behind those an earlier try has posted', async () => {
  const { stage, room, conversation } = await openStage();
  await using _ = stage;
  const long = Array.from({ length: 500 }, (_word, index) => `word${index}`).join(' ');
  const posted: string[] = [];
  const onPosted = async (id: string): Promise<void> => {
    posted.push(id);
  };
  stage.fake.faults.next('createMessage', { kind: 'delay', ms: 1 }, 1);
  stage.fake.faults.next('createMessage', { kind: 'status', code: 503, description: 'x' }, 1);
  await expect(stage.channel.send(conversation, markdown(long), 'o1', { posted: [], onPosted })).rejects.toThrow();
  expect(posted.length).toBe(1);
  stage.fake.world.nonces.clear();
  const ref = await stage.channel.send(conversation, markdown(long), 'o1', { posted: [...posted], onPosted });
  expect(stage.fake.said(room).map(({ id }) => id)).toEqual(ref.ids);
  expect(posted).toEqual(ref.ids);
});

test('a card stays a card when its buttons go, in this process and in another', async () => {
  const { stage, room, conversation } = await openStage();
  await using _ = stage;
  const card = { parts: [{ type: 'markdown' as const, markdown: 'Allow it?' }, buttons('Allow', 'Deny')] };
  const ref = await stage.channel.send(conversation, card, 'o1');
  await stage.channel.edit(conversation, ref, markdown('Approved.'), 'o1');
  expect(stage.fake.said(room)).toMatchObject([{ text: 'Approved.', isCard: true, buttons: [] }]);

  const other = await stage.channel.send(conversation, card, 'o2');
  await stage.start();
  await stage.restart();
  await stage.channel.edit(conversation, other, markdown('Denied.'), 'o2');
  expect(stage.fake.said(room)[1]).toMatchObject({ text: 'Denied.', isCard: true, buttons: [] });
  await stage.channel.edit(conversation, other, card, 'o2');
  expect(stage.fake.said(room)[1]?.buttons.length).toBe(2);
});

test('a plain message can become a card', async () => {
  const { stage, room, conversation } = await openStage();
  await using _ = stage;
  const ref = await stage.channel.send(conversation, markdown('Which one?'), 'o1');
  await stage.channel.edit(conversation, ref, { parts: [...markdown('Which one?').parts, buttons('A', 'B')] }, 'o1');
  expect(stage.fake.said(room)).toMatchObject([{ id: ref.ids[0], isCard: true, text: 'Which one?' }]);
});

test('progress is a card that changes its colour when all is done', async () => {
  const { stage, room, conversation } = await openStage();
  await using _ = stage;
  const progress = (state: 'running' | 'done'): OutboundBody => ({
    parts: [{ type: 'progress', title: 'Working', tasks: [{ id: '1', title: 'Read the file', state, detail: '2 s' }] }],
  });
  const ref = await stage.channel.send(conversation, progress('running'), 'o1');
  const before = stage.fake.said(room)[0]?.accent;
  await stage.channel.edit(conversation, ref, progress('done'), 'o1');
  const [card] = stage.fake.said(room);
  expect(card?.text).toBe('**Working**\n✅ Read the file (2 s)');
  expect(card?.accent).not.toBe(before);
});

test('buttons: rows of five, labels cut, links as links, shown ones disabled', async () => {
  const { stage, room, conversation, failureOf } = await openStage();
  await using _ = stage;
  const row = [
    ...Array.from({ length: 7 }, (_button, index) => ({ label: `B${index}`, token: `v1.${index}` })),
    { label: 'L'.repeat(200), url: 'https://example.com/' },
    { label: 'gone', isDisabled: true },
    { label: 'gone', isDisabled: true },
  ];
  await stage.channel.send(conversation, { parts: [{ type: 'buttons', rows: [row] }] }, 'o1');
  const [card] = stage.fake.said(room);
  expect(card?.buttons.length).toBe(10);
  expect(card?.buttons[7]).toMatchObject({ style: 5, url: 'https://example.com/' });
  expect(card?.buttons[7]?.label.length).toBe(80);
  expect(card?.buttons.filter(({ isDisabled }) => isDisabled).length).toBe(2);
  const nowhere = { parts: [{ type: 'buttons' as const, rows: [[{ label: 'x', url: 'javascript:alert(1)' }]] }] };
  expect((await failureOf(stage.channel.send(conversation, nowhere, 'o2'))).kind).toBe('bad_format');
});

test('a reply to a message that is gone, or that stands elsewhere, is sent without being one', async () => {
  const { stage, people, room, conversation } = await openStage();
  await using _ = stage;
  const id = people.says(room, ann, 'question');
  const elsewhere = people.says(people.dm(ann), ann, 'elsewhere');
  await stage.channel.send(conversation, { ...markdown('one'), replyTo: id }, 'o1');
  people.deletes(room, id);
  await stage.channel.send(conversation, { ...markdown('two'), replyTo: id }, 'o2');
  await stage.channel.send(conversation, { ...markdown('three'), replyTo: elsewhere }, 'o3');
  stage.fake.faults.next('createMessage', { kind: 'status', code: 160_002, description: 'no history' });
  await stage.channel.send(conversation, { ...markdown('four'), replyTo: people.says(room, ann, 'y') }, 'o4');
  expect(stage.fake.said(room).map(({ text, replyTo }) => [text, replyTo])).toEqual([
    ['one', id],
    ['two', undefined],
    ['three', undefined],
    ['four', undefined],
  ]);
});

test('a message that was deleted while it was edited is posted anew, though Discord still knows its nonce', async () => {
  const { stage, people, room, conversation, failureOf } = await openStage();
  await using _ = stage;
  const ref = await stage.channel.send(conversation, markdown('first'), 'o1');
  people.deletes(room, ref.ids[0] ?? '');
  expect((await failureOf(stage.channel.edit(conversation, ref, markdown('second'), 'o1'))).kind).toBe('gone');
  const anew = await stage.channel.send(conversation, markdown('second'), 'o1');
  expect(stage.fake.said(room)).toMatchObject([{ id: anew.ids[0], text: 'second' }]);
});

test('a message that shrinks and grows again is whole, in this process and in another', async () => {
  const { stage, room, conversation } = await openStage();
  await using _ = stage;
  const long = (mark: string): string => Array.from({ length: 500 }, (_word, index) => `${mark}${index}`).join(' ');
  const text = (): string =>
    stage.fake
      .said(room)
      .map((message) => message.text)
      .join(' ');
  let ref = await stage.channel.send(conversation, markdown(long('a')), 'o1');
  ref = await stage.channel.edit(conversation, ref, markdown('short'), 'o1');
  ref = await stage.channel.edit(conversation, ref, markdown(long('b')), 'o1');
  expect(text()).toBe(long('b'));
  ref = await stage.channel.edit(conversation, ref, markdown('short'), 'o1');
  await stage.start();
  await stage.restart();
  // So long ago that a message of this nonce cannot be the one that was just made.
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  ref = await stage.channel.edit(conversation, ref, markdown(long('c')), 'o1');
  expect(text()).toBe(long('c'));
  expect(stage.fake.said(room).map(({ id }) => id)).toEqual(ref.ids);
});

test('a text that grows by a part does not take the place of a file', async () => {
  const { stage, room, conversation } = await openStage();
  await using _ = stage;
  const body = (words: number): OutboundBody => ({
    parts: [
      { type: 'markdown', markdown: Array.from({ length: words }, (_word, index) => `word${index}`).join(' ') },
      { type: 'file', name: 'a.txt', mime: 'text/plain', dataBase64: Buffer.from('content').toString('base64') },
    ],
  });
  const ref = await stage.channel.send(conversation, body(10), 'o1');
  const grown = await stage.channel.edit(conversation, ref, body(500), 'o1');
  expect(grown.ids.length).toBe(3);
  expect(stage.fake.said(room).filter(({ file }) => file !== undefined).length).toBe(1);
  expect(stage.fake.said(room).filter(({ file }) => file === undefined).length).toBe(2);
});

test('when a later part is deleted, only that part is posted again', async () => {
  const { stage, people, room, conversation } = await openStage();
  await using _ = stage;
  const long = (mark: string): string => Array.from({ length: 500 }, (_word, index) => `${mark}${index}`).join(' ');
  const ref = await stage.channel.send(conversation, markdown(long('a')), 'o1');
  people.deletes(room, ref.ids[1] ?? '');
  const edited = await stage.channel.edit(conversation, ref, markdown(long('b')), 'o1');
  expect(edited.ids[0]).toBe(ref.ids[0]);
  expect(edited.ids[1]).not.toBe(ref.ids[1]);
  expect(
    stage.fake
      .said(room)
      .map(({ text }) => text)
      .join(' '),
  ).toBe(long('b'));
});

test('files arrive whole, are replaced by an edit and taken away by another', async () => {
  const { stage, room, conversation, failureOf } = await openStage();
  await using _ = stage;
  const file = (content: string): OutboundBody => ({
    parts: [
      { type: 'markdown', markdown: 'here' },
      { type: 'file', name: '../we<ird.csv', mime: 'text/csv', dataBase64: Buffer.from(content).toString('base64') },
    ],
  });
  const ref = await stage.channel.send(conversation, file('a,b'), 'o1');
  expect(stage.fake.said(room)[1]?.file?.bytes.toString()).toBe('a,b');
  expect(stage.fake.said(room)[1]?.file?.name).toBe('.._we_ird.csv');
  const edited = await stage.channel.edit(conversation, ref, file('c,d'), 'o1');
  expect(edited.ids).toEqual(ref.ids);
  expect(stage.fake.said(room)[1]?.file?.bytes.toString()).toBe('c,d');
  await stage.channel.edit(conversation, edited, markdown('no file'), 'o1');
  expect(stage.fake.said(room).map(({ text }) => text)).toEqual(['no file']);
  const huge = {
    type: 'file' as const,
    name: 'x',
    mime: 'x/y',
    dataBase64: Buffer.alloc(11 * 1024 * 1024).toString('base64'),
  };
  expect((await failureOf(stage.channel.send(conversation, { parts: [huge] }, 'o2'))).kind).toBe('too_big');
});

test('a thread of a run is made once, below its message or below a first message of its own', async () => {
  const { stage, people, room, conversation } = await openStage();
  await using _ = stage;
  const first = await stage.channel.startThread(conversation, { title: 'A *long* task '.repeat(20), key: 'k1' });
  const again = await stage.channel.startThread(conversation, { title: 'A *long* task '.repeat(20), key: 'k1' });
  expect(again).toEqual(first);
  expect(stage.fake.threads(room).length).toBe(1);
  expect(stage.fake.said(room).length).toBe(1);

  const id = people.says(room, ann, `<@${stage.channel.account}> /run it`);
  const below = await stage.channel.startThread(conversation, { title: 'it', key: 'k2', messageId: id });
  expect(below?.thread).toBe(id);
  expect(await stage.channel.startThread(conversation, { title: 'it', key: 'k2', messageId: id })).toEqual(below);
  await stage.channel.send({ ...conversation, ...below }, markdown('in it'), 'o1');
  expect(stage.fake.said(id)).toMatchObject([{ text: 'in it' }]);
});

test('where there are no threads, or none for us, there is none', async () => {
  const { stage, people, room, conversation } = await openStage();
  await using _ = stage;
  const dm = stage.conversation(people.dm(ann));
  expect(await stage.channel.startThread(dm, { title: 'x', key: 'k' })).toBeUndefined();
  const channel = stage.fake.world.channels.get(room);
  if (channel !== undefined) channel.canThread = false;
  const id = people.says(room, ann, 'x');
  expect(await stage.channel.startThread(conversation, { title: 'x', key: 'k', messageId: id })).toBeUndefined();
});

test('writing into an archived thread opens it again; a locked one is out of reach', async () => {
  const { stage, people, room, conversation, failureOf } = await openStage();
  await using _ = stage;
  const thread = people.thread(room, ann);
  const inThread = { ...conversation, thread };
  people.archives(thread);
  const ref = await stage.channel.send(inThread, markdown('awake'), 'o1');
  expect(stage.fake.world.channels.get(thread)?.isArchived).toBe(false);
  people.archives(thread);
  await stage.channel.edit(inThread, ref, markdown('changed'), 'o1');
  expect(stage.fake.said(thread)).toMatchObject([{ text: 'changed' }]);
  people.archives(thread, { isLocked: true });
  expect(await failureOf(stage.channel.send(inThread, markdown('shut'), 'o2'))).toMatchObject({ kind: 'unreachable' });
});

test('a sign on a message replaces the one before and can be taken away', async () => {
  const { stage, people, room, conversation } = await openStage();
  await using _ = stage;
  const id = people.says(room, ann, 'do it');
  const signs = (): readonly string[] | undefined =>
    stage.fake.transcript(room).find((message) => message.id === id)?.reactions;
  await stage.channel.react(conversation, id, 'seen');
  expect(signs()).toEqual(['👀']);
  await stage.channel.react(conversation, id, 'working');
  expect(signs()).toEqual(['⏳']);
  // Another process, which does not know what was shown.
  await stage.start();
  await stage.restart();
  await stage.channel.react(conversation, id, 'done');
  expect(signs()).toEqual(['✅']);
  await stage.channel.react(conversation, id, undefined);
  expect(signs()).toEqual([]);
  await stage.channel.react(conversation, '123', 'seen');
});

test('one channel that is throttled does not hold up another, and no call is made before its time', async () => {
  const { stage, people, conversation, failureOf } = await openStage({ realRates: true, rateStretch: 30 });
  await using _ = stage;
  const other = stage.conversation(people.dm(ann));
  let failure: { readonly kind: string; readonly afterMs?: number } = { kind: 'none' };
  for (let n = 0; n < 6; n += 1) {
    const send = stage.channel.send(conversation, markdown(`n ${n}`), `o${n}`);
    if (n < 5) await send;
    else failure = await failureOf(send);
  }
  expect(failure).toMatchObject({ kind: 'throttled', scope: 'room' });
  expect(failure.afterMs).toBeGreaterThan(1_000);
  await stage.channel.send(other, markdown('not held up'), 'other');
  // The library knows from the headers that the sixth would be refused: it never left.
  expect(stage.fake.throttled.size).toBe(0);
});

test('a limit of the whole bot says so', async () => {
  const { stage, conversation, failureOf } = await openStage({ realRates: true, rateStretch: 30 });
  await using _ = stage;
  const sends = Array.from({ length: 60 }, async () => await stage.channel.typing(conversation));
  await Promise.all(sends);
  const failures = await Promise.all(
    Array.from({ length: 60 }, async (_send, n) => {
      const room = stage.fake.people.dm(`6000000000000010${String(n).padStart(2, '0')}`);
      return await stage.channel.send(stage.conversation(room), markdown('x'), `o${n}`).then(
        () => undefined,
        (err: unknown) => stage.channel.classify(err),
      );
    }),
  );
  expect(failures.some((failure) => failure?.kind === 'throttled' && failure.scope === 'account')).toBe(true);
  expect((await failureOf(Promise.reject(new Error('x')))).kind).toBe('bad_format');
});

test('a refused token is not tried again for a while', async () => {
  const { stage, conversation, failureOf } = await openStage();
  await using _ = stage;
  stage.fake.isTokenRevoked = true;
  for (let n = 0; n < 20; n += 1) {
    expect((await failureOf(stage.channel.send(conversation, markdown('x'), `o${n}`))).kind).toBe('auth');
  }
  expect(stage.fake.rates.invalidRequests).toBe(1);
});

test('no address, token or text of a message is in an error', async () => {
  const { stage, conversation } = await openStage();
  await using _ = stage;
  stage.fake.faults.next('createMessage', { kind: 'status', code: 50_035, description: 'Invalid Form Body' });
  const error = await stage.channel.send(conversation, markdown('a secret text'), 'o1').catch((err: unknown) => err);
  const seen = new Set<unknown>();
  const spill = (value: unknown): string => {
    if (typeof value !== 'object' || value === null || seen.has(value)) return String(value);
    seen.add(value);
    return Reflect.ownKeys(value)
      .map((key) => spill(Reflect.get(value, key)))
      .join(' ');
  };
  const text = spill(error).replaceAll(/at .*\n?/g, '');
  expect(text).not.toContain('secret text');
  expect(text).not.toContain(stage.fake.token);
  expect(text).not.toContain('http://');
});

test('a file is fetched by an address that is asked for at that moment, within its limit', async () => {
  const { stage, people } = await openStage();
  await using _ = stage;
  const room = people.dm(ann);
  await stage.start();
  const content = Buffer.from('x'.repeat(200_000));
  people.says(room, ann, '', { files: [{ name: 'a.bin', bytes: content }] });
  const event = await stage.event('message');
  const [file] = event.files;
  if (file === undefined) throw new Error('no file');
  const read = async (): Promise<Buffer> => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of await stage.channel.download(file, AbortSignal.timeout(30_000))) chunks.push(chunk);
    return Buffer.concat(chunks);
  };
  expect((await read()).equals(content)).toBe(true);
  people.deletes(room, event.messageId ?? '');
  await expect(read()).rejects.toMatchObject({ code: 'file.gone' });
  await expect(
    stage.channel.download({ ...file, fetchKey: '../etc/passwd' }, AbortSignal.timeout(30_000)),
  ).rejects.toMatchObject({
    code: 'file.gone',
  });
  people.says(room, ann, '', { files: [{ name: 'big.bin', bytes: Buffer.alloc(26 * 1024 * 1024, 1) }] });
  const big = await stage.event('message', ({ files }) => files[0]?.name === 'big.bin');
  await eventually(async () => {
    const download = stage.channel.download(big.files[0] ?? file, AbortSignal.timeout(30_000));
    await expect(download).rejects.toMatchObject({ code: 'file.too_large' });
  });
});
