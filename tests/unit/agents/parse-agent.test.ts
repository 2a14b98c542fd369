import { expect, test } from 'vitest';
import { parseAgent } from '#core/agents/parse-agent.ts';

const tools = ['exec', 'read_file', 'write_file'];

function problemsOf(text: string): readonly string[] {
  const { profile, problems } = parseAgent(text, 'agents/deployer.md', tools);
  expect(profile === undefined).toBe(problems.length > 0);
  return problems;
}

test('a good file becomes a profile with defaults, the lines of its grants and a version of its content', () => {
  const text =
    '---\nname: deployer\ndescription: Ships.\ngrants:\n  - allow: file.*\n  - ask: tool.exec\n---\n\nYou ship.\n';
  const { profile } = parseAgent(text, 'agents/deployer.md', tools);
  expect(profile).toMatchObject({
    name: 'deployer',
    model: 'default',
    autonomy: 'supervised',
    prompt: 'You ship.',
    source: 'agents/deployer.md',
    grantLines: [5, 6],
    approval: { expires_minutes: 30, approvers: ['role:owner', 'role:admin'], requester_may_approve: true },
    sandbox: { memory_mb: 512 },
  });
  expect(profile?.version).toMatch(/^[0-9a-f]{64}$/);
  const windows = parseAgent(`\uFEFF${text.replaceAll('\n', '\r\n')}`, 'agents/deployer.md');
  expect(windows.profile?.version).toBe(profile?.version);
  expect(parseAgent(text.replace('Ships', 'Sails'), 'agents/deployer.md').profile?.version).not.toBe(profile?.version);
});

test('every problem of a file is found at once, with its line, its column and what was probably meant', () => {
  expect(
    problemsOf(`---
name: deployer
description: Ships.
modle: default
autonomy: supervized
output_tokens_max: lots
tools: [exec, reed_file]
grants:
  - permit: file.read
  - allow: [file.read, tool.sheII]
    on: repo/acme/**
    when: { chanel: [slack] }
  - ask: tool.exce
    to: [role:ownr]
  - allow: file.read
    deny: file.write
  - allow: file.read
    when: { hours: 9-17, tz: Europe/Berln, until: tomorrow }
sandbox:
  memory: 512
  cpus: 99
---
You ship.
`),
  ).toEqual([
    'agents/deployer.md:4:1 unknown key "modle", did you mean "model"?',
    'agents/deployer.md:5:11 autonomy: "supervized" is not one of supervised, semi-autonomous, autonomous, did you mean "supervised"?',
    'agents/deployer.md:6:20 output_tokens_max: expected number, received string',
    'agents/deployer.md:9:5 unknown key "permit"; known are allow, ask, deny, on, except, to, when',
    'agents/deployer.md:12:13 unknown key "chanel", did you mean "channel"?',
    'agents/deployer.md:13:10 unknown action "tool.exce", did you mean "tool.exec"?',
    'agents/deployer.md:14:10 "role:ownr" does not say who may decide, did you mean "role:owner"?; write role:owner, role:admin, role:member, person:<id> or requester',
    'agents/deployer.md:15:5 a grant has exactly one of allow, ask, deny; this has allow and deny',
    'agents/deployer.md:18:20 hours are written like 08:00-18:00, not "9-17"',
    'agents/deployer.md:18:30 unknown time zone "Europe/Berln"; write it like Europe/Berlin',
    'agents/deployer.md:18:51 until is written like 2027-01-31T18:00Z, not "tomorrow"',
    'agents/deployer.md:20:3 unknown key "memory", did you mean "memory_mb"?',
    'agents/deployer.md:21:9 sandbox.cpus: too big: expected number to be <=16',
  ]);
});

test('what only shows when the rest is right is found too', () => {
  expect(
    problemsOf(`---
name: deployer
description: Ships.
tools: [exec, reed_file]
ask_above: { risk: low }
approval:
  approvers: [boss]
grants:
  - allow: file.read
    to: role:owner
---
`),
  ).toEqual([
    'agents/deployer.md:2:1 the prompt below the front matter is empty',
    'agents/deployer.md:4:15 unknown tool "reed_file", did you mean "read_file"?',
    'agents/deployer.md:5:12 ask_above works with autonomy: semi-autonomous only, and this is supervised',
    'agents/deployer.md:7:15 "boss" does not say who may decide; write role:owner, role:admin, role:member, person:<id> or requester',
    'agents/deployer.md:10:9 "to" says who may decide, so it belongs to "ask" only',
  ]);
});

test.each([
  ['You ship.', ['agents/deployer.md:1:1 the file must begin with ---']],
  ['---\nname: a\n', ['agents/deployer.md:1:1 the front matter has no closing ---']],
  [
    '---\n---\nx',
    [
      'agents/deployer.md:2:1 description: expected string, received undefined',
      'agents/deployer.md:2:1 name: expected string, received undefined',
    ],
  ],
  ['---\nname: a\nname: b\ndescription: x\n---\nx', ['agents/deployer.md:3:1 map keys must be unique']],
  ['---\nname: "a\ndescription: x\n---\nx', ['agents/deployer.md:4:1 missing closing "quote']],
  ['---\n- a\n---\nx', ['agents/deployer.md:2:1 expected object, received array']],
])('%j is refused with its place', (text, problems) => {
  expect(problemsOf(text)).toEqual(problems);
});

test.each(['../../x', 'Name With Blanks', 'a//b', 'name:tag?x=1', 'http://evil.test/x', ''])(
  'an image called %j is refused with its place',
  (image) => {
    const text = `---\nname: a\ndescription: x\nsandbox:\n  image: ${JSON.stringify(image)}\n---\nx`;
    expect(problemsOf(text)).toEqual([
      'agents/deployer.md:5:10 sandbox.image: is no name of an image. Write it as name:tag, such as switchyard-sandbox:latest.',
    ]);
  },
);

test('YAML that multiplies itself is refused, not unfolded', () => {
  const levels = Array.from({ length: 9 }, (_, n) => `  - &a${n + 1} [${`*a${n},`.repeat(9)}]`);
  const bomb = `---\nname: a\ndescription: x\ntools:\n  - &a0 [x]\n${levels.join('\n')}\n---\nx`;
  expect(problemsOf(bomb).join()).toMatch(/alias/i);
});
