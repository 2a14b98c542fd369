import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatId, parseId } from '#bots/telegram/platform-id.ts';
import { renderBody, renderRichPreview, withCaption } from '#bots/telegram/render-body.ts';
import { renderRich } from '#bots/telegram/render-rich.ts';
import type { OutboundBody, OutboundPart } from '#core/outbox/outbound.ts';
import { checkRich } from '../../fakes/telegram/check-rich.ts';

const body = (...parts: OutboundPart[]): OutboundBody => ({ parts });
const say = (markdown: string): OutboundPart => ({ type: 'markdown', markdown });
const rich = (markdown: string, more: Partial<OutboundBody> = {}) =>
  renderRich({ ...body(say(markdown)), ...more }, { shieldMentions: false });
const read = (markdown: string): string => checkRich(rich(markdown)).text;

describe('a rich message of Telegram', () => {
  it.each([
    ['headings', '# One\n\n###### Six'],
    ['a table', '| a | b |\n|---|---|\n| 1 | 2 |'],
    ['tasks', '1. [ ] open'],
    ['a heading by its underline', 'One\n==='],
  ])('is made for %s', (_what, markdown) => {
    expect(rich(markdown)).toBeDefined();
  });

  it.each(['plain', '- item', '> quote', '```\n# comment\n```', 'a | b', '#tag', 'x\n\n---\n\ny'])(
    'is not made for %j',
    (markdown) => {
      expect(rich(markdown)).toBeUndefined();
    },
  );

  it('keeps alignment, numbers, checks, languages and links', () => {
    const markdown =
      '# H\n\n| a | b |\n|:-:|--:|\n| **1** | [x](https://a.b) |\n\n3. three\n4. [x] four\n\n```ts\nlet a;\n```\n\n> q\n\n---';
    const blocks = rich(markdown)?.blocks ?? [];
    expect(blocks.map((block) => block.type)).toEqual(['heading', 'table', 'list', 'pre', 'blockquote', 'divider']);
    expect(blocks[1]).toMatchObject({
      cells: [
        [
          { align: 'center', is_header: true },
          { align: 'right', is_header: true },
        ],
        [{ text: { type: 'bold', text: '1' } }, { text: { type: 'url', url: 'https://a.b/' } }],
      ],
    });
    expect(blocks[2]).toMatchObject({ items: [{ value: 3 }, { value: 4, has_checkbox: true, is_checked: true }] });
    expect(blocks[3]).toMatchObject({ language: 'ts' });
  });

  it('shows markup as the words it is made of', () => {
    expect(read('# <b onclick="x">B</b> <tg-button type="callback_data" data="x">press</tg-button>')).toBe(
      '<b onclick="x">B</b> <tg-button type="callback_data" data="x">press</tg-button>',
    );
    expect(read('# $x^2$ ||spoiler|| ==mark== [^1]')).toBe('$x^2$ ||spoiler|| ==mark== [^1]');
  });

  it('pings only who is listed', () => {
    const words = '# [Ada](tg://user?id=5) [Eve](tg://user?id=6)';
    const ids = [...JSON.stringify(rich(words, { mentions: ['5'] })).matchAll(/"id":(\d+)/g)].map(([, id]) => id);
    expect(ids).toEqual(['5']);
    expect(JSON.stringify(rich('# x', { mentions: ['5'], priority: 'urgent' }))).toContain('"text_mention"');
  });

  it('of any text at all is within the limits of the server, or is not made', () => {
    const pieces = fc.constantFrom(
      '# h\n',
      '| a | b |\n|--|--|\n| 1 | 2 |\n',
      '- [ ] t\n',
      '  - n\n',
      '> ',
      '```\n',
      '**',
      '[x](',
      ')',
      '\ud800',
      '👩‍💻',
      '<b>',
      '\n\n',
      '&lt;',
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(pieces, fc.string()), { maxLength: 60 }), (parts) => {
        const made = rich(parts.join(''));
        if (made !== undefined) checkRich(made);
        const preview = renderRichPreview(parts.join(''));
        if (preview !== undefined) checkRich(preview);
      }),
      { numRuns: 300 },
    );
  });

  it('of hostile text takes bounded time', () => {
    const start = performance.now();
    for (const unit of ['# ', '| a ', '- [ ] x\n', '> # ', '[x](', '**a ']) rich(`# h\n${unit.repeat(8_000)}`);
    expect(performance.now() - start).toBeLessThan(3_000);
  });
});

describe('captions and ids', () => {
  const file: OutboundPart = { type: 'file', name: 'a.txt', mime: 'text/plain', dataBase64: 'eA==' };
  const rendered = (...parts: OutboundPart[]) => withCaption(renderBody(body(...parts), { shieldMentions: false }));

  it('a short text goes below its file, with its styles', () => {
    const { texts, files } = rendered(say('the **log**'), file, file);
    expect(texts).toEqual([]);
    expect(files.map(({ caption }) => caption)).toEqual([
      { text: 'the log', entities: [{ type: 'bold', offset: 4, length: 3 }] },
      undefined,
    ]);
  });

  it('text that is too long, is several messages or has buttons stays before it', () => {
    expect(rendered(say('x'.repeat(1_025)), file).texts.length).toBe(1);
    expect(rendered(say('word '.repeat(1_000)), file).texts.length).toBe(2);
    expect(rendered(say('x'), { type: 'buttons', rows: [[{ label: 'a', token: 't' }]] }, file).texts.length).toBe(1);
  });

  it.each(['12', 'file:12', 'file:12:501', 'eph:501:3', 'in:501:12'])('the id %s keeps its meaning', (id) => {
    expect(formatId(parseId(id))).toBe(id);
  });

  it('an id that never was one is no message', () => {
    for (const id of ['', 'x', 'file:', 'eph:a:b', '1.5']) expect(parseId(id).messageId).toBe(0);
  });
});
