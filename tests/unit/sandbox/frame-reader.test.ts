import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ReadBudget } from '#workers/sandbox/read-budget.ts';
import { encodeFrame, FrameReader, smallBodyBytes } from '#workers/sandbox/toolbox-protocol.ts';
import { wholeCharacters } from '#workers/sandbox/whole-characters.ts';

const bytesOf = (header: Readonly<Record<string, unknown>>, body: Uint8Array) =>
  Buffer.concat(encodeFrame(header, body));

describe('a frame reader', () => {
  const frames = fc.array(fc.record({ id: fc.nat(), body: fc.uint8Array({ maxLength: 9000 }) }), { maxLength: 8 });

  test('finds the same frames however the bytes are cut', () => {
    fc.assert(
      fc.property(frames, fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 1 }), (sent, cuts) => {
        const stream = Buffer.concat(sent.map(({ id, body }) => bytesOf({ id }, body)));
        const reader = new FrameReader();
        const found: { id: unknown; body: string }[] = [];
        for (let at = 0, i = 0; at < stream.length; i++) {
          const step = cuts[i % cuts.length] ?? 1;
          for (const { header, body } of reader.push(stream.subarray(at, at + step), () => 9000)) {
            found.push({ id: (header as { id: unknown }).id, body: body.toString('hex') });
          }
          at += step;
        }
        expect(found).toEqual(sent.map(({ id, body }) => ({ id, body: Buffer.from(body).toString('hex') })));
      }),
      { numRuns: 200 },
    );
  });

  test('takes a body up to what may come now, and gives up at the first length beyond', () => {
    const large = bytesOf({ id: 1 }, Buffer.alloc(50_000));
    expect(new FrameReader().push(large, () => 50_000)).toHaveLength(1);
    expect(() => new FrameReader().push(large.subarray(0, 8), () => 49_999)).toThrow(
      expect.objectContaining({ code: 'sandbox.protocol' }),
    );
    const small = bytesOf({ id: 1 }, Buffer.alloc(smallBodyBytes));
    expect(new FrameReader().push(small, () => 0)).toHaveLength(1);
  });
});

describe('a read budget', () => {
  test('lets an everyday amount through at once and slows a flood of bytes or frames', () => {
    expect(new ReadBudget().spend(20 << 20, 6)).toBe(0);
    expect(new ReadBudget().spend(1 << 30, 1)).toBeGreaterThan(10_000);
    expect(new ReadBudget().spend(100, 200_000)).toBeGreaterThan(5_000);
  });
});

test('a cut never falls into a character', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), fc.nat(), (text, at) => {
      const whole = Buffer.from(text.toWellFormed());
      const part = whole.subarray(0, 1 + (at % whole.length));
      const kept = part.subarray(0, wholeCharacters(part)).toString();
      expect(kept).not.toContain('\uFFFD');
      expect(text.toWellFormed().startsWith(kept)).toBe(true);
      expect(part.length - wholeCharacters(part)).toBeLessThan(4);
    }),
  );
});
