import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { loadFile } from '#core/files/load-file.ts';
import type { ChannelCapabilities, ChannelSender } from '#core/outbox/channel-sender.ts';
import { isAction } from '#core/permissions/actions.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';
import type { Sandbox } from '#workers/sandbox/sandbox.ts';
import { sendFileTool } from '#workers/tools/send-file.ts';
import type { ToolContext } from '#workers/tools/tool.ts';

let database: TestDatabase;
let files: Map<string, Buffer>;
let uploadBytesMax: number;
beforeAll(async () => {
  database = await openTestDatabase();
  // The turn is a made-up one.
  await database.query('alter table outbox drop constraint outbox_turn_id_fkey');
});
afterAll(async () => await database[Symbol.asyncDispose]());
beforeEach(async () => {
  files = new Map();
  uploadBytesMax = 1_000;
  await database.query('delete from outbox');
  await database.query('delete from blob');
});

const tool = () =>
  sendFileTool({
    db: database.db,
    findSender: () => ({ capabilities: () => ({ uploadBytesMax }) as ChannelCapabilities }) as unknown as ChannelSender,
  });

const context = (kind: 'dm' | 'group' = 'dm'): ToolContext =>
  ({
    turnId: '01900000-0000-7000-8000-000000000001',
    origin: { channel: 'slack', account: 'T:A', room: 'C1', thread: '1.2', kind, messageId: '1.3', personId: 'p' },
    signal: new AbortController().signal,
    sandbox: async () =>
      ({
        readBytes: async (path: string, { bytesMax }: { bytesMax: number }) => {
          const bytes = files.get(path) ?? Buffer.alloc(0);
          return { bytes: bytes.subarray(0, bytesMax), totalBytes: bytes.length };
        },
      }) as unknown as Sandbox,
  }) as unknown as ToolContext;

const outbox = async () =>
  await database.query<{ thread_key: string; body: { parts: Record<string, unknown>[]; replyTo?: string } }>(
    'select thread_key, body from outbox order by created_at',
  );

describe('sending a file', () => {
  it('posts it to the thread the work came from, with its caption, as what it is', async () => {
    files.set('out/chart.png', Buffer.from('89504e470d0a1a0a0000000d4948445200000001000000010806', 'hex'));
    const result = await tool().run({ path: 'out/chart.png', caption: 'The **chart**' }, context('group'));
    expect(result).toMatchObject({ isError: false, text: expect.stringContaining('Sent chart.png (image/png') });
    const [row] = await outbox();
    expect(row?.thread_key).toBe('slack:T:A:C1:1.2');
    expect(row?.body.replyTo).toBe('1.3');
    const [caption, part] = row?.body.parts ?? [];
    expect(caption).toEqual({ type: 'markdown', markdown: 'The **chart**' });
    expect(part).toMatchObject({ type: 'file', name: 'chart.png', mime: 'image/png', dataBase64: '' });
    expect((await loadFile(database.db, String(part?.['blobId'])))?.bytes).toEqual(files.get('out/chart.png'));
  });

  it('says the same once, and what changed again', async () => {
    files.set('a.txt', Buffer.from('one'));
    await Promise.all([tool().run({ path: 'a.txt' }, context()), tool().run({ path: 'a.txt' }, context())]);
    await tool().run({ path: 'a.txt' }, context());
    expect(await outbox()).toHaveLength(1);
    expect(await database.query('select 1 from blob')).toHaveLength(1);
    files.set('a.txt', Buffer.from('two'));
    await tool().run({ path: 'a.txt' }, context());
    expect(await outbox()).toHaveLength(2);
  });

  it.each([
    ['too large for the channel', 1_001, 1_000, /has 1\.0 kB; this channel takes 1\.0 kB/],
    ['above ten megabytes on any channel', 10 * 1024 * 1024 + 1, 1_000_000_000, /10\.5 MB/],
    ['empty', 0, 1_000, /is empty/],
    ['on a channel without files', 10, 0, /takes no files/],
  ])('refuses a file that is %s', async (_why, size, max, words) => {
    files.set('x', Buffer.alloc(size, 1));
    uploadBytesMax = max;
    const result = await tool().run({ path: 'x' }, context());
    expect(result).toMatchObject({ isError: true, text: expect.stringMatching(words) });
    expect(await outbox()).toEqual([]);
  });

  it('asks the gate for the path', () => {
    const claim = tool().claim({ path: '../etc/passwd' });
    expect(claim).toMatchObject({ action: 'file.send', resource: '../etc/passwd', risk: 'low' });
    expect(isAction(claim.action)).toBe(true);
  });
});
