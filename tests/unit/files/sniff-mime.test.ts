import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { readText, sniffMime } from '#core/files/sniff-mime.ts';

const png = Buffer.from('89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489', 'hex');
const executable = Buffer.concat([Buffer.from('7f454c460201010000000000000000000200', 'hex'), Buffer.alloc(64)]);

describe('the type of a file', () => {
  it.each([
    ['a picture that says it is text', png, 'text/plain', 'image/png'],
    ['a program that says it is a picture', executable, 'image/png', 'application/x-elf'],
    ['text that says it is a program', Buffer.from('hello'), 'application/x-elf', 'text/plain'],
    ['a page that says it is a picture', Buffer.from('<script>alert(1)</script>'), 'image/svg+xml', 'text/plain'],
    ['a table', Buffer.from('a,b\n1,2\n'), 'text/csv; charset=utf-8', 'text/csv'],
    ['JSON', Buffer.from('{"a":1}'), 'application/json', 'application/json'],
    ['bytes of no kind', Buffer.from([0, 1, 2, 3, 250]), 'text/plain', 'application/octet-stream'],
    ['nothing', Buffer.alloc(0), undefined, 'text/plain'],
    ['a type with a line break', Buffer.from('x'), 'text/x\r\nevil: 1', 'text/plain'],
  ])('%s is told by its content', async (_what, bytes, declared, mime) => {
    expect(await sniffMime(bytes, declared)).toBe(mime);
  });

  it('an archive that would unpack to gigabytes is only looked at', async () => {
    const bomb = gzipSync(Buffer.alloc(50 * 1024 * 1024));
    const before = process.memoryUsage().arrayBuffers;
    expect(await sniffMime(bomb, 'text/plain')).toBe('application/gzip');
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(10 * 1024 * 1024);
  });

  it('a signature cut off in the middle is no error', async () => {
    for (let length = 0; length < png.length; length += 1) {
      await expect(sniffMime(png.subarray(0, length))).resolves.toEqual(expect.any(String));
    }
    // The head of a zip whose directory is missing.
    await expect(sniffMime(Buffer.from('504b03041400000008', 'hex'))).resolves.toEqual(expect.any(String));
  });
});

it('text is UTF-8 without control characters', () => {
  expect(readText(Buffer.from('héllo\n\tworld\u001b[0m'))).toBe('héllo\n\tworld\u001b[0m');
  expect(readText(Buffer.from([0xff, 0xfe, 0x41]))).toBeUndefined();
  expect(readText(Buffer.from('a\u0000b'))).toBeUndefined();
});
