import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { partsMax, renderBody, renderPreview, textMax } from '#bots/telegram/render-body.ts';
import type { OutboundPart } from '#core/outbox/outbound.ts';
import { checkEntities, checkText } from '../../fakes/telegram/validate.ts';
import { cpuMs } from '../../support/cpu-ms.ts';

const render = (parts: OutboundPart[], shieldMentions = false) => renderBody({ parts }, { shieldMentions });

describe('a message rendered for Telegram', () => {
  it('parts become one text with entities, and the buttons hang below', () => {
    const { texts, files } = render([
      { type: 'notice', level: 'warn', markdown: '**Careful**' },
      { type: 'code', language: 'sh', text: 'rm -rf ```x' },
      { type: 'fields', fields: [['Cost', '`$1`']] },
      { type: 'buttons', rows: [[{ label: 'Yes', token: 't', style: 'success' }], []] },
    ]);
    expect(files).toEqual([]);
    expect(texts).toEqual([
      {
        text: '⚠️ Careful\n\nrm -rf ```x\n\nCost: $1',
        entities: [
          { type: 'bold', offset: 3, length: 7 },
          { type: 'pre', offset: 12, length: 11, language: 'sh' },
          { type: 'bold', offset: 25, length: 5 },
          { type: 'code', offset: 31, length: 2 },
        ],
        keyboard: [[{ text: 'Yes', style: 'success', callback_data: 't' }]],
      },
    ]);
  });

  it('only the last of several messages has the buttons', () => {
    const { texts } = render([
      { type: 'markdown', markdown: 'word '.repeat(1_200) },
      { type: 'buttons', rows: [[{ label: 'Go', url: 'https://a.b' }]] },
    ]);
    expect(texts.map((text) => text.keyboard !== undefined)).toEqual([false, true]);
  });

  it('a decided card shows a disabled button', () => {
    const { texts } = render([{ type: 'buttons', rows: [[{ label: 'Approved', token: 'x', isDisabled: true }]] }]);
    expect(texts[0]).toMatchObject({ text: '…', keyboard: [[{ text: 'Approved', disabled: {} }]] });
  });

  it('too much text becomes a head and a file with all of it', () => {
    const markdown = 'many words here\n'.repeat(1_000);
    const { texts, files } = render([{ type: 'markdown', markdown }]);
    expect(markdown.length).toBeGreaterThan(partsMax * textMax);
    expect(texts.length).toBe(1);
    expect(texts[0]?.text).toMatch(/the whole text is in answer\.md$/);
    expect(texts[0]?.text.length).toBeLessThanOrEqual(textMax);
    expect(files.map(({ name, bytes }) => [name, bytes.toString()])).toEqual([['answer.md', markdown]]);
  });

  it('ten megabytes are rendered in bounded time', () => {
    const took = cpuMs(() => {
      const { files } = render([{ type: 'markdown', markdown: `${'x'.repeat(99)}\n`.repeat(100_000) }]);
      expect(files[0]?.bytes.length).toBe(10_000_000);
    });
    expect(took).toBeLessThan(2_000);
  });

  it('a button that cannot work is refused', () => {
    for (const button of [
      { label: 'x', token: '' },
      { label: 'x', token: 'é'.repeat(33) },
      { label: 'x' },
      { label: 'x', url: 'tg://user?id=1' },
    ]) {
      expect(() => render([{ type: 'buttons', rows: [[button]] }])).toThrow(/button/i);
    }
  });

  it('file names cannot leave their folder or break a header', () => {
    const { files, texts } = render([{ type: 'file', name: '../a"\r\nb', mime: 'text/plain', dataBase64: '' }]);
    expect(texts).toEqual([]);
    expect(files[0]?.name).toBe('.._a___b');
    expect(files[0]?.bytes.length).toBe(1);
  });

  it('mentions are shielded in fields and notices too', () => {
    const { texts } = render(
      [
        { type: 'fields', fields: [['Who', '@bob']] },
        { type: 'notice', level: 'info', markdown: '@eve' },
      ],
      true,
    );
    expect(texts[0]?.text).toContain('@\u2060bob');
    expect(texts[0]?.text).toContain('@\u2060eve');
  });

  it('a preview shows the newest part, as code while code is being written', () => {
    expect(renderPreview('half **bo')).toEqual({ text: 'half bo', entities: [{ type: 'bold', offset: 5, length: 2 }] });
    expect(renderPreview('')).toEqual({ text: '', entities: [] });
    const preview = renderPreview(`intro\n\n\`\`\`js\n${'let value = 1;\n'.repeat(3_000)}last`);
    expect(preview.text.endsWith('last')).toBe(true);
    expect(preview.entities).toMatchObject([{ type: 'pre', offset: 0, length: preview.text.length }]);
  });

  it('a notice that starts with a block keeps the block', () => {
    const { texts } = render([{ type: 'notice', level: 'error', markdown: '```\nexit 1\n```' }]);
    expect(texts[0]).toMatchObject({ text: '❌\n\nexit 1', entities: [{ type: 'pre', offset: 3, length: 6 }] });
  });

  it('the platform accepts the text and entities of any Markdown', () => {
    const piece = fc.oneof(
      fc.constantFrom(
        '**',
        '*',
        '_',
        '`',
        '\n```\n',
        '~~',
        '[',
        '](http://a.b)',
        '\n> ',
        '\n- ',
        '\n1. ',
        '|',
        '\n',
        '\n\n# ',
        '\n|a|b|\n|-|-|\n',
        ' ',
        '👩‍💻',
        '\ud800',
      ),
      fc.lorem({ maxCount: 40 }),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 80 }), (pieces) => {
        const { texts } = render([{ type: 'markdown', markdown: pieces.join('') }]);
        for (const { text, entities } of texts) {
          checkText(text, textMax);
          checkEntities(text, entities);
        }
        const preview = renderPreview(pieces.join(''));
        checkText(preview.text, textMax, true);
        checkEntities(preview.text, preview.entities);
      }),
      { numRuns: 500 },
    );
  });
});
