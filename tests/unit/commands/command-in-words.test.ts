import { expect, test } from 'vitest';
import { commandInWords } from '#core/commands/command-in-words.ts';

test.each([
  ['run the tests', { name: 'run', args: 'the tests' }],
  ['Status', { name: 'status', args: '' }],
  ['<@U123> stop', { name: 'stop', args: '' }],
  ['use coder', { name: 'use', args: 'coder' }],
  ['approve 019f', { name: 'approve', args: '019f' }],
  ['approve all', { name: 'approve', args: 'all' }],
  ['deny 019f-ab not today', { name: 'deny', args: '019f-ab not today' }],
  ['/role ann admin', { name: 'role', args: 'ann admin' }],
  ['run first line\nsecond line', { name: 'run', args: 'first line\nsecond line' }],
])('"%s" is a command', (text, command) => {
  expect(commandInWords(text)).toEqual(command);
});

test.each([
  'stop the server',
  'run',
  'use the new library for this',
  'remove the file',
  'help',
  'continue',
  'allow ann',
  'announce the release',
  'deny everything they say',
  'approve of this plan?',
  'new ideas, please',
  'constructor',
  'hello',
  '',
])('"%s" is a message', (text) => {
  expect(commandInWords(text)).toBeUndefined();
});
