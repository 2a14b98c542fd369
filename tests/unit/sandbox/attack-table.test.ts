import { expect, test } from 'vitest';
import { attackTable } from '#tests/support/attack-reporter.ts';

test('the table names what held, what did not and what is a documented limit', () => {
  const table = attackTable([
    { area: 'kernel', check: 'mount', how: 'seccomp', isLimit: false, state: 'passed' },
    { area: 'gateway', check: 'smuggled request', how: 'strict parser', isLimit: false, state: 'failed' },
    { area: 'host', check: 'load average is readable', how: 'gVisor hides it', isLimit: true, state: 'passed' },
  ]);
  expect(table.split('\n').slice(2)).toEqual([
    'gateway  smuggled request          NOT HELD  strict parser',
    'host     load average is readable  limit     gVisor hides it',
    'kernel   mount                     held      seccomp',
    '1 held, 1 not held, 1 documented limits.',
  ]);
});
