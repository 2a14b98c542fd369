import { appendFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { readNextLines } from '#bots/file/tail-lines.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'sw-line-'));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Bytes this process has read, from files and everything else. */
const bytesRead = (): number => Number(/^rchar: (\d+)/.exec(readFileSync('/proc/self/io', 'utf8'))?.[1]);

test('a line that never ends is looked through once, and the lines behind it are read when it does', async () => {
  const file = path.join(folder, 'in.jsonl');
  writeFileSync(file, '');
  truncateSync(file, 64 << 20);
  const search = { of: '', to: 0 };
  const first = await readNextLines(file, undefined, search);
  const cursor = first?.cursor;
  const before = bytesRead();
  for (let look = 0; look < 20; look += 1) expect(await readNextLines(file, cursor, search)).toBeUndefined();
  expect(bytesRead() - before).toBeLessThan((64 + 20 * 3) << 20);

  appendFileSync(file, '\n{"next":true}\n');
  const passed = await readNextLines(file, cursor, search);
  expect(passed?.lines).toEqual([{ offset: 0, bytes: undefined }]);
  const next = await readNextLines(file, passed?.cursor, search);
  expect(next?.lines.map(({ bytes }) => bytes?.toString())).toEqual(['{"next":true}']);
});
