import { expect, test } from 'vitest';
import type { InboundFile } from '#core/inbox/inbound.ts';
import type { OutboundBody } from '#core/outbox/outbound.ts';
import { alice, room, SlackStage } from './slack-stage.ts';

const report = { name: 'report.csv', mime: 'text/csv', bytes: Buffer.from('a,b\n1,2\n') };

async function read(stage: SlackStage, file: InboundFile): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of await stage.channel.download(file, AbortSignal.timeout(30_000))) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

async function fileOf(stage: SlackStage): Promise<InboundFile> {
  await stage.until(() => stage.events.length > 0);
  const event = stage.events[0];
  const file = event?.type === 'message' ? event.files[0] : undefined;
  if (file === undefined) throw new Error('no file came');
  return file;
}

const withFile = (text: string): OutboundBody => ({
  parts: [{ type: 'file', name: 'out.txt', mime: 'text/plain', dataBase64: Buffer.from(text).toString('base64') }],
});

test('a file of a person is read with the bot’s own right, and its address is nowhere in the event', async () => {
  await using stage = await SlackStage.open();
  stage.fake.people.mentions(room, alice, 'sum this up', { files: [report] });
  const file = await fileOf(stage);
  expect(file).toMatchObject({ name: 'report.csv', mime: 'text/csv', bytes: 8 });
  expect(JSON.stringify(stage.events)).not.toContain('files-pri');
  expect(await read(stage, file)).toBe('a,b\n1,2\n');
});

test('a stub from a shared channel is looked up', async () => {
  await using stage = await SlackStage.open();
  stage.fake.people.mentions(room, alice, 'and this', { files: [report], hasStubs: true });
  expect(await read(stage, await fileOf(stage))).toBe('a,b\n1,2\n');
});

test('the login page that comes in place of a file is not taken for it', async () => {
  await using stage = await SlackStage.open();
  stage.fake.people.mentions(room, alice, 'read it', { files: [report] });
  const file = await fileOf(stage);
  stage.fake.asksForLogin = true;
  await expect(read(stage, file)).rejects.toMatchObject({
    code: 'file.gone',
    message: expect.stringContaining('login'),
  });
});

test('a missing scope for files is told as such', async () => {
  await using stage = await SlackStage.open();
  stage.fake.people.mentions(room, alice, 'read it', { files: [report] });
  const file = await fileOf(stage);
  stage.fake.scopes.delete('files:read');
  await expect(read(stage, file)).rejects.toMatchObject({ code: 'file.gone' });
});

test('a file kept elsewhere is not fetched with our token', async () => {
  await using stage = await SlackStage.open();
  stage.fake.world.files.set('F0DRIVE', {
    id: 'F0DRIVE',
    name: 'drive.doc',
    mime: 'text/plain',
    bytes: Buffer.from('x'),
    isStub: false,
    isDeleted: false,
    externalUrl: 'https://drive.example.com/doc',
  });
  await expect(read(stage, { name: 'drive.doc', fetchKey: 'F0DRIVE' })).rejects.toMatchObject({
    code: 'file.gone',
    message: expect.stringContaining('outside of Slack'),
  });
});

test('a deleted file and one that is too large are told apart', async () => {
  await using stage = await SlackStage.open();
  stage.fake.people.mentions(room, alice, 'read it', { files: [report, { ...report, name: 'huge.bin' }] });
  await stage.until(() => stage.events.length > 0);
  const [first, second] = [...stage.fake.world.files.values()];
  if (first === undefined || second === undefined) throw new Error('two files were sent');
  first.isDeleted = true;
  second.bytes = Buffer.alloc(100 * 1024 * 1024 + 1);
  await expect(read(stage, { name: first.name, fetchKey: first.id })).rejects.toMatchObject({ code: 'file.gone' });
  await expect(read(stage, { name: second.name, fetchKey: second.id })).rejects.toMatchObject({
    code: 'file.too_large',
  });
});

test('a file of ours is uploaded into the thread', async () => {
  await using stage = await SlackStage.open();
  const thread = stage.fake.people.says(room, alice, 'make me a file');
  const ref = await stage.channel.send(stage.at({ thread }), withFile('made'), 'o1');
  const [message] = stage.fake.said(room);
  expect(message).toMatchObject({ threadTs: thread, files: [{ name: 'out.txt' }] });
  expect(message?.files[0]?.bytes.toString()).toBe('made');
  await stage.channel.delete(stage.at({ thread }), ref);
  expect(stage.fake.said(room)).toEqual([]);
});

test('an edit leaves a file that is the same and replaces one that is not', async () => {
  await using stage = await SlackStage.open();
  const ref = await stage.channel.send(stage.at(), withFile('one'), 'o1');
  const same = await stage.channel.edit(stage.at(), ref, withFile('one'), 'o1');
  expect(same).toEqual(ref);
  const other = await stage.channel.edit(stage.at(), same, withFile('two'), 'o1');
  expect(other).not.toEqual(ref);
  expect(stage.fake.said(room).map(({ files }) => files[0]?.bytes.toString())).toEqual(['two']);
});

test('a file over our limit is refused before anything is sent', async () => {
  await using stage = await SlackStage.open();
  const huge: OutboundBody = {
    parts: [
      {
        type: 'file',
        name: 'huge.bin',
        mime: 'application/octet-stream',
        dataBase64: Buffer.alloc(100 * 1024 * 1024 + 3).toString('base64'),
      },
    ],
  };
  const failure = await stage.channel.send(stage.at(), huge, 'o1').catch((err: unknown) => stage.channel.classify(err));
  expect(failure).toMatchObject({ kind: 'too_big' });
  expect(stage.fake.said(room)).toEqual([]);
});
