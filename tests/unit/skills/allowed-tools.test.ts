import { expect, test } from 'vitest';
import { describeLimit, outsideLimit, readToolLimit } from '#core/skills/allowed-tools.ts';

const limit = (...words: readonly string[]) => readToolLimit('s', words);

test('usual names of other programs mean our tools, and unknown names allow nothing of ours', () => {
  expect(outsideLimit(limit('Bash'), 'exec', 'anything; at all')).toBeUndefined();
  expect(outsideLimit(limit('Read', 'Grep'), 'search_files', undefined)).toBeUndefined();
  expect(outsideLimit(limit('Read'), 'write_file', undefined)).toMatch(/limits this turn to read_file/);
  expect(outsideLimit(limit('Teleport'), 'exec', 'ls')).toMatch(/limits this turn to Teleport/);
  expect(outsideLimit(limit(), 'exec', 'ls')).toMatch(/no tools at all/);
  expect(outsideLimit(limit('github__search'), 'github__search', undefined)).toBeUndefined();
});

test.each(['git status', 'git log | git shortlog', 'git', 'git -C /x diff && git status'])(
  'Bash(git:*) allows %j',
  (command) => {
    expect(outsideLimit(limit('Bash(git:*)'), 'exec', command)).toBeUndefined();
  },
);

test.each([
  'gitx',
  'git status; id',
  'git log | sh',
  'git status && $(id)',
  'git status > /workspace/x',
  'env git status',
  'echo `id`',
  'git <<EOF\nx\nEOF',
  'for f in *; do git add $f; done',
  '',
])('Bash(git:*) refuses %j', (command) => {
  expect(outsideLimit(limit('Bash(git:*)'), 'exec', command)).toMatch(/limits commands of this turn to git \*/);
});

test('several patterns count together, a pattern on anything but commands allows nothing', () => {
  const both = limit('Bash(git status)', 'exec(ls *)');
  expect(outsideLimit(both, 'exec', 'git status && ls -l')).toBeUndefined();
  expect(outsideLimit(both, 'exec', 'git status --short')).toBeDefined();
  expect(outsideLimit(limit('Read(./src/**)'), 'read_file', undefined)).toBeDefined();
  expect(outsideLimit(both, 'job_output', undefined)).toBeUndefined();
  expect(outsideLimit(both, 'job_input', undefined)).toBeDefined();
  expect(describeLimit(both)).toMatch(/^exec \(git status\), job_output/);
});
