import { expect, test } from 'vitest';
import { checkName, checkScope, checkValue, refusal } from '#core/vault/secret.ts';

const secret = {
  name: 'token',
  agents: ['assistant', 'ops-*'],
  hosts: ['api.example.org', '*.example.net', '192.0.2.7'],
};

test.each([
  ['assistant', 'api.example.org'],
  ['ops-night', 'a.example.net'],
  ['ops-', 'a.b.example.net'],
  ['assistant', '192.0.2.7'],
])('%s may use it at %s', (agent, host) => {
  expect(refusal(secret, { agent, host })).toBeUndefined();
});

test.each([
  ['assistant2', 'api.example.org'],
  ['dev', 'api.example.org'],
  ['assistant', 'example.net'],
  ['assistant', 'evilexample.net'],
  ['assistant', 'api.example.org.evil.example'],
  ['assistant', 'example.org'],
  ['assistant', ''],
])('%s may not use it at %s', (agent, host) => {
  expect(refusal(secret, { agent, host })).toBeTypeOf('string');
});

test('without agents or without hosts nobody may use it', () => {
  expect(refusal({ name: 'token', agents: [], hosts: ['a.example'] }, { agent: 'a', host: 'a.example' })).toContain(
    'a',
  );
  expect(refusal({ name: 'token', agents: ['a'], hosts: [] }, { agent: 'a', host: 'a.example' })).toContain(
    'a.example',
  );
});

test('a scope has one form', () => {
  expect(checkScope({ agents: [' Ops ', 'ops', 'a'], hosts: ['API.Example.org.', '*.b.example'] })).toEqual({
    agents: ['a', 'ops'],
    hosts: ['*.b.example', 'api.example.org'],
  });
});

test.each(['*', '*.org', 'https://a.example', 'a.example:443', 'a.example/x', 'a*.example', '-a.example', 'a b', ''])(
  'the host "%s" is refused',
  (host) => {
    expect(() => checkScope({ agents: ['a'], hosts: [host] })).toThrowError(/is no host/);
  },
);

test.each(['a b', 'a/b', '', 'a'.repeat(40), 'ä'])('the agent "%s" is refused', (agent) => {
  expect(() => checkScope({ agents: [agent], hosts: [] })).toThrowError(/is no agent/);
});

test('a value is kept as it is but for the line break at its end', () => {
  expect(checkValue('  spaced value \n')).toBe('  spaced value ');
  expect(checkValue('two\nlines\r\n')).toBe('two\nlines');
});

test.each(['', 'short', '1234567\n', `nul\0${'x'.repeat(10)}`, `lone\ud800${'x'.repeat(10)}`, 'x'.repeat(20_000)])(
  'a value that cannot be kept is refused without being repeated',
  (value) => {
    const err = (() => {
      try {
        checkValue(value);
        return undefined;
      } catch (cause) {
        return cause;
      }
    })();
    expect(err).toMatchObject({ code: 'credential.invalid' });
    if (value.length > 5) expect(String(err)).not.toContain(value.slice(0, 6));
  },
);

test.each(['', 'A', '1a', 'a b', 'a|b', '../a', 'sk live', 'a'.repeat(65)])(
  'the name "%s" is refused without being repeated',
  (name) => {
    expect(() => checkName(name)).toThrowError('That cannot be the name of a secret.');
  },
);
