import { expect, test } from 'vitest';
import { parseAgent } from '#core/agents/parse-agent.ts';

const agent = (yaml: string) => parseAgent(`---\nname: scout\ndescription: d\n${yaml}\n---\nHelp.\n`, 'scout.md');

test('egress rules are read with their defaults', () => {
  const { profile, problems } = agent('egress:\n  - host: api.example.org\n    credential: key');
  expect(problems).toEqual([]);
  expect(profile?.egress).toEqual([
    {
      host: 'api.example.org',
      methods: ['GET', 'HEAD'],
      paths: ['/**'],
      ports: [443, 80],
      from: 'both',
      credential: 'key',
    },
  ]);
});

test('each mistake in a rule is told with its place', () => {
  const { problems } = agent(
    [
      'egress:',
      '  - host: https://a.org',
      '  - { host: a.org, method: [GET] }',
      '  - { host: a.org, methods: [GETT] }',
      "  - { host: '*', credential: key }",
    ].join('\n'),
  );
  expect(problems[0]).toMatch(/^scout\.md:5:11 egress\.0\.host: is a host such as/);
  expect(problems[1]).toMatch(/^scout\.md:6:20 unknown key "method", did you mean "methods"/);
  expect(problems[2]).toMatch(/^scout\.md:7:\d+ .*"GETT" is not one of/);
});

test('a credential for every host is refused at load', () => {
  expect(agent("egress:\n  - { host: '*', credential: key }").problems).toEqual([
    'scout.md:5:30 a credential needs the hosts it belongs to; "*" would send it anywhere',
  ]);
});

test('rules for the sandbox and its network are only worth something together', () => {
  expect(agent('egress:\n  - { host: a.org, from: sandbox }').problems[0]).toMatch(/scout\.md:5:26 .*network: gateway/);
  expect(agent('sandbox: { network: gateway }').problems[0]).toMatch(/scout\.md:4:21 .*add one/);
  expect(agent('sandbox: { network: gateway }\negress:\n  - { host: a.org, from: tools }').problems).toHaveLength(1);
  expect(agent('sandbox: { network: gateway }\negress:\n  - host: a.org').problems).toEqual([]);
});
