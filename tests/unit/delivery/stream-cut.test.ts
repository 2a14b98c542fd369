import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { safeCut } from '#workers/delivery/stream-cut.ts';

const held = (text: string, from = 0) => text.slice(safeCut(text, from));

describe('what may be appended to a stream for good', () => {
  it.each([
    ['plain words', ''],
    ['half of a marker *', '*'],
    ['a fence that begins ``', '``'],
    ['text\n```ts', '```ts'],
    ['text\n```ts\ncode', ''],
    ['see [the doc', '[the doc'],
    ['see [the doc](https://a.b', '[the doc](https://a.b'],
    ['see [the doc](https://a.b) now', ''],
    ['![pic', '![pic'],
    ['|a|b|\n|1|2', '|1|2'],
    ['|a|b|\n|1|2|\n', ''],
    ['emoji \ud83d', '\ud83d'],
    ['family 👩\u200d', '\u200d'],
    ['a tag <', '<'],
  ])('of %j it holds back %j', (text, back) => {
    expect(held(text)).toBe(back);
  });

  it('a bracket that never closes is not waited for longer than a line', () => {
    expect(held(`array[${'x'.repeat(500)}`)).toBe('');
    expect(held('a [b\nnext line')).toBe('');
  });

  it('what is appended piece by piece is the text, whatever it is', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: fc.constantFrom(...'ab *_`[]()|\n😀\u200d<'), maxLength: 12 }), { maxLength: 12 }),
        (pieces) => {
          let text = '';
          let appended = 0;
          const out: string[] = [];
          for (const piece of pieces) {
            text += piece;
            const end = safeCut(text, appended);
            expect(end).toBeGreaterThanOrEqual(appended);
            expect(end).toBeLessThanOrEqual(text.length);
            out.push(text.slice(appended, end));
            appended = end;
          }
          expect(out.join('') + text.slice(appended)).toBe(text);
        },
      ),
      { numRuns: 60 },
    );
  });
});
