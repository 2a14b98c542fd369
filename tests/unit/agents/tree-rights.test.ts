import { describe, expect, test } from 'vitest';
import { mayDifferBelow, stricterBelow } from '#core/agents/tree-rights.ts';
import { testAgent } from '#tests/support/tool-context.ts';

const agent = (...grants: readonly unknown[]) => testAgent({ grants });
const facts = { risk: 'low', costMicros: 0n, channel: 'console', room: 'r', at: new Date() } as const;

describe('whether something below a folder may be decided otherwise', () => {
  const all = { allow: 'file.*', on: '/workspace/**' };

  test.each([
    ['an exception anywhere', [{ ...all, except: ['/workspace/**/.env'] }], 'src', true],
    ['an exception in the folder', [{ ...all, except: ['src/secret/**'] }], 'src', true],
    ['an exception that is the folder', [{ ...all, except: ['src/secret/**'] }], 'src/secret', true],
    ['an exception elsewhere', [{ ...all, except: ['/workspace/keys/**'] }], 'src', false],
    ['an exception with a like name', [{ ...all, except: ['/workspace/src2/**'] }], 'src', false],
    ['a literal exception below', [{ ...all, except: ['/workspace/src/a.key'] }], 'src', true],
    ['a deny below', [all, { deny: 'file.read', on: 'src/*/private' }], 'src', true],
    ['a deny above', [all, { deny: 'file.read', on: '/workspace/other/**' }], 'src', false],
    ['a deny of another action', [all, { deny: 'file.delete', on: 'src/**' }], 'src', false],
    ['grants for everything', [all, { ask: 'file.read' }], 'src', false],
    ['the root written as a point', [{ ...all, except: ['/workspace/.env'] }], '.', true],
  ])('%s', (_, grants, folder, expected) => {
    expect(mayDifferBelow(agent(...grants), 'file.read', folder)).toBe(expected);
  });
});

describe('what is stricter below', () => {
  test('is what a rule of its own asks for, denies, or no longer allows', () => {
    const profile = agent(
      { allow: 'file.read', on: '/workspace/**', except: ['**/.env'] },
      { ask: 'file.read', on: '**/ask.txt' },
      { deny: 'file.read', on: '**/deny.txt' },
    );
    const paths = ['src/a.ts', 'src/.env', 'src/ask.txt', 'src/x/deny.txt'];
    expect(stricterBelow(profile, facts, 'file.read', 'src', paths)).toEqual(paths.slice(1));
  });

  test('is not what was asked for with the folder, but still what is denied', () => {
    const profile = agent({ ask: 'file.read', on: '/workspace/**' }, { deny: 'file.read', on: '**/deny.txt' });
    expect(stricterBelow(profile, facts, 'file.read', 'src', ['src/a.ts', 'src/deny.txt'])).toEqual(['src/deny.txt']);
  });
});
