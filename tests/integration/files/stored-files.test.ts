import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hydrateBody } from '#core/files/hydrate-body.ts';
import { loadFile, ownFiles } from '#core/files/load-file.ts';
import { pruneFiles } from '#core/files/prune-files.ts';
import { filePart, recentBytes, saveFile } from '#core/files/save-file.ts';
import { newId } from '#core/kit/ids.ts';
import type { ChannelCapabilities } from '#core/outbox/channel-sender.ts';
import { putMessages } from '#core/outbox/put-messages.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(async () => await database[Symbol.asyncDispose]());

const conversation = { channel: 'telegram', account: '1', room: '2', kind: 'dm' } as const;
const sender = (uploadBytesMax: number, takesBlobs = false) => ({
  takesBlobs,
  capabilities: () => ({ uploadBytesMax }) as ChannelCapabilities,
});

async function store(content: string, more: { owner?: string; name?: string } = {}) {
  return await saveFile(database.db, { name: more.name ?? 'a.txt', bytes: Buffer.from(content), ...more });
}

describe('a stored file', () => {
  it('gets a safe name and the type of its content, whatever was claimed', async () => {
    const bytes = Buffer.from('%PDF-1.7\n%âãÏÓ');
    const stored = await saveFile(database.db, { name: '../../x\u0000.png', mime: 'image/png', bytes });
    expect(stored).toMatchObject({ name: 'x.png', mime: 'application/pdf', bytes: bytes.length });
    expect((await loadFile(database.db, stored.id))?.bytes).toEqual(bytes);
  });

  it('belongs to whoever stored it', async () => {
    const mine = await store('mine', { owner: 'web:a' });
    const other = await store('other', { owner: 'web:b' });
    const found = await ownFiles(database.db, 'web:a', [other.id, mine.id, newId(), "'; drop table blob; --"]);
    expect(found).toEqual([{ id: mine.id, name: 'a.txt', mime: 'text/plain', bytes: 4 }]);
    expect(await recentBytes(database.db, 'web:a')).toBe(4);
  });

  it('is nothing under a made-up id', async () => {
    expect(await loadFile(database.db, newId())).toBeUndefined();
    expect(await loadFile(database.db, 'nonsense')).toBeUndefined();
  });
});

describe('a body with a stored file', () => {
  it('gets its bytes right before it is sent', async () => {
    const stored = await store('content');
    const body = { parts: [{ type: 'markdown' as const, markdown: 'see' }, filePart(stored)] };
    const { parts } = await hydrateBody(database.db, body, sender(100), conversation);
    expect(parts[1]).toMatchObject({ name: 'a.txt', dataBase64: Buffer.from('content').toString('base64') });
    expect(parts[1]).not.toHaveProperty('blobId');
  });

  it('stays as it is for a channel that reads stored files itself', async () => {
    const body = { parts: [filePart(await store('content'))] };
    expect(await hydrateBody(database.db, body, sender(100, true), conversation)).toBe(body);
  });

  it('says so when the file is too large for the channel, or gone', async () => {
    const stored = await store('content');
    const text = async (uploadBytesMax: number, part = filePart(stored)) => {
      const { parts } = await hydrateBody(database.db, { parts: [part] }, sender(uploadBytesMax), conversation);
      return JSON.stringify(parts);
    };
    expect(await text(6)).toContain('larger than this channel takes (6 bytes)');
    expect(await text(0)).toContain('takes no files');
    expect(await text(100, { ...filePart(stored), blobId: newId() })).toContain('not kept any more');
  });
});

describe('pruning', () => {
  const age = async (id: string, days: number) => {
    await database.query(`update blob set kept_until = clock_timestamp() - make_interval(days => $2) where id = $1`, [
      id,
      days,
    ]);
  };

  it('removes what is past its time, but nothing a message on its way needs', async () => {
    const [old, young, needed] = [await store('1'), await store('2'), await store('3')];
    await age(old.id, 1);
    await age(needed.id, 1);
    await putMessages(database.db, [
      { key: 'k', conversation, importance: 'result', body: { parts: [filePart(needed)] } },
    ]);
    expect(await pruneFiles({ db: database.db })).toBe(1);
    expect(await loadFile(database.db, old.id)).toBeUndefined();
    expect(await loadFile(database.db, young.id)).toBeDefined();
    expect(await loadFile(database.db, needed.id)).toBeDefined();
    await database.query(`update outbox set state = 'sent' where key = 'k'`);
    expect(await pruneFiles({ db: database.db })).toBe(1);
  });

  it('a delivery keeps the file for another week', async () => {
    const stored = await store('again');
    await age(stored.id, 1);
    await hydrateBody(database.db, { parts: [filePart(stored)] }, sender(100), conversation);
    expect(await pruneFiles({ db: database.db })).toBe(0);
    const [row] = await database.query<{ days: number }>(
      `select round(extract(epoch from kept_until - clock_timestamp()) / 86400)::int as days from blob where id = $1`,
      [stored.id],
    );
    expect(row?.days).toBe(7);
  });
});
