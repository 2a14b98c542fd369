import { expect, test } from 'vitest';
import { LineReader } from '#workers/browser/line-reader.ts';

function readerOf(bytesMax: number): { readonly reader: LineReader; readonly lines: string[] } {
  const lines: string[] = [];
  return { reader: new LineReader(bytesMax, (line) => lines.push(line)), lines };
}

test('lines come out whole however they are cut, characters included', () => {
  const { reader, lines } = readerOf(100);
  const bytes = Buffer.from('{"a":"tè"}\n\n{"b":1}\nrest');
  for (const byte of bytes) expect(reader.push(Buffer.of(byte))).toBe(true);
  expect(lines).toEqual(['{"a":"tè"}', '{"b":1}']);
  expect(reader.push(Buffer.from('!\n'))).toBe(true);
  expect(lines.at(-1)).toBe('rest!');
});

test('a line above the bound ends the reading, also when it comes in small parts', () => {
  const { reader, lines } = readerOf(10);
  expect(reader.push(Buffer.from('ok\n12345'))).toBe(true);
  expect(reader.push(Buffer.from('678901'))).toBe(false);
  expect(reader.push(Buffer.from('\nlater\n'))).toBe(false);
  expect(lines).toEqual(['ok']);
});
