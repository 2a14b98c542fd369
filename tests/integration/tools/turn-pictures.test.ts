import { afterAll, beforeAll, expect, test } from 'vitest';
import { saveFile } from '#core/files/save-file.ts';
import { newId } from '#core/kit/ids.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';
import { pngOf } from '#tests/support/documents.ts';
import { TurnPictures } from '#workers/turn/turn-pictures.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await openTestDatabase(2);
});
afterAll(async () => await database[Symbol.asyncDispose]());

const stored = async (bytes: Uint8Array): Promise<string> => (await saveFile(database.db, { name: 'a.png', bytes })).id;
/** A picture with so much behind its end that it has this many bytes. */
const padded = (bytes: number): Buffer => Buffer.concat([pngOf(8, 8), Buffer.alloc(bytes)]);

test('pictures are loaded with their size, and from the table only once', async () => {
  const id = await stored(pngOf(40, 30));
  const pictures = new TurnPictures(database.db);
  expect((await pictures.load([id])).get(id)).toMatchObject({ mime: 'image/png', width: 40, height: 30 });
  await database.query(`delete from blob where id = '${id}'`);
  expect((await pictures.load([id])).has(id)).toBe(true);
  expect((await new TurnPictures(database.db).load([id])).has(id)).toBe(false);
});

test('what is no picture, is not kept any more or is more than vendors take is left out', async () => {
  const ids = [
    await stored(Buffer.from('text')),
    newId(),
    'no id at all',
    await stored(padded(4_000_000)),
    await stored(Object.assign(pngOf(8, 8), {}).fill(0xff, 16, 18)),
  ];
  expect((await new TurnPictures(database.db).load(ids)).size).toBe(0);
});

test('the newest are shown, until they are too many bytes for one request', async () => {
  const ids: string[] = [];
  for (let index = 0; index < 6; index += 1) ids.push(await stored(padded(3_000_000 + index)));
  const shown = await new TurnPictures(database.db).load(ids);
  expect([...shown.keys()]).toEqual(ids.slice(-4).reverse());
});
