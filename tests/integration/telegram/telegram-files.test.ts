import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { InboundFile } from '#core/inbox/inbound.ts';
import type { OutboundBody, OutboundPart } from '#core/outbox/outbound.ts';
import { group, markdown, person, TelegramStage } from '../../support/telegram-stage.ts';

type FilePart = Extract<OutboundPart, { type: 'file' }>;

const png = (name: string, content = name): FilePart => ({
  type: 'file',
  name,
  mime: 'image/png',
  dataBase64: Buffer.from(`\u0089PNG\r\n\u001a\n${content}`, 'latin1').toString('base64'),
});
const text = (name: string, content: string): FilePart => ({
  type: 'file',
  name,
  mime: 'text/plain',
  dataBase64: Buffer.from(content).toString('base64'),
});
const body = (...parts: OutboundPart[]): OutboundBody => ({ parts });
const say = (words: string): OutboundPart => ({ type: 'markdown', markdown: words });

describe('files on Telegram', () => {
  let stage: TelegramStage;

  const read = async (file: InboundFile, signal = new AbortController().signal) => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of await stage.channel.download(file, signal)) chunks.push(chunk);
    return Buffer.concat(chunks).toString();
  };
  const problem = async (file: InboundFile) => {
    const err: unknown = await read(file).then(
      () => expect.fail('this was expected to fail'),
      (thrown: unknown) => thrown,
    );
    expect(`${String(err)} ${JSON.stringify(err)} ${String((err as Error).cause)}`).not.toContain(stage.secret);
    return err;
  };
  const sent = (kind: 'document' | 'voice', bytes: Buffer, claimedBytes?: number): InboundFile => {
    const name = 'a b.txt';
    stage.fake.people.says(person, person, {
      file: { name, mime: 'text/plain', bytes, kind, ...(claimedBytes === undefined ? {} : { claimedBytes }) },
    });
    return { name, fetchKey: stage.fake.state.files.keys().toArray().at(-1) ?? '' };
  };

  beforeEach(async () => {
    stage = await TelegramStage.open();
  });
  afterEach(async () => {
    await stage[Symbol.asyncDispose]();
  });

  it('a file of a person is fetched whole', async () => {
    const bytes = Buffer.alloc(3_000_000, 'x');
    expect(await read(sent('document', bytes))).toBe(bytes.toString());
    expect(await read(sent('voice', Buffer.from('hello')))).toBe('hello');
  });

  it('a file over twenty megabytes is explained in words a person understands', async () => {
    const file = sent('document', Buffer.from('x'), 34 * 1024 * 1024);
    const expected = {
      code: 'file.too_large',
      message: 'The file a b.txt is 34 MB; Telegram lets bots fetch files of up to 20 MB.',
      mend: 'Send a smaller one, or a link to it.',
    };
    expect(await problem({ ...file, bytes: 34 * 1024 * 1024 })).toMatchObject(expected);
    // Even when the message did not say how large it is.
    expect(await problem(file)).toMatchObject({ code: 'file.too_large' });
  });

  it('a file that is gone, a fault of the server and a broken connection are told apart', async () => {
    expect(await problem({ name: 'x', fetchKey: 'never-was' })).toMatchObject({ code: 'file.gone' });
    const file = sent('document', Buffer.from('x'));
    stage.fake.faults.next('file', { kind: 'status', code: 502, description: 'Bad Gateway' });
    expect(await problem(file)).toMatchObject({ code: 'file.unavailable' });
    stage.fake.faults.next('file', { kind: 'dropBefore' });
    expect(await problem(file)).toMatchObject({ code: 'file.unavailable' });
    stage.fake.faults.next('getFile', { kind: 'status', code: 500, description: 'Internal Server Error' });
    expect(await problem(file)).toMatchObject({ code: 'file.unavailable' });
    await stage.fake.goDown();
    expect(await problem(file)).toMatchObject({ code: 'file.unavailable' });
  });

  it('a document goes out with its name, its bytes and a short text below it', async () => {
    const ref = await stage.channel.send(stage.dm, body(say('the **log**'), text('größe.log', 'line')), 'o1');
    expect(stage.fake.said(person)).toMatchObject([
      { text: 'the log', entities: [{ type: 'bold' }], file: { name: 'größe.log', kind: 'document' } },
    ]);
    expect(stage.fake.said(person)[0]?.file?.bytes.toString()).toBe('line');
    await stage.channel.edit(stage.dm, ref, body(say('the new log'), text('größe.log', 'more')), 'o2');
    expect(stage.fake.said(person)).toMatchObject([{ text: 'the new log', edits: 1 }]);
    expect(stage.fake.said(person)[0]?.file?.bytes.toString()).toBe('more');
    await stage.channel.delete(stage.dm, ref);
    expect(stage.fake.said(person)).toEqual([]);
  });

  it('a text that is too long for a caption, or has buttons, stands before the file', async () => {
    await stage.channel.send(stage.dm, body(say('w'.repeat(1_025)), text('a.txt', 'x')), 'o1');
    const buttons: OutboundPart = { type: 'buttons', rows: [[{ label: 'Go', token: 't' }]] };
    await stage.channel.send(stage.dm, body(say('short'), buttons, text('b.txt', 'x')), 'o2');
    expect(stage.fake.said(person).map((message) => message.file?.name)).toEqual([
      undefined,
      'a.txt',
      undefined,
      'b.txt',
    ]);
  });

  it('a text that was shown as a message stays one when files join it', async () => {
    const ref = await stage.channel.send(stage.dm, markdown('working'), 'o1');
    const edited = await stage.channel.edit(stage.dm, ref, body(say('done'), text('a.txt', 'x')), 'o2');
    expect(stage.fake.said(person)).toMatchObject([
      { text: 'done', edits: 1 },
      { text: '', file: { name: 'a.txt' } },
    ]);
    expect(edited.ids).toEqual([ref.ids[0], expect.stringMatching(/^file:/)]);
  });

  it('a picture goes out as a picture, and as a document when it cannot be read as one', async () => {
    await stage.channel.send(stage.dm, body(png('chart.png')), 'o1');
    await stage.channel.send(stage.dm, body({ ...text('broken.png', 'not a picture'), mime: 'image/png' }), 'o2');
    expect(stage.fake.said(person)).toMatchObject([
      { file: { kind: 'photo', name: 'chart.png' } },
      { file: { kind: 'document', name: 'broken.png' } },
    ]);
  });

  it('several pictures are albums of at most ten with the text below the first', async () => {
    const pictures = Array.from({ length: 12 }, (_, index) => png(`p${index}.png`));
    const posted: string[] = [];
    const ref = await stage.channel.send(stage.dm, body(say('all of them'), ...pictures, text('a.txt', 'x')), 'o1', {
      posted: [],
      onPosted: async (id) => void posted.push(id),
    });
    const said = stage.fake.said(person);
    expect(said.map((message) => message.file?.name)).toEqual([...pictures.map((part) => part.name), 'a.txt']);
    expect(said.map((message) => message.text)).toEqual(['all of them', ...Array<string>(12).fill('')]);
    expect(stage.fake.callsOf('sendMediaGroup').map((call) => (call.params['media'] as unknown[]).length)).toEqual([
      10, 2,
    ]);
    expect(posted).toEqual(ref.ids);
  });

  it('an album with a broken picture goes out one by one', async () => {
    await stage.channel.send(stage.dm, body(png('a.png'), { ...text('b.png', 'x'), mime: 'image/png' }), 'o1');
    expect(stage.fake.said(person).map((message) => message.file?.kind)).toEqual(['photo', 'document']);
  });

  it('files that were interrupted go on where they stopped', async () => {
    const parts = body(text('a.txt', 'a'), text('b.txt', 'b'));
    const posted: string[] = [];
    stage.fake.faults.next('sendDocument', { kind: 'delay', ms: 0 });
    stage.fake.faults.next('sendDocument', { kind: 'throttle', retryAfter: 1 });
    const onPosted = async (id: string) => void posted.push(id);
    expect((await stage.failure(stage.channel.send(stage.dm, parts, 'o1', { posted: [], onPosted }))).kind).toBe(
      'throttled',
    );
    const ref = await stage.channel.send(stage.dm, parts, 'o1', { posted: [...posted], onPosted });
    expect(stage.fake.said(person).map((message) => message.file?.name)).toEqual(['a.txt', 'b.txt']);
    expect(posted).toEqual(ref.ids);
  });

  it('a file larger than the platform takes is refused before anything is sent', async () => {
    const huge = text('huge.bin', 'x'.repeat(50 * 1024 * 1024 + 1));
    expect((await stage.failure(stage.channel.send(stage.team, body(huge), 'o1'))).kind).toBe('too_big');
    expect(stage.fake.said(group)).toEqual([]);
  });
});
