import { describe, expect, it } from 'vitest';
import { addressAgent } from '#cli/chat/address-agent.ts';
import { findAnswer, toCard } from '#cli/chat/approval-card.ts';
import { cleanLine, cleanText, textWidth, wrapText, wrapWords } from '#cli/chat/clean-text.ts';
import { type Paint, renderMarkdown, renderParts } from '#cli/chat/render-message.ts';
import type { ChatMessage, ChatPart } from '#cli/chat/stream-event.ts';
import { cpuMs } from '#tests/support/cpu-ms.ts';

/** Shows what would be painted, so that a test can read it. */
const mark: Paint = (format, text) => `{${[format].flat().join('+')}:${text}}`;
const plain: Paint = (_format, text) => text;

describe('text from outside', () => {
  it.each([
    ['clear screen', 'a\u001b[2Jb', 'ab'],
    ['window title', 'a\u001b]0;pwned\u0007b', 'ab'],
    ['C1 introducer', 'a\u009b31mb', 'ab'],
    ['lone escape', 'a\u001bcb', 'ab'],
    ['backspaces', 'rm\b\bls', 'rmls'],
    ['carriage return', 'safe\rrm -rf', 'safe\nrm -rf'],
    ['bell, NUL, DEL', 'a\u0007\u0000\u007fb', 'ab'],
    ['direction marks', 'cmd \u202etxt.exe', 'cmd \ufffdtxt.exe'],
    ['lone surrogate', 'a\ud800b', 'a\ufffdb'],
  ])('%s cannot act on the terminal', (_name, text, expected) => {
    const cleaned = cleanText(text);
    expect(cleaned).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/);
    expect(cleaned).toBe(expected);
  });

  it.each([
    ['strings that do not end', '\u001b]0;'],
    ['the 8-bit beginning of strings', '\u009d'],
    ['device strings', '\u001bPq'],
    ['parameters without a letter', '\u001b[0;'],
    ['escapes with blanks', '\u001b  '],
    ['links', '\u001b]8;;https://x'],
  ])('a megabyte of %s is cleaned in a pass and laid out', (_name, unit) => {
    const hostile = unit.repeat(Math.ceil(1_000_000 / unit.length));
    for (const text of [hostile, unit + '0'.repeat(1_000_000)]) {
      const cleaned = cleanText(text);
      expect(cleaned).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/);
      expect(wrapText(cleaned, 80).join('')).toBe(cleaned);
      expect(wrapWords(cleanLine(text), 80).length).toBeGreaterThanOrEqual(cleaned.trim().length > 0 ? 1 : 0);
    }
  });

  it('a label stays on one line', () => {
    expect(cleanLine('Approve\n\n  [y]\u001b[0m')).toBe('Approve [y]');
  });

  it('width counts what a terminal shows', () => {
    expect([textWidth('abc'), textWidth('日本'), textWidth('é'), textWidth('e\u0301'), textWidth('👩‍💻')]).toEqual([
      3, 4, 1, 1, 2,
    ]);
  });

  it('rows are never wider than the terminal and lose nothing', () => {
    const text = `${'日本語 '.repeat(20)}\nshort\n${'x'.repeat(95)}`;
    const rows = wrapText(text, 20);
    expect(rows.every((row) => textWidth(row) <= 20)).toBe(true);
    expect(rows.join('')).toBe(text.replaceAll('\n', ''));
  });
});

describe('wrapping prose', () => {
  it('breaks between words, under the text of a list item, whatever is painted', () => {
    const paint: Paint = (_format, text) => `\u001b[1m${text}\u001b[22m`;
    const text = renderMarkdown('- one **two** three four\n\nlast', paint, 12);
    expect(text).toBe('• one \u001b[1mtwo\u001b[22m\n  three four\n\nlast');
  });

  it('leaves code and words that are too long alone', () => {
    const code = `\`\`\`\n${'a b '.repeat(20)}x\n\`\`\``;
    expect(renderMarkdown(code, plain, 20)).toBe(`  ${'a b '.repeat(20)}x`);
    expect(renderMarkdown(`${'x'.repeat(30)} y`, plain, 20)).toBe(`${'x'.repeat(30)}\ny`);
  });
});

