import { describe, expect, test } from 'vitest';
import { readPicture } from '#core/files/picture.ts';
import { cpuMs } from '#tests/support/cpu-ms.ts';

const hex = (...parts: string[]): Buffer => Buffer.from(parts.join('').replaceAll(' ', ''), 'hex');
const png = hex('89504e470d0a1a0a 0000000d 49484452 00000320 00000258', '0806000000');
const gif = Buffer.concat([Buffer.from('GIF89a'), hex('2003 5802 000000')]);
const jpeg = hex('ffd8 ffe0 0004 aabb ff ffdb 0003 cc ffc2 000b 08 0258 0320 01 112200');
const webp = (kind: string, rest: string): Buffer =>
  Buffer.concat([Buffer.from('RIFF'), hex('00000000'), Buffer.from(`WEBP${kind}`), hex('00000000', rest)]);

describe('the size of a picture', () => {
  test.each([
    ['PNG', png, 'image/png'],
    ['GIF', gif, 'image/gif'],
    ['JPEG, behind other segments and fill bytes', jpeg, 'image/jpeg'],
    ['WebP, lossy', webp('VP8 ', '300000 9d012a 2003 5802 0000'), 'image/webp'],
    ['WebP, lossless', webp('VP8L', '2f 1fc39500 0000000000'), 'image/webp'],
    ['WebP, extended', webp('VP8X', '10000000 1f0300 570200'), 'image/webp'],
  ])('of %s is read from its header', (_, bytes, mime) => {
    expect(readPicture(bytes)).toEqual({ mime, width: 800, height: 600 });
  });

  test('of anything else, or of half a header, is not guessed', () => {
    for (const bytes of [png, gif, jpeg, webp('VP8X', '10000000 1f0300 570200')]) {
      for (let length = 0; length < 10; length += 1) expect(readPicture(bytes.subarray(0, length))).toBeUndefined();
    }
    expect(readPicture(Buffer.from('<svg width="800" height="600">'))).toBeUndefined();
    expect(readPicture(hex('ffd8 ffe0 0000 ffe0 0000 ffe0 0000'))).toBeUndefined();
    expect(readPicture(hex('89504e470d0a1a0a 0000000d 49484452 00000000 00000258'))).toBeUndefined();
  });

  test('is found in time in a file that is all segments', () => {
    const segments = Buffer.alloc(20_000_000, hex('ffe00002'));
    hex('ffd8').copy(segments);
    expect(cpuMs(() => expect(readPicture(segments)).toBeUndefined())).toBeLessThan(200);
  });
});
