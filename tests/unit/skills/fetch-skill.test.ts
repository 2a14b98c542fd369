import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, onTestFinished, test } from 'vitest';
import { fetchSkill } from '#core/skills/fetch-skill.ts';
import { readTar } from '#core/skills/read-tar.ts';
import { attack } from '#tests/support/attack.ts';
import { writeSkill } from '../../support/skill-files.ts';

const { signal } = new AbortController();

function folder(): string {
  const made = mkdtempSync(path.join(tmpdir(), 'sw-skill-'));
  onTestFinished(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

/** One entry of a tar archive, as hostile as wanted. */
function entry(
  name: string,
  content = '',
  options: { readonly type?: string; readonly size?: string; readonly link?: string } = {},
): Buffer {
  const header = Buffer.alloc(512);
  header.write(name, 0, 100);
  header.write('0000755\0', 100);
  header.write(options.size ?? `${content.length.toString(8).padStart(11, '0')}\0`, 124);
  header.write(options.type ?? '0', 156);
  header.write(options.link ?? '', 157, 100);
  header.write('ustar\u000000', 257);
  header.write('        ', 148);
  header.write(
    `${header
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, '0')}\0 `,
    148,
  );
  const body = Buffer.alloc(Math.ceil(content.length / 512) * 512);
  body.write(content);
  return Buffer.concat([header, body]);
}

const end = Buffer.alloc(1024);
const manifest = '---\nname: packed\ndescription: d\n---\nbody\n';

async function fromArchive(...entries: readonly Buffer[]): Promise<unknown> {
  const archive = path.join(folder(), 'x.tar.gz');
  writeFileSync(archive, gzipSync(Buffer.concat([...entries, end])));
  return await fetchSkill(archive, signal);
}

test('an archive made by tar is read with its modes and its long names', async () => {
  const place = folder();
  const long = `references/${'long-name-'.repeat(12)}.md`;
  const split = `references/${'long-'.repeat(15)}/${'name-'.repeat(15)}.md`;
  writeSkill(place, 'packed', { files: { 'scripts/run.sh': 'echo', [long]: 'long', [split]: 'split' } });
  for (const format of ['gnu', 'pax', 'ustar']) {
    const archive = path.join(place, `${format}.tar.gz`);
    // The oldest format has room for long names only where they can be split at a folder.
    if (format === 'ustar') rmSync(path.join(place, 'packed', long));
    execFileSync('tar', ['--format', format, '-czf', archive, '-C', place, 'packed']);
    const { skill, source } = await fetchSkill(archive, signal);
    expect(skill.files.map((file) => [file.path, file.isExecutable])).toEqual([
      ['SKILL.md', false],
      [split, false],
      ...(format === 'ustar' ? [] : [[long, false]]),
      ['scripts/run.sh', true],
    ]);
    expect(source).toBe(`archive:${archive}`);
  }
});

for (const [what, entries, problem] of [
  [
    'a link',
    [entry('packed/SKILL.md', manifest), entry('packed/x', '', { type: '2', link: '/etc/passwd' })],
    /holds a link or device/,
  ],
  ['a hard link', [entry('packed/x', '', { type: '1', link: '/etc/passwd' })], /holds a link or device/],
  ['a device', [entry('packed/x', '', { type: '3' })], /holds a link or device/],
  ['a way out', [entry('SKILL.md', manifest), entry('../../etc/cron.d/x', 'x')], /leads out of the skill/],
  ['an absolute name', [entry('SKILL.md', manifest), entry('/etc/cron.d/x', 'x')], /leads out of the skill/],
  ['a size beyond its end', [entry('SKILL.md', manifest, { size: '77777777777\0' })], /cut off or damaged/],
  ['a size that is no number', [entry('SKILL.md', manifest, { size: '-0000000001\0' })], /cut off or damaged/],
  ['a wrong sum', [Buffer.from(entry('SKILL.md', manifest)).fill(1, 0, 3)], /no tar archive, or damaged/],
  ['no skill', [entry('README.md', 'x')], /has no SKILL\.md/],
  ['two skills', [entry('a/SKILL.md', manifest), entry('b/SKILL.md', manifest)], /has 2 skills: a, b/],
] as const) {
  attack('skills', `27: an archive of a skill with ${what}`, 'refused as a whole', async () => {
    await expect(fromArchive(...entries)).rejects.toThrow(problem);
  });
}

attack(
  'skills',
  '27: an archive of a skill that unpacks without end',
  'given up while it unpacks',
  async () => {
    const bomb = gzipSync(Buffer.alloc(40 * 1024 * 1024));
    expect(bomb.length).toBeLessThan(1024 * 1024);
    await expect(readTar(bomb, 'bomb')).rejects.toThrow(/cannot be unpacked/);
    const many = Buffer.concat(Array.from({ length: 20_001 }, (_, index) => entry(`f${index}`)));
    await expect(readTar(many, 'many')).rejects.toThrow(/more than 20000 entries/);
  },
  30_000,
);

attack('skills', 'hooks and filters of a repository with skills', 'none of them runs', async () => {
  const place = folder();
  writeSkill(path.join(place, 'work/skills'), 'packed', { files: { 'scripts/run.sh': 'echo one' } });
  const work = path.join(place, 'work');
  const git = (...args: readonly string[]) =>
    execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@example.org', '-C', work, ...args], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
      .toString()
      .trim();
  git('init', '--quiet', '--initial-branch=main');
  writeFileSync(path.join(work, '.gitattributes'), '* filter=evil\n');
  git('add', '.');
  git('commit', '--quiet', '-m', 'one');
  const first = git('rev-parse', 'HEAD');
  git('tag', 'v1');
  writeFileSync(path.join(work, 'skills/packed/scripts/run.sh'), 'echo two');
  git('commit', '--quiet', '-am', 'two');
  const bare = path.join(place, 'repo.git');
  execFileSync('git', ['clone', '--quiet', '--bare', work, bare], { stdio: 'ignore' });
  const old = await fetchSkill(`${bare}#${first}:skills/packed`, signal);
  expect(old.commit).toBe(first);
  expect(old.skill.files.find((file) => file.path === 'scripts/run.sh')?.bytes.toString()).toBe('echo one');
  const newest = await fetchSkill(bare, signal);
  expect(newest.skill.files.find((file) => file.path === 'scripts/run.sh')?.bytes.toString()).toBe('echo two');
  await expect(fetchSkill(`${bare}#--upload-pack=x`, signal)).rejects.toThrow(/no name of a revision/);
  await expect(fetchSkill(`${bare}#nowhere`, signal)).rejects.toThrow(/git could not do it/);
});

test.each(['http://example.org/x.git', 'ext::sh -c id', 'ssh://example.org/x.git', 'file:///etc', '/nowhere/at/all'])(
  'nothing is fetched from %s',
  async (source) => {
    await expect(fetchSkill(source, signal)).rejects.toThrow(/cannot be fetched|neither a folder nor a file/);
  },
);

test('a folder given by a link is read where it leads, and the name is that of the real folder', async () => {
  const real = writeSkill(folder(), 'packed');
  const link = path.join(folder(), 'other');
  symlinkSync(real, link);
  expect((await fetchSkill(link, signal)).skill.manifest.name).toBe('packed');
});
