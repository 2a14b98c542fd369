import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { renderBody, textMax } from '#bots/slack/render-body.ts';
import { renderMrkdwn } from '#bots/slack/render-mrkdwn.ts';
import { shieldMentions } from '#bots/slack/shield-mentions.ts';
import { splitMarkdown } from '#bots/slack/split-markdown.ts';
import type { OutboundBody, OutboundPart } from '#core/outbox/outbound.ts';
import { checkBlocks } from '../../fakes/slack/validate-blocks.ts';

function render(...parts: OutboundPart[]) {
  return renderBody({ parts }, { isPlain: false });
}

/** What Slack would refuse. */
function check(body: OutboundBody): void {
  for (const isPlain of [false, true]) {
    for (const { blocks, text } of renderBody(body, { isPlain }).posts) {
      checkBlocks(JSON.parse(JSON.stringify(blocks)), 'message', { knowsNewBlocks: !isPlain });
      expect(Buffer.byteLength(text)).toBeLessThanOrEqual(4_000);
      expect(text.length).toBeGreaterThan(0);
    }
  }
}

describe('splitting', () => {
  test('a table that is too long repeats its header', () => {
    const rows = Array.from({ length: 60 }, (_, row) => `| ${row} | ${'x'.repeat(20)} |`);
    const { pieces } = splitMarkdown(['| Id | Name |', '| --- | --- |', ...rows].join('\n'), 500);
    expect(pieces.length).toBeGreaterThan(2);
    for (const piece of pieces) {
      expect(piece.length).toBeLessThanOrEqual(500);
      expect(piece.startsWith('| Id | Name |\n| --- | --- |\n')).toBe(true);
    }
    expect(pieces.flatMap((piece) => piece.split('\n').slice(2))).toEqual(rows);
  });

  test('a fence of four marks that holds one of three stays whole in every part', () => {
    const inner = Array.from({ length: 40 }, (_, line) => (line % 10 === 0 ? '```' : `line ${line}`)).join('\n');
    const { pieces } = splitMarkdown(`\`\`\`\`md\n${inner}\n\`\`\`\``, 200);
    expect(pieces.length).toBeGreaterThan(1);
    for (const piece of pieces) expect(piece).toMatch(/^````md\n[\s\S]*\n````$/);
    expect(pieces.map((piece) => piece.split('\n').slice(1, -1).join('\n')).join('\n')).toBe(inner);
  });

  test('no grapheme is cut', () => {
    const family = '👩‍👩‍👧‍👦';
    for (const piece of splitMarkdown(family.repeat(100), 101).pieces) expect(piece.replaceAll(family, '')).toBe('');
  });

  test('every piece fits, whatever the source', { timeout: 30_000 }, () => {
    fc.assert(
      fc.property(
        fc.array(fc.stringMatching(/^[a-z#>*`|-]{1,30}$/), { maxLength: 120 }),
        fc.integer({ min: 60, max: 200 }),
        (words, max) => {
          const { pieces } = splitMarkdown(words.join(' '), max);
          for (const piece of pieces) expect(piece.length).toBeLessThanOrEqual(max);
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe('limits of Slack', () => {
  test('the largest of everything passes its checks', () => {
    check({
      priority: 'urgent',
      mentions: ['U1', 'U2'],
      parts: [
        { type: 'markdown', markdown: 'word '.repeat(5_000) },
        { type: 'code', language: 'ts', text: '`'.repeat(4_000) },
        {
          type: 'fields',
          fields: Array.from({ length: 23 }, (_, n): [string, string] => [`Name ${n}`, '<&>'.repeat(60)]),
        },
        { type: 'fields', fields: [['Long', '& '.repeat(3_000)]] },
        { type: 'notice', level: 'warn', markdown: '<'.repeat(2_300) },
        { type: 'notice', level: 'error', markdown: `# Heading\n\n${'text '.repeat(900)}` },
        {
          type: 'progress',
          title: 'x'.repeat(500),
          tasks: Array.from({ length: 60 }, (_, n) => ({
            id: `${n}`,
            title: 't'.repeat(300),
            state: 'skipped' as const,
            detail: 'd'.repeat(900),
          })),
        },
        {
          type: 'buttons',
          rows: Array.from({ length: 6 }, (_, row) =>
            Array.from({ length: 30 }, (_, n) => ({
              label: `${'l'.repeat(90)}${n}`,
              token: `t${row}-${n}`,
              isDisabled: n % 3 === 0,
            })),
          ),
        },
      ],
    });
  });

  test('anything at all passes its checks', { timeout: 30_000 }, () => {
    const part: fc.Arbitrary<OutboundPart> = fc.oneof(
      fc.record({ type: fc.constant('markdown' as const), markdown: fc.string({ unit: 'binary', maxLength: 400 }) }),
      fc.record({ type: fc.constant('code' as const), text: fc.string({ unit: 'binary', maxLength: 200 }) }),
      fc.record({
        type: fc.constant('fields' as const),
        fields: fc.array(
          fc.tuple(fc.string({ unit: 'binary', maxLength: 20 }), fc.string({ unit: 'binary', maxLength: 400 })),
          { minLength: 1, maxLength: 12 },
        ),
      }),
      fc.record({
        type: fc.constant('notice' as const),
        level: fc.constantFrom('info' as const, 'warn' as const, 'question' as const, 'status' as const),
        markdown: fc.string({ unit: 'binary', maxLength: 400 }),
      }),
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 6 }), (parts) => check({ parts })),
      { numRuns: 60 },
    );
  });

  test('more than three messages become a head, a file with all of it, and the buttons', () => {
    const markdown = Array.from({ length: 6_000 }, (_, line) => `line ${line}`).join('\n');
    const { posts, files } = render(
      { type: 'markdown', markdown },
      { type: 'buttons', rows: [[{ label: 'Yes', token: 't' }]] },
    );
    expect(posts.length).toBe(1);
    expect(files[0]).toMatchObject({ name: 'answer.md' });
    expect(files[0]?.bytes.toString()).toContain('line 5999');
    expect(posts[0]?.blocks.at(-1)).toMatchObject({ type: 'actions' });
  });

  test('text of exactly the limit is one message', () => {
    expect(render({ type: 'markdown', markdown: 'x'.repeat(textMax) }).posts.length).toBe(1);
  });
});

test('a button nobody could press is refused', () => {
  expect(() => render({ type: 'buttons', rows: [[{ label: 'x' }]] })).toThrow(/neither a token nor a web address/);
  expect(() => render({ type: 'buttons', rows: [[{ label: 'x', url: 'javascript:alert(1)' }]] })).toThrow(/neither/);
});

test.each([
  ['<!channel>', '<\u2060!channel>'],
  ['<!here|here>', '<\u2060!here|here>'],
  ['<@U123>', '<\u2060@U123>'],
  ['<!subteam^S1>', '<\u2060!subteam^S1>'],
  ['@everyone and @Channel', '@\u2060everyone and @\u2060Channel'],
  ['a@here.example and @hereafter', 'a@here.example and @hereafter'],
  ['<!-- comment --> <div> if (a <b)', '<!-- comment --> <div> if (a <b)'],
])('%s rings for nobody', (text, expected) => {
  expect(shieldMentions(text)).toBe(expected);
});

test.each([
  ['**bold** _it_ ~~no~~ `a<b`', '*bold* _it_ ~no~ `a&lt;b`'],
  ['[x|y](https://a.example/?a|b)', '<https://a.example/?a%7Cb|x|y>'],
  ['<!channel> & <@U1>', '&lt;!channel&gt; &amp; &lt;@U1&gt;'],
  ['```\na & b\n```', '```\na &amp; b\n```'],
])('%s in the older dialect', (markdown, expected) => {
  expect(renderMrkdwn(markdown, 3_000)).toBe(expected);
});
