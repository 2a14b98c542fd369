import fc from 'fast-check';
import { expect, test } from 'vitest';
import { compileCommandGlob, compileGlob } from '#core/permissions/glob.ts';
import { cpuMs } from '#tests/support/cpu-ms.ts';

test.each([
  ['/workspace/**', '/workspace', true],
  ['/workspace/**', '/workspace/a/b', true],
  ['/workspace/**', '/workspaces', false],
  ['/workspace/*', '/workspace/a', true],
  ['/workspace/*', '/workspace/a/b', false],
  ['**/.env', '.env', true],
  ['**/.env', '/workspace/a/.env', true],
  ['**/.env', '/workspace/a.env', false],
  ['a/**/b', 'a/b', true],
  ['a/**/b', 'a/x/y/b', true],
  ['a/**/b', 'axb', false],
  ['**', '', true],
  ['*.ts', 'a.ts', true],
  ['*.ts', 'a/b.ts', false],
  ['a.c', 'abc', false],
  ['(a+)+$', '(a+)+$', true],
])('path pattern %s against %s is %s', (pattern, text, isMatch) => {
  expect(compileGlob(pattern).matches(text)).toBe(isMatch);
});

test.each([
  ['git status', 'git status', true],
  ['git status', 'git status -s', false],
  ['git status *', 'git status', true],
  ['git status *', 'git status -s src/a.ts', true],
  ['git status *', 'git statusx', false],
  ['rm *', 'rm', true],
  ['* --force', 'git push --force', true],
  ['npm run *', 'npm run a/b', true],
  ['mkfs*', 'mkfs.ext4 /dev/sda', true],
])('command pattern %s against %s is %s', (pattern, text, isMatch) => {
  expect(compileCommandGlob(pattern).matches(text)).toBe(isMatch);
});

/** The meaning written down once more, by recursion over the rest of pattern and text. */
function oracle(pattern: string, text: string, isStart = true): boolean {
  if (pattern === '') return text === '';
  if (pattern === '/**') return text === '' || text.startsWith('/');
  const isSegmentStart = isStart;
  if (pattern.startsWith('**/') && isSegmentStart) {
    if (oracle(pattern.slice(3), text, true)) return true;
    return [...text].some((char, at) => char === '/' && oracle(pattern.slice(3), text.slice(at + 1), true));
  }
  const stars = /^\*+/.exec(pattern)?.[0];
  if (stars !== undefined) {
    for (let length = 0; length <= text.length; length++) {
      if (stars.length === 1 && text.slice(0, length).includes('/')) break;
      if (oracle(pattern.slice(stars.length), text.slice(length), false)) return true;
    }
    return false;
  }
  return text[0] === pattern[0] && oracle(pattern.slice(1), text.slice(1), pattern[0] === '/');
}

test('path patterns mean what a plain recursive reading of them means', () => {
  const letters = (alphabet: string[], maxLength: number) =>
    fc.array(fc.constantFrom(...alphabet), { maxLength }).map((list) => list.join(''));
  fc.assert(
    fc.property(letters(['a', 'b', '/', '*', '**', '**/', '/**'], 7), letters(['a', 'b', '/'], 9), (pattern, text) => {
      // Three stars and more are a run; the oracle reads them the same way only where no slash stands beside them.
      fc.pre(!/\*{3}/.test(pattern));
      expect(compileGlob(pattern).matches(text), `${pattern} ~ ${text}`).toBe(oracle(pattern, text));
    }),
    { numRuns: 20_000, seed: 7 },
  );
});

test('whether a text may be the beginning of a match is answered as trying all endings answers it', () => {
  const letters = (alphabet: string[], maxLength: number) =>
    fc.array(fc.constantFrom(...alphabet), { maxLength }).map((list) => list.join(''));
  const endings = [''];
  for (let at = 0; at < 400; at++) endings.push(...['a', 'b', '/'].map((letter) => (endings[at] ?? '') + letter));
  fc.assert(
    fc.property(letters(['a', 'b', '/', '*', '**', '**/', '/**'], 5), letters(['a', 'b', '/'], 6), (pattern, text) => {
      fc.pre(pattern.replaceAll('*', '').length <= 5);
      const glob = compileGlob(pattern);
      const canMatch = endings.some((ending) => glob.matches(text + ending));
      expect(glob.mayBegin(text), `${pattern} ~ ${text}`).toBe(canMatch);
    }),
    { numRuns: 3_000, seed: 7 },
  );
});

test('a pattern made to blow up a backtracking matcher is answered at once', () => {
  const took = cpuMs(() => {
    expect(compileGlob(`${'*a'.repeat(200)}b`).matches('a'.repeat(5000))).toBe(false);
    expect(compileGlob(`${'**/a'.repeat(100)}b`).matches('a/'.repeat(2500))).toBe(false);
  });
  expect(took).toBeLessThan(20_000);
});