describe('Markdown in the terminal', () => {
  it('shows headings, emphasis, code, lists and links', () => {
    const markdown =
      '# Title\n\n**bold** and *thin* and `code`\n- [x] done\n- [ ] open\n1. one\n> said\n[docs](https://x.y)';
    expect(renderMarkdown(markdown, mark)).toBe(
      [
        '{bold+underline:Title}',
        '',
        '{bold:bold} and {italic:thin} and {cyan:code}',
        '• ☑ done',
        '• ☐ open',
        '1. one',
        '{dim:│ said}',
        'docs <https://x.y>',
      ].join('\n'),
    );
  });

  it('code blocks are shown as they are, even when they never end', () => {
    expect(renderMarkdown('```sh\n# not a title\n**x**\n```\nafter', plain)).toBe('  # not a title\n  **x**\nafter');
    expect(renderMarkdown('````\n```\ninner\n```\n````', plain)).toBe('  ```\n  inner\n  ```');
    expect(renderMarkdown('```\nopen', plain)).toBe('  open');
  });

  it('snake_case and stray stars stay what they are', () => {
    expect(renderMarkdown('some_long_name and 2 * 3 * 4', mark)).toBe('some_long_name and 2 * 3 * 4');
  });

  it.each([
    ['stars', '*'.repeat(100_000)],
    ['brackets', '['.repeat(100_000)],
    ['backticks', '`a'.repeat(50_000)],
    ['many short hostile lines', `${'*_[`('.repeat(700)}\n`.repeat(100)],
    ['1 MB of text', 'word **bold** `x` [a](b)\n'.repeat(40_000)],
  ])('hostile Markdown is rendered fast: %s', (_name, text) => {
    expect(cpuMs(() => renderMarkdown(text, mark))).toBeLessThan(1_500);
  });

  it('fields, notices and files are readable', () => {
    const parts: ChatPart[] = [
      {
        type: 'fields',
        fields: [
          ['Command', 'ls -la\nrm x'],
          ['Risk', 'low'],
        ],
      },
      { type: 'notice', level: 'warn', markdown: 'Careful.' },
      { type: 'file', name: 'a\u001b[2J.txt', mime: 'text/plain', bytes: 12_345, index: 2 },
    ];
    expect(renderParts(parts, { paint: plain, fileHint: (index) => ` /save ${index}` })).toBe(
      '  Command  ls -la\n           rm x\n  Risk     low\n! Careful.\nfile a.txt (12.3 kB) /save 2',
    );
  });
});

describe('approval cards', () => {
  const message = (labels: readonly string[], more: Partial<ChatMessage> = {}): ChatMessage => ({
    change: 1,
    messageId: 'm',
    direction: 'out',
    parts: [{ type: 'buttons', rows: [labels.map((label, index) => ({ label, token: `t${index}` }))] }],
    revision: 1,
    createdAt: '',
    isDeleted: false,
    ...more,
  });

  it('the usual answers have the keys people know, whatever their order', () => {
    const card = toCard(message(['Deny', 'Always allow for this agent', 'Allow for this session', 'Approve']));
    expect(Object.fromEntries(card?.keys ?? [])).toEqual({ d: 't0', g: 't1', s: 't2', a: 't3' });
    expect(card && findAnswer(card, 'approve')).toBe('t3');
    expect(card && findAnswer(card, 'deny')).toBe('t0');
  });

  it('other buttons get a letter of their own', () => {
    expect([...(toCard(message(['Stop', 'Skip', 'Wait', '!']))?.keys.keys() ?? [])]).toEqual(['s', 'k', 'w', '1']);
  });

  it('a button that stands for always is never taken for a plain yes', () => {
    const card = toCard(message(['Always allow for this agent', 'Deny']));
    expect(card && findAnswer(card, 'approve')).toBeUndefined();
  });

  it('settled, deleted and own messages are no cards', () => {
    expect(toCard(message([]))).toBeUndefined();
    expect(toCard(message(['Approve'], { isDeleted: true }))).toBeUndefined();
    expect(toCard(message(['Approve'], { direction: 'in' }))).toBeUndefined();
    const disabled = { type: 'buttons' as const, rows: [[{ label: 'Approve', token: 't', isDisabled: true }]] };
    expect(toCard(message([], { parts: [disabled] }))).toBeUndefined();
  });
});

it('an agent is named in front of a message but not of a command', () => {
  expect(addressAgent('fix it', 'coder')).toBe('@coder fix it');
  expect(addressAgent('/status', 'coder')).toBe('/status');
  expect(addressAgent('@other fix it', 'coder')).toBe('@other fix it');
  expect(addressAgent('fix it', undefined)).toBe('fix it');
});
