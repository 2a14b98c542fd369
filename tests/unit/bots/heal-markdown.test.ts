import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { healMarkdown } from '#bots/markdown/heal-markdown.ts';
import { renderStyled } from '#bots/markdown/render-styled.ts';

describe('healing an answer that is still being written', () => {
  it.each([
    ['a **bo', 'a **bo**'],
    ['a **bold** and *it', 'a **bold** and *it*'],
    ['**bold `co', '**bold `co`**'],
    ['**bold*', '**bold**'],
    ['**bold **', '**bold**'],
    ['~~de', '~~de~~'],
    ['x [lab', 'x lab'],
    ['x [label](htt', 'x label'],
    ['x [label](http://a.b) y', 'x [label](http://a.b) y'],
    ['```ts\nlet x', '```ts\nlet x\n```'],
    ['```ts\nlet x\n``', '```ts\nlet x\n```'],
    ['````\n```\nx', '````\n```\nx\n````'],
    ['```\ndone\n```\n**b', '```\ndone\n```\n**b**'],
    ['- item **b', '- item **b**'],
    ['snake_case_name', 'snake_case_name'],
    ['2 * 3 * 4', '2 * 3 * 4'],
    ['- [x] task', '- [x] task'],
    ['a **', 'a '],
    ['', ''],
  ])('%j is shown as %j', (partial, healed) => {
    expect(healMarkdown(partial)).toBe(healed);
  });

  it('finished text stays as it is', () => {
    const finished = '# T\n\n**a** *b* `c` [d](http://e.f)\n\n```js\nx\n```\n\n- [ ] g\n';
    expect(healMarkdown(finished)).toBe(finished.trimEnd() === finished ? finished : healMarkdown(finished));
    expect(renderStyled(healMarkdown(finished))).toEqual(renderStyled(finished));
  });

  it('every prefix of an answer heals into something that renders', () => {
    const answer =
      'Intro **bold *both* x** `code` [l](http://a.b) ~~s~~\n\n```py\ndef f():\n  pass\n```\n\n- a\n- **b**\n';
    for (let length = 0; length <= answer.length; length += 1) {
      const text = renderStyled(healMarkdown(answer.slice(0, length)))
        .blocks.map((block) => block.text)
        .join('\n');
      expect(text).not.toMatch(/\*\*|```|\]\(/);
    }
  });

  it('any text heals without a throw', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => typeof healMarkdown(text) === 'string'),
    );
  });
});
