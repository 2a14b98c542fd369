import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { describeBytes, safeFileName, unusedName } from '#core/files/file-name.ts';

describe('a safe file name', () => {
  it.each([
    ['report.pdf', 'report.pdf'],
    ['../../etc/passwd', 'passwd'],
    ['/etc/shadow', 'shadow'],
    ['C:\\Users\\me\\a.txt', 'a.txt'],
    ['..', 'file'],
    ['.', 'file'],
    ['', 'file'],
    ['.bashrc', 'bashrc'],
    ['-rf', 'rf'],
    ['a\u0000b\nc.txt', 'abc.txt'],
    ['in\u202egnp.exe', 'ingnp.exe'],
    ['a  b\u2028c.md', 'a bc.md'],
    ['what?<>:"|*`.md', 'what.md'],
    ['Bericht für März 📄.pdf', 'Bericht für März 📄.pdf'],
    ['trailing. . ', 'trailing'],
    ['\ud800x.txt', 'x.txt'],
  ])('%j becomes %j', (name, safe) => {
    expect(safeFileName(name)).toBe(safe);
  });

  it('a huge name keeps its ending and fits into a path', () => {
    const name = safeFileName(`${'ä'.repeat(5_000)}.tar`);
    expect(Buffer.byteLength(name)).toBeLessThanOrEqual(120);
    expect(name.endsWith('ä.tar')).toBe(true);
  });

  it('whatever a platform says, the name is one harmless path component', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (name) => {
        const safe = safeFileName(name);
        expect(safe).not.toMatch(/[/\\\u0000-\u001f\u007f]/);
        expect(['', '.', '..']).not.toContain(safe);
        expect(safe.startsWith('-')).toBe(false);
        expect(Buffer.byteLength(safe)).toBeLessThanOrEqual(120);
        expect(safe.isWellFormed()).toBe(true);
      }),
    );
  });
});

it('a name in use gets a number before its ending', () => {
  expect(unusedName('a.txt', new Set())).toBe('a.txt');
  expect(unusedName('a.txt', new Set(['a.txt', 'a (2).txt']))).toBe('a (3).txt');
  expect(unusedName('Makefile', new Set(['Makefile']))).toBe('Makefile (2)');
});

it('sizes are written for people', () => {
  expect([0, 999, 1_000, 9_999, 120_400, 1_000_000, 20_971_520].map(describeBytes)).toEqual([
    '0 bytes',
    '999 bytes',
    '1.0 kB',
    '10.0 kB',
    '120 kB',
    '1.0 MB',
    '21.0 MB',
  ]);
});
