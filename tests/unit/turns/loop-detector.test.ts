import { expect, test } from 'vitest';
import { LoopDetector } from '#workers/turn/loop-detector.ts';

test('the same call is warned about at the 2nd time, refused from the 4th and ends the turn at the 9th', () => {
  const loops = new LoopDetector();
  const verdicts = Array.from({ length: 9 }, () => loops.observe('exec', { command: 'ls' }));
  expect(verdicts).toEqual(['go', 'warn', 'warn', 'block', 'block', 'block', 'block', 'block', 'end']);
});

test('arguments in another order are the same call, other arguments are another', () => {
  const loops = new LoopDetector();
  loops.observe('exec', { a: 1, b: 2 });
  expect(loops.observe('exec', { b: 2, a: 1 })).toBe('warn');
  expect(loops.observe('exec', { a: 1, b: 3 })).toBe('go');
  expect(loops.observe('read_file', { a: 1, b: 2 })).toBe('go');
});
