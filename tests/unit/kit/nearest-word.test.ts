import { expect, test } from 'vitest';
import { nearestWord } from '#core/kit/nearest-word.ts';

const known = ['tool.exec', 'tool.http', 'file.read', 'file.write', 'memory_mb', 'colour', 'ask'];

test.each([
  ['tool.exce', 'tool.exec'],
  ['tool.sheII', undefined],
  ['FILE.READ', 'file.read'],
  ['fiel.read', 'file.read'],
  ['memory', 'memory_mb'],
  ['colr', 'colour'],
  ['aks', 'ask'],
  ['permit', undefined],
  ['', undefined],
])('%j means %j', (word, meant) => {
  expect(nearestWord(word, known)).toBe(meant);
});
