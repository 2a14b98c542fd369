import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { renderStyled } from '#bots/markdown/render-styled.ts';
import { splitStyled } from '#bots/markdown/split-styled.ts';

const split = (markdown: string, textMax: number) => splitStyled(renderStyled(markdown).blocks, textMax);
const words = (text: string) => text.split(/\s+/).filter((word) => word !== '');

describe('splitting an answer', () => {
  it('cuts between blocks before it cuts a block', () => {
    expect(split(`${'a'.repeat(30)}\n\n${'b'.repeat(30)}\n\n${'c'.repeat(10)}`, 50).map((part) => part.text)).toEqual([
      'a'.repeat(30),
      `${'b'.repeat(30)}\n\n${'c'.repeat(10)}`,
    ]);
  });

  it('code that crosses a cut is code with its language in both parts', () => {
    const parts = split(`\`\`\`ts\n${Array.from({ length: 20 }, (_, line) => `  line${line}`).join('\n')}\n\`\`\``, 60);
    expect(parts.length).toBeGreaterThan(2);
    for (const { text, spans } of parts) {
      expect(spans).toEqual([{ style: 'pre', language: 'ts', offset: 0, length: text.length }]);
      expect(text.split('\n').every((line) => /^ {2}line\d+$/.test(line))).toBe(true);
    }
  });

  it('a table repeats its header in every part', () => {
    const rows = Array.from({ length: 40 }, (_, row) => `|row ${row}|${row * 7}|`).join('\n');
    const parts = split(`|Name|Value|\n|-|-|\n${rows}`, 200);
    expect(parts.length).toBeGreaterThan(2);
    for (const { text } of parts) expect(text).toMatch(/^Name +\| Value\n-+\+-+\nrow \d+/);
    expect(parts.flatMap(({ text }) => text.split('\n').slice(2)).length).toBe(40);
  });

  it('emphasis that crosses a cut goes on in the next part', () => {
    const parts = split(`**${'word '.repeat(30).trim()}**`, 60);
    for (const { text, spans } of parts) expect(spans).toEqual([{ style: 'bold', offset: 0, length: text.length }]);
  });

  it('a link is not cut', () => {
    const parts = split(`${'x '.repeat(20)}[a label of several words](http://a.b/) ${'y '.repeat(20)}`, 50);
    expect(parts.flatMap((part) => part.spans).filter((span) => span.style === 'link').length).toBe(1);
  });

  it('a grapheme is not cut, and one of absurd length is cut between code points', () => {
    for (const part of split('👩‍👩‍👧‍👦'.repeat(40), 50)) expect(part.text.length % '👩‍👩‍👧‍👦'.length).toBe(0);
    for (const part of split(`e${'\u0301'.repeat(500)}`, 50)) expect(part.text.length).toBeLessThanOrEqual(50);
    for (const part of split('👍🏽'.repeat(60), 41)) expect(part.text.isWellFormed()).toBe(true);
  });

  it('no word is lost or doubled, and no part is empty or too long', () => {
    const block = fc.oneof(
      fc.array(fc.stringMatching(/^[a-z]{1,12}$/), { minLength: 1, maxLength: 60 }).map((list) => list.join(' ')),
      fc
        .array(fc.stringMatching(/^[a-z]{1,12}$/), { minLength: 1, maxLength: 30 })
        .map((list) => `\`\`\`\n${list.join('\n')}\n\`\`\``),
      fc
        .array(fc.stringMatching(/^[a-z]{1,12}$/), { minLength: 1, maxLength: 30 })
        .map((list) => list.map((word) => `- **${word}**`).join('\n')),
    );
    fc.assert(
      fc.property(
        fc.array(block, { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 40, max: 300 }),
        (blocks, textMax) => {
          const source = blocks.join('\n\n');
          const parts = split(source, textMax);
          for (const { text } of parts) {
            expect(text.length).toBeGreaterThan(0);
            expect(text.length).toBeLessThanOrEqual(textMax);
            expect(text).toBe(text.trimEnd());
          }
          const whole = renderStyled(source)
            .blocks.map((each) => each.text)
            .join(' ');
          expect(parts.flatMap((part) => words(part.text))).toEqual(words(whole));
        },
      ),
      { numRuns: 200 },
    );
  });
});
