import { describe, expect, test } from 'vitest';
import { cpuMs } from '#tests/support/cpu-ms.ts';
import { diffLines, editText } from '#workers/tools/edit-text.ts';

const edit = (text: string, from: string, to: string, all = false) => editText(text, from, to, all);
const problem = (text: string, from: string, to = 'x') => {
  const result = edit(text, from, to);
  return 'problem' in result ? result.problem : undefined;
};

describe('an exact replacement', () => {
  test('changes the one place where the text stands, and nothing else', () => {
    expect(edit('a\nb = 1\nc\n', 'b = 1', 'b = 2')).toEqual({
      text: 'a\nb = 2\nc\n',
      count: 1,
      diff: '@ line 2\n- b = 1\n+ b = 2',
    });
  });

  test('takes dollar signs and backslashes as they are', () => {
    expect(edit('price: X', 'X', '$& $1 \\n')).toMatchObject({ text: 'price: $& $1 \\n' });
  });

  test('of a text that stands more than once needs to be told, and names the lines', () => {
    expect(problem('x\ny\nx\n', 'x', 'z')).toContain('2 times in the file (lines 1, 3)');
    expect(edit('x\ny\nx\n', 'x', 'z', true)).toMatchObject({ text: 'z\ny\nz\n', count: 2 });
  });

  test('may delete, and may not do nothing', () => {
    expect(edit('one two', ' two', '')).toMatchObject({ text: 'one' });
    expect(problem('one', 'one', 'one')).toContain('the same');
  });

  test('keeps Windows line ends', () => {
    expect(edit('a\r\nb\r\nc\r\n', 'a\nb', 'a\nnew\nb')).toMatchObject({ text: 'a\r\nnew\r\nb\r\nc\r\n' });
    expect(edit('a\r\nb\r\n', 'b', 'b\nc')).toMatchObject({ text: 'a\r\nb\r\nc\r\n' });
  });
});

describe('a text that is not there', () => {
  test('is told with the place where only white space differs', () => {
    const said = problem('function f() {\n\treturn 1;\n}\n', 'function f() {\n  return 1;\n}');
    expect(said).toContain('At line 1 it stands with other white space:\nfunction f() {\n\treturn 1;\n}');
  });

  test('is told with the line most like it', () => {
    const said = problem('import a\n\nconst total = sum(prices);\nend\n', 'const total = sum(price);');
    expect(said).toContain('line 3:\nconst total = sum(prices);');
    expect(problem('nothing alike\n', 'zzzzqqqq')).toContain('Nothing in the file is like it');
  });

  test('is told when line numbers were copied with it', () => {
    expect(problem('a\nb\n', '1\ta\n2\tb')).toContain('Leave out the line numbers');
  });

  test('takes no time to look for in a large file', () => {
    const took = cpuMs(() => {
      problem('some line of code that is quite like the others\n'.repeat(80_000), 'some other line of code, alike');
      problem(`${'a'.repeat(4_000_000)}`, 'b'.repeat(1_000_000));
    });
    expect(took).toBeLessThan(3_000);
  });
});

test('a diff shows what differs and leaves out what is the same at both ends', () => {
  expect(diffLines('same\nold\nend', 'same\nnew\nmore\nend')).toBe('- old\n+ new\n+ more');
  const long = Array.from({ length: 40 }, (_, index) => `line ${index}`).join('\n');
  expect(diffLines('', long).split('\n').length).toBeLessThan(20);
});
