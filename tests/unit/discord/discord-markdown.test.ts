import fc from 'fast-check';
import { expect, test } from 'vitest';
import { renderBlocks, splitForDiscord } from '#bots/discord/discord-markdown.ts';

const nobody: ReadonlySet<string> = new Set();

function render(markdown: string, max = 2_000, mentions = nobody): string[] {
  return splitForDiscord(renderBlocks(markdown).blocks, max, mentions);
}

test.each([
  ['bold, italic and struck', '**a** *b* ~~c~~', '**a** _b_ ~~c~~'],
  ['italic inside a word', 'un*frigging*believable', 'un*frigging*believable'],
  ['nested styles', '**bold _and italic_**', '**bold _and italic_**'],
  ['headings in three sizes', '# one\n\n## two\n\n#### four', '# one\n\n## two\n\n### four'],
  ['lists', '- a\n- b\n  - c\n\n1. x\n2. y', '- a\n- b\n  - c\n\n1. x\n2. y'],
  ['tasks', '- [x] done\n- [ ] open', '☑ done\n☐ open'],
  ['quotes', '> a\n> b', '> a\n> b'],
  ['a link', '[text](https://example.com/a_b)', '[text](<https://example.com/a_b>)'],
  ['a reference link', '[text][1]\n\n[1]: https://example.com', '[text](<https://example.com/>)'],
  ['a link that looks like another one', '[https://good.example](https://evil.example)', '<https://evil.example/>'],
  ['a bare address keeps its underscores', 'https://example.com/a_b_c', 'https://example.com/a_b_c'],
  ['inline code', '`a_b`', '`a_b`'],
  ['inline code with a backtick', '`` a`b ``', '`` a`b ``'],
  ['a code block', '```ts\nconst a = `b`;\n```', '```ts\nconst a = `b`;\n```'],
  [
    'a longer fence with a fence inside',
    '````md\n```ts\nx\n```\n````',
    '```md\n`\u200b`\u200b`ts\nx\n`\u200b`\u200b`\n```',
  ],
  ['what only looks like markup', 'snake_case 2 * 3 ~ |x|', 'snake\\_case 2 \\* 3 \\~ \\|x\\|'],
  ['what was escaped', '\\# no heading', '\\# no heading'],
  ['javascript is no link', '[x](javascript:alert(1))', 'x'],
])('%s', (_, markdown, expected) => {
  expect(render(markdown).join('\n\n')).toBe(expected);
});

test('mentions are shown as text, but for the people who may be pinged', () => {
  const [text] = render('<@1> <@!2> <@&3> <#4> </run:5> <t:1> <:x:6> <a:x:7> </x:1>', 2_000, new Set(['2']));
  expect(text).toBe('\\<@1> <@2> \\<@&3> \\<#4> \\</run:5> \\<t:1> \\<:x:6> \\<a:x:7> \\</x:1>');
  expect(render('@everyone and @here')[0]).toBe('@\u200beveryone and @\u200bhere');
});

test('a table is drawn as code, and repeats its head where it is cut', () => {
  const rows = Array.from({ length: 100 }, (_row, index) => `| row ${index} | ${'x'.repeat(20)} |`);
  const parts = render(['| name | value |', '| --- | --- |', ...rows].join('\n'));
  expect(parts.length).toBeGreaterThan(1);
  for (const part of parts) expect(part).toMatch(/^```\nname +\| value\n/);
  expect(parts.join('\n').match(/row \d+/g)?.length).toBe(100);
});

test('code that is cut is closed and opened again with its language', () => {
  const lines = Array.from({ length: 300 }, (_line, index) => `line ${index} */`);
  const parts = render(`before\n\n\`\`\`\`ts\n${lines.join('\n')}\n\`\`\`\`\n\nafter`);
  for (const part of parts) expect((part.match(/^```/gm) ?? []).length % 2).toBe(0);
  expect(parts.slice(1, -1).every((part) => part.startsWith('```ts\n'))).toBe(true);
  const code = parts.flatMap((part) => [...part.matchAll(/```ts\n([\s\S]*?)\n```/g)].map(([, text]) => text));
  expect(code.join('\n').split('\n')).toEqual(lines);
});

test('text made of markup that has to be escaped still fits', () => {
  for (const text of ['*a '.repeat(2_000), '\\_'.repeat(3_000), `${'a_b '.repeat(2_000)}`, '<@1>'.repeat(900)]) {
    const parts = render(text);
    for (const part of parts) expect(part.length).toBeLessThanOrEqual(2_000);
    expect(parts.length).toBeGreaterThan(1);
  }
});

test('no emoji is cut in two', () => {
  const family = '👩‍👩‍👧‍👦';
  const parts = render(family.repeat(400));
  expect(parts.join('')).toBe(family.repeat(400));
  for (const part of parts) expect(part.replaceAll(family, '')).toBe('');
});

test('any text at all gives parts that fit and can be sent', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          fc.string({ unit: 'grapheme' }),
          fc.constantFrom('```', '**', '# ', '> ', '\n', '| a | b |\n|--|--|\n', '<@1>', '@everyone', '[a](', '\ue001'),
        ),
      ),
      (pieces) => {
        for (const part of render(pieces.join(''), 200)) {
          expect(part.length).toBeLessThanOrEqual(200);
          expect(part.isWellFormed()).toBe(true);
          // In code nobody is named.
          if (!part.includes('`')) expect(part).not.toMatch(/@(?:everyone|here)/);
        }
      },
    ),
    { numRuns: 300 },
  );
});
