import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { renderPlain } from '#bots/markdown/render-plain.ts';
import { renderCode, renderStyled } from '#bots/markdown/render-styled.ts';
import { joinStyled } from '#bots/markdown/styled-text.ts';

/** Whole rendering as text, and each span as `style<covered text>`. */
function show(markdown: string, shieldMentions = false) {
  const { text, spans } = joinStyled(renderStyled(markdown, { shieldMentions }).blocks, '\n\n');
  return {
    text,
    spans: spans.map((span) => `${span.style}<${text.slice(span.offset, span.offset + span.length)}>`),
    urls: spans.flatMap((span) => (span.url === undefined ? [] : [span.url])),
    languages: spans.flatMap((span) => (span.language === undefined ? [] : [span.language])),
  };
}

describe('Markdown as styled text', () => {
  it('emphasis nests and code inside it carries no other style', () => {
    expect(show('**bold _both `code`_** ~~gone~~')).toMatchObject({
      text: 'bold both code gone',
      spans: ['bold<bold both >', 'italic<both >', 'code<code>', 'strikethrough<gone>'],
    });
  });

  it('offsets count UTF-16 units', () => {
    expect(show('👩‍💻 **é日𝒳** `👍`').spans).toEqual(['bold<é日𝒳>', 'code<👍>']);
  });

  it('headings are bold, and bold inside them is not said twice', () => {
    expect(show('## One **two**\n\ntext')).toMatchObject({ text: 'One two\n\ntext', spans: ['bold<One two>'] });
  });

  it('only web addresses become links', () => {
    const { text, spans, urls } = show(
      '[web](https://a.b/c) [run](javascript:alert(1)) [ping](tg://user?id=1) [file](file:///etc/passwd) ![pic](http://i.j/k.png)',
    );
    expect(text).toBe('web run ping file pic');
    expect(spans).toEqual(['link<web>', 'link<pic>']);
    expect(urls).toEqual(['https://a.b/c', 'http://i.j/k.png']);
  });

  it('lists keep their nesting, numbers and task states', () => {
    expect(show('- one\n- two\n  3. sub\n  4. sub **two**\n- [x] done\n- [ ] open').text).toBe(
      '• one\n• two\n  3. sub\n  4. sub two\n☑ done\n☐ open',
    );
  });

  it('a fence inside a longer fence is code', () => {
    expect(show('````md\n```js\nx\n```\n````')).toMatchObject({ text: '```js\nx\n```', languages: ['md'] });
  });

  it('code keeps its columns inside a list', () => {
    expect(show('- a\n\n  ```py\n  if x:\n      y\n  ```').spans).toEqual(['pre<if x:\n    y>']);
  });

  it('an empty fence still shows something', () => {
    expect(show('```\n```').spans).toEqual(['pre<(empty)>']);
  });

  it('a quote in a quote joins the outer one', () => {
    expect(show('> a\n> > b').spans).toEqual(['blockquote<a\nb>']);
  });

  it('a table is drawn with aligned columns, wide characters counted twice', () => {
    expect(show('|Name|Size|\n|:--|--:|\n|`x`|12|\n|日本|**1.5**|').text).toBe(
      'Name | Size\n-----+-----\nx    |   12\n日本 |  1.5',
    );
  });

  it('a table too wide for a screen becomes records', () => {
    const wide = 'w'.repeat(100);
    expect(show(`|Id|Text|\n|-|-|\n|1|${wide}|\n|2|${wide}|`).text).toBe(
      `• Id: 1\n  Text: ${wide}\n• Id: 2\n  Text: ${wide}`,
    );
  });

  it('character references and line breaks are resolved, other HTML is shown', () => {
    expect(show('a &lt; b &amp; c<br>d <b>e</b> &#x1F44D; `&lt;` &bogus;').text).toBe(
      'a < b & c\nd <b>e</b> 👍 &lt; &bogus;',
    );
  });

  it('names are shielded from becoming mentions outside code only', () => {
    const { text } = show('@everyone and @bob `@carol` mail@x.org', true);
    expect(text).toBe('@\u2060everyone and @\u2060bob @carol mail@x.org');
    expect(show('@bob').text).toBe('@bob');
  });

  it('direction overrides cannot hide what a command says', () => {
    expect(renderCode('rm \u202egpj.exe').text).toBe('rm \ufffdgpj.exe');
  });

  it('plain text keeps the addresses of links', () => {
    expect(renderPlain('# A\n\n[b **c**](http://d.e/) and `f`')).toBe('A\n\nb c (http://d.e/) and f');
  });

  it('any text at all renders well-formed with spans inside it', () => {
    const piece = fc.oneof(
      fc.constantFrom(
        ...[
          '**',
          '_',
          '`',
          '```\n',
          '~~',
          '[',
          '](',
          ')',
          'http://a.b',
          '> ',
          '- ',
          '1. ',
          '|',
          '\n',
          '\n\n',
          '# ',
          '<br>',
          '&amp;',
          '\\',
          '@',
          '\ud800',
          '👩‍💻',
          '|-|-|\n',
        ],
      ),
      fc.string({ unit: 'binary', maxLength: 8 }),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
        const { blocks } = renderStyled(pieces.join(''), { shieldMentions: true });
        for (const { text, spans } of blocks) {
          expect(text.isWellFormed()).toBe(true);
          for (const { offset, length } of spans) {
            expect(offset).toBeGreaterThanOrEqual(0);
            expect(length).toBeGreaterThan(0);
            expect(offset + length).toBeLessThanOrEqual(text.length);
          }
        }
      }),
      { numRuns: 500 },
    );
  });

  it('hostile text takes bounded time', () => {
    const units = [
      '*',
      '[',
      '`',
      '>',
      '> ',
      '- ',
      '1. ',
      '![',
      '<',
      '|',
      '_a',
      '*a ',
      '[a](',
      '~~a',
      '\n',
      '\t',
      '<!--',
      '- > ',
      '\ud800',
      '\u0301',
      '```\n',
      '|a|b|\n|-|-|\n',
    ];
    for (const unit of units) {
      for (const length of [39_000, 10_000_000]) {
        const text = unit.repeat(length / unit.length);
        const start = performance.now();
        renderStyled(text, { shieldMentions: true });
        // The budget is 200 ms on a quiet machine; a busy one gets room, a quadratic parser would need minutes.
        expect(performance.now() - start).toBeLessThan(2_000);
      }
    }
  });

  it('nesting of any depth neither throws nor overflows the stack', () => {
    const deepList = Array.from({ length: 280 }, (_, depth) => `${' '.repeat(depth)}- a`).join('\n');
    for (const text of [deepList, `${'>'.repeat(30_000)}a`, `${'- '.repeat(15_000)}a`, `${'[['.repeat(10_000)}a`]) {
      expect(renderStyled(text).blocks.length).toBeGreaterThan(0);
    }
  });
});
