import { expect, test } from 'vitest';
import { renderBody, type Unit } from '#bots/discord/render-body.ts';

const textOf = (unit: Unit | undefined): string => (unit?.kind === 'text' ? unit.content : '');

test.each([
  ['bold that is still open', 'This is **very impor …', 'This is **very impor** …'],
  ['a link that is still being written', 'See [the docs](https://exa …', 'See the docs …'],
  ['a code block that is still open', '```ts\nconst a = 1; …', '```ts\nconst a = 1;\n```\n\n…'],
])('a preview closes %s', (_, markdown, expected) => {
  const [unit] = renderBody({ parts: [{ type: 'markdown', markdown }], isUnfinished: true });
  expect(textOf(unit)).toBe(expected);
});

test('the final text is not touched', () => {
  const [unit] = renderBody({ parts: [{ type: 'markdown', markdown: 'two ** stars …' }] });
  expect(textOf(unit)).toBe('two \\*\\* stars …');
});

test('prose is text, everything with a look of its own is a card', () => {
  const kindOf = (body: Parameters<typeof renderBody>[0]): string | undefined => renderBody(body)[0]?.kind;
  const prose = { type: 'markdown' as const, markdown: 'x' };
  expect(kindOf({ parts: [prose] })).toBe('text');
  expect(kindOf({ parts: [prose], priority: 'high' })).toBe('card');
  expect(kindOf({ parts: [{ type: 'notice', level: 'info', markdown: 'x' }] })).toBe('card');
  expect(kindOf({ parts: [prose, { type: 'buttons', rows: [[{ label: 'a', token: 't' }]] }] })).toBe('card');
  expect(kindOf({ parts: [{ type: 'fields', fields: [['Name', '**x**']] }] })).toBe('text');
});

test('fields keep their styles, and code cannot end its own block', () => {
  const body = {
    parts: [
      { type: 'fields' as const, fields: [['Tool', '`exec`'] as [string, string]] },
      { type: 'code' as const, language: 'sh', text: 'echo ```; rm -rf /' },
    ],
  };
  expect(textOf(renderBody(body)[0])).toBe('**Tool:** `exec`\n\n```sh\necho `\u200b`\u200b`; rm -rf /\n```');
});

test('more than three messages become a head that says so and a file with all of it', () => {
  const markdown = Array.from({ length: 2_000 }, (_word, index) => `word${index}`).join(' ');
  const units = renderBody({ parts: [{ type: 'markdown', markdown }] });
  expect(units.map(({ kind }) => kind)).toEqual(['text', 'file']);
  expect(textOf(units[0]).length).toBeLessThanOrEqual(2_000);
  expect(textOf(units[0])).toMatch(/_… the whole text is in answer\.md_$/);
  const [, file] = units;
  expect(file?.kind === 'file' ? file.bytes.toString() : '').toBe(markdown);
});
