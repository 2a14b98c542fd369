import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { checkSkill } from '#core/skills/check-skill.ts';
import { parseSkill } from '#core/skills/parse-skill.ts';
import { readFolder } from '#core/skills/read-folder.ts';
import type { RawFile } from '#core/skills/skill.ts';
import { attack } from '#tests/support/attack.ts';
import { writeSkill } from '../../support/skill-files.ts';

const manifest = (rest = '', body = 'Do it.') => `---\nname: x\ndescription: For x.\n${rest}---\n${body}\n`;

function folder(): string {
  const made = mkdtempSync(path.join(tmpdir(), 'sw-skill-'));
  onTestFinished(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

function file(name: string, content = 'text', isExecutable = false): RawFile {
  return { path: name, bytes: Buffer.from(content), isExecutable };
}

function problemsOf(...files: readonly RawFile[]): readonly string[] {
  return checkSkill([file('SKILL.md', manifest()), ...files], 'x', 'x').problems;
}

test('a skill of the open format is read with everything it says', () => {
  const text = manifest(
    'license: MIT\ncompatibility: Needs git.\nmetadata:\n  version: 1.2\nallowed-tools: Bash(git:*) Read\n',
  );
  const { manifest: read, problems } = parseSkill(text, 'SKILL.md', 'x');
  expect(problems).toEqual([]);
  expect(read).toEqual({
    name: 'x',
    description: 'For x.',
    license: 'MIT',
    compatibility: 'Needs git.',
    metadata: { version: '1.2' },
    allowedTools: ['Bash(git:*)', 'Read'],
    body: 'Do it.',
  });
  expect(parseSkill(text.replaceAll('\n', '\r\n'), 'SKILL.md', 'x').manifest?.body).toBe('Do it.');
  expect(parseSkill(manifest('allowed-tools: [Bash(git status), Read]\n'), 's', 'x').manifest?.allowedTools).toEqual([
    'Bash(git status)',
    'Read',
  ]);
});

test.each([
  ['no front matter', 'S.md:1:1 the file must begin with ---'],
  ['---\nname: x\n', 'S.md:1:1 the front matter has no closing ---'],
  [manifest('hooks: x\n'), 'S.md:4:1 unknown key "hooks"; the format knows name'],
  [manifest('licence: MIT\n'), 'S.md:4:1 unknown key "licence", did you mean "license"?'],
  ['---\nname: X--y\ndescription: d\n---\nb', 'S.md:2:1 name: is made of a-z'],
  ['---\nname: y\ndescription: d\n---\nb', 'S.md:2:1 name: the skill is named "y", so its folder is y, not x'],
  ['---\nname: x\ndescription: " "\n---\nb', 'S.md:3:1 description: is empty'],
  [`---\nname: x\ndescription: ${'d'.repeat(1025)}\n---\nb`, 'S.md:3:1 description: Too big'],
  ['---\nname: x\n---\nb', 'S.md:2:1 description: Invalid input'],
  [manifest('', ''), 'S.md:1:1 the instructions below the front matter are empty'],
  ['---\nname: x\ndescription: d\n---\nhidden \u200btext', 'S.md:5:8 the invisible character U+200B'],
  ['---\nname: x\ndescription: d\n---\ntags \u{e0041}', 'S.md:5:6 the invisible character U+E0041'],
  ['---\nname: x\ndescription: d\n---\nright \u202eleft', 'S.md:5:7 the invisible character U+202E'],
  ['---\nname: x\ndescription: d\n---\nA\u034fB', 'S.md:5:2 the invisible character U+034F'],
  ['---\na: &a [1]\nb: *c\n---\nb', 'S.md:2:1 Unresolved alias'],
])('a SKILL.md with a mistake is refused with its place: %j', (text, problem) => {
  const { manifest: read, problems } = parseSkill(text, 'S.md', 'x');
  expect(read).toBeUndefined();
  expect(
    problems.some((line) => line.startsWith(problem)),
    problems.join('\n'),
  ).toBe(true);
});

test('letters that need joiners and emoji are not taken for hidden text', () => {
  for (const body of ['👩‍💻 ⚠️ 1️⃣', 'می‌خواهم', 'क्‍ष', 'naïve – “quoted” …', '中文，日本語、한국어']) {
    expect(parseSkill(manifest('', body), 'S.md', 'x').problems).toEqual([]);
  }
  expect(parseSkill(manifest('', 'a \u200d b'), 'S.md', 'x').problems).toHaveLength(1);
});

test.each([
  '../x',
  'a/../../x',
  '/etc/passwd',
  'a//b',
  './x',
  '.env',
  'a/.git/config',
  'a\\b',
  'a\nb',
  'x;rm',
  `${'d/'.repeat(9)}x`,
  'a\u202eb',
  'n'.repeat(201),
  '',
])('a file cannot be called %j', (name) => {
  expect(problemsOf(file(name))).toHaveLength(1);
});

test('what is executed lies in scripts, and two names that differ by case only are one', () => {
  expect(problemsOf(file('scripts/run.sh', '#!/bin/bash', true), file('references/a b.md'))).toEqual([]);
  expect(problemsOf(file('run.sh', '#!/bin/bash', true))).toEqual([
    'x/run.sh can be executed; what is executed belongs into scripts/',
  ]);
  expect(problemsOf(file('assets/logo.png', '\u007fELF...'))).toHaveLength(1);
  expect(problemsOf(file('a.md'), file('A.md'))).toEqual(['x/A.md has the same name as a.md']);
});

test('a skill that is too large, too many or has no SKILL.md is refused', () => {
  expect(problemsOf(file('big', 'x'.repeat(16 * 1024 * 1024)))[0]).toMatch(/at most 16777216/);
  expect(problemsOf(...Array.from({ length: 512 }, (_, index) => file(`f${index}`)))[0]).toMatch(
    /513 files; a skill has at most 512/,
  );
  expect(checkSkill([file('skill.md', manifest())], 'x', 'x').problems).toEqual(['x has no SKILL.md']);
  expect(checkSkill([file('SKILL.md', 'x'.repeat(300_000))], 'x', 'x').problems[0]).toMatch(/has 300000 bytes/);
  expect(
    checkSkill([{ path: 'SKILL.md', bytes: Buffer.from([0xff, 0xfe]), isExecutable: false }], 'x', 'x').problems[0],
  ).toMatch(/not UTF-8/);
});

attack('skills', 'links and pipes in a skill', 'refused', async () => {
  const place = writeSkill(folder(), 'x', { files: { '.git/config': 'x', 'scripts/a.sh': 'echo' } });
  const read = await readFolder(place);
  expect(read.problems).toEqual([]);
  expect(read.files.map((item) => [item.path, item.isExecutable])).toEqual([
    ['SKILL.md', false],
    ['scripts/a.sh', true],
  ]);
  symlinkSync('/etc/passwd', path.join(place, 'passwd'));
  expect((await readFolder(place)).problems[0]).toMatch(/passwd is a link/);
  rmSync(path.join(place, 'passwd'));
  symlinkSync('/etc', path.join(place, 'deep'));
  expect((await readFolder(place)).problems[0]).toMatch(/deep is a link/);
  const linked = path.join(folder(), 'x');
  symlinkSync(place, linked);
  expect((await readFolder(linked)).problems[0]).toMatch(/is a link or a file/);
});

test('the digest covers names, contents and what may be executed', () => {
  const digest = (...files: readonly RawFile[]) =>
    checkSkill([file('SKILL.md', manifest()), ...files], 'x', 'x').skill?.digest;
  const first = digest(file('scripts/a', 'one', true));
  expect(first).toMatch(/^sha256:[0-9a-f]{64}$/);
  expect(digest(file('scripts/a', 'one', true))).toBe(first);
  const others = [
    digest(file('scripts/a', 'two', true)),
    digest(file('scripts/a', 'one')),
    digest(file('scripts/b', 'one', true)),
    digest(),
  ];
  expect(new Set([first, ...others]).size).toBe(5);
});

test('a folder of very many entries is given up early', async () => {
  const place = writeSkill(folder(), 'x');
  mkdirSync(path.join(place, 'many'));
  for (let index = 0; index < 2_060; index++) writeFileSync(path.join(place, 'many', String(index)), '');
  chmodSync(place, 0o755);
  expect((await readFolder(place)).problems[0]).toMatch(/more than 512 files/);
}, 30_000);
