import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { fetchSkill } from '#core/skills/fetch-skill.ts';
import { prepareSkill, prepareTrust, removeSkill, restoreSkill } from '#core/skills/install-skill.ts';
import { type KnownSkill, SkillLibrary, type SkillPlaces } from '#core/skills/skill-library.ts';
import { attack } from '#tests/support/attack.ts';
import { writeSkill } from '../../support/skill-files.ts';

interface Stage {
  readonly root: string;
  readonly library: SkillLibrary;
  readonly keepFolder: string;
  /** Pins a skill as it lies there. */
  trust(name: string, agent?: string): Promise<void>;
  find(name: string, agent?: string): Promise<KnownSkill>;
  /** State and reason of a skill. */
  state(name: string): Promise<string>;
}

function stage(places: Partial<SkillPlaces> = {}): Stage {
  const root = mkdtempSync(path.join(tmpdir(), 'sw-library-'));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  const library = new SkillLibrary({
    bundled: path.join(root, 'bundled'),
    project: path.join(root, 'skills'),
    agentsFolder: undefined,
    agentsDir: path.join(root, 'agents'),
    revoked: [],
    ...places,
  });
  const keepFolder = path.join(root, 'kept');
  const find = async (name: string, agent?: string): Promise<KnownSkill> => {
    const known = (await library.list(agent)).find((skill) => skill.name === name);
    if (known === undefined) throw new Error(`there is no ${name}`);
    return known;
  };
  return {
    root,
    library,
    keepFolder,
    find,
    trust: async (name, agent) => await (await prepareTrust({ keepFolder }, await find(name, agent))).accept(),
    state: async (name) => {
      const { status } = await find(name);
      return status.state === 'ready' ? 'ready' : `${status.state}: ${status.reason}`;
    },
  };
}

const all = { name: 'a', skills: 'all' as const };

test('a skill that lies in the folder is found, and used only once somebody has trusted it', async () => {
  const { root, library, state, trust } = stage();
  writeSkill(path.join(root, 'skills'), 'one');
  expect(await state('one')).toMatch(/^untrusted: .*skill trust one/);
  await expect(library.read(all, 'one')).rejects.toMatchObject({ code: 'skill.suspended' });
  await trust('one');
  expect(await state('one')).toBe('ready');
  const { skill } = await library.read(all, 'one');
  expect(skill.files.map((file) => file.path)).toEqual(['SKILL.md']);
});

attack('skills', 'any change in a reviewed folder', 'the skill is suspended and the change named', async () => {
  const { root, library, state, trust } = stage();
  const place = writeSkill(path.join(root, 'skills'), 'one', {
    files: { 'scripts/run.sh': 'echo', 'references/a.md': 'a' },
  });
  const file = path.join(place, 'scripts/run.sh');
  const original = readFileSync(file);
  await trust('one');
  const changes: readonly (readonly [() => void, RegExp, () => void])[] = [
    [
      () => appendFileSync(file, '\n'),
      /scripts\/run\.sh is not what was reviewed/,
      () => writeFileSync(file, original),
    ],
    [() => chmodSync(file, 0o644), /scripts\/run\.sh is not what was reviewed/, () => chmodSync(file, 0o755)],
    [
      () => writeFileSync(path.join(place, 'new.md'), ''),
      /new\.md is not what was reviewed/,
      () => rmSync(path.join(place, 'new.md')),
    ],
    [
      () => renameSync(path.join(place, 'references'), path.join(place, 'refs')),
      /references\/a\.md, refs\/a\.md are not/,
      () => renameSync(path.join(place, 'refs'), path.join(place, 'references')),
    ],
    [
      () => symlinkSync('/etc/passwd', path.join(place, 'link')),
      /link is a link/,
      () => rmSync(path.join(place, 'link')),
    ],
    [() => renameSync(place, `${place}-gone`), /its folder is gone/, () => renameSync(`${place}-gone`, place)],
    [
      () => {
        renameSync(place, `${place}-real`);
        symlinkSync(`${place}-real`, place);
      },
      /is a link or a file/,
      () => {
        rmSync(place);
        renameSync(`${place}-real`, place);
      },
    ],
  ];
  for (const [change, reason, undo] of changes) {
    change();
    expect(await state('one')).toMatch(/^(?:changed|invalid): /);
    expect(await state('one')).toMatch(reason);
    await expect(library.read(all, 'one')).rejects.toMatchObject({ code: 'skill.suspended' });
    undo();
    expect(await state('one')).toBe('ready');
  }
});

attack('skills', 'a change that keeps size and time', 'contents are compared', async () => {
  const { root, state, trust } = stage();
  const file = path.join(writeSkill(path.join(root, 'skills'), 'one', { files: { 'a.md': 'good' } }), 'a.md');
  utimesSync(file, 1_000_000, 1_000_000);
  await trust('one');
  expect(await state('one')).toBe('ready');
  writeFileSync(file, 'evil');
  utimesSync(file, 1_000_000, 1_000_000);
  expect(await state('one')).toMatch(/a\.md is not what was reviewed/);
});

attack('skills', 'a change between the check and the use', 'compared when handed out', async () => {
  const { root, library, trust } = stage();
  const file = path.join(writeSkill(path.join(root, 'skills'), 'one', { files: { 'a.md': 'good' } }), 'a.md');
  await trust('one');
  await library.list();
  // Between the look and the reading; a writer that races is somewhere in there.
  const reading = library.read(all, 'one').then(
    ({ skill }) => skill.files.find((item) => item.path === 'a.md')?.bytes.toString(),
    (err: unknown) => err,
  );
  writeFileSync(file, 'evil');
  expect(await reading).not.toBe('evil');
});

attack('skills', 'a lock edited by hand', 'it pins nothing', async () => {
  const { root, state, trust } = stage();
  writeSkill(path.join(root, 'skills'), 'one');
  await trust('one');
  const lock = path.join(root, 'skills/skills.lock.json');
  const text = readFileSync(lock, 'utf8');
  writeFileSync(lock, text.replace(/"SKILL\.md": "[0-9a-f]{4}/, '"SKILL.md": "0000'));
  expect(await state('one')).toMatch(/^invalid: .*digest of one does not fit its files/);
  writeFileSync(lock, '{');
  expect(await state('one')).toMatch(/^invalid: .*skills\.lock\.json cannot be used/);
  writeFileSync(lock, text);
  expect(await state('one')).toBe('ready');
});

test('an agent has what it lists and what is in its own folder, the nearer one in place of the farther', async () => {
  const { root, library, trust, find } = stage();
  for (const scope of ['bundled', 'skills', 'agents/a/skills'])
    writeSkill(path.join(root, scope), 'shared', { body: scope });
  writeSkill(path.join(root, 'skills'), 'other');
  writeSkill(path.join(root, 'agents/a/skills'), 'own');
  await trust('shared', 'a');
  await trust('own', 'a');
  await trust('other');
  const { skill, known } = await library.read({ name: 'a', skills: ['shared'] }, 'shared');
  expect([skill.manifest.body, known.scope, known.shadows]).toEqual([
    'agents/a/skills',
    'agent',
    ['bundled', 'project'],
  ]);
  const names = async (skills: 'all' | string[], name = 'a') =>
    (await library.forAgent({ name, skills })).map((item) => `${item.name} ${item.status.state}`);
  expect(await names([])).toEqual(['own ready', 'shared ready']);
  expect(await names(['other', 'lost'])).toEqual(['other ready', 'own ready', 'shared ready', 'lost missing']);
  expect(await names([], 'b')).toEqual([]);
  // What takes the place of another and is not trusted does not let the other one through.
  expect((await find('shared')).status.state).toBe('untrusted');
  await expect(library.read({ name: 'b', skills: [] }, 'other')).rejects.toMatchObject({ code: 'skill.unknown' });
});

test('skills of .agents/skills are looked for only where the operator says so, and need trust like any other', async () => {
  const first = stage();
  writeSkill(path.join(first.root, '.agents/skills'), 'found');
  expect(await first.library.list()).toEqual([]);
  const second = new SkillLibrary({ ...first.library.places, agentsFolder: path.join(first.root, '.agents/skills') });
  expect((await second.list()).map((skill) => [skill.name, skill.scope, skill.status.state])).toEqual([
    ['found', 'agents-folder', 'untrusted'],
  ]);
});

test('a revoked digest is not used in any scope', async () => {
  const { root, library, trust, find } = stage();
  writeSkill(path.join(root, 'skills'), 'one');
  await trust('one');
  const digest = (await find('one')).entry?.digest ?? '';
  const strict = new SkillLibrary({ ...library.places, revoked: [digest] });
  expect((await strict.list())[0]?.status.state).toBe('revoked');
  await expect(strict.read(all, 'one')).rejects.toThrow(/list of revoked skills/);
});

test('adding replaces a skill in one step, keeps what was trusted, and restore puts it back', async () => {
  const { root, library, keepFolder, state, find } = stage();
  const source = writeSkill(path.join(root, 'source'), 'one', { files: { 'scripts/a.sh': 'echo 1', 'old.md': 'old' } });
  const { signal } = new AbortController();
  const folder = path.join(root, 'skills');
  await (await prepareSkill({ keepFolder }, await fetchSkill(source, signal), folder)).accept();
  rmSync(path.join(source, 'old.md'));
  writeFileSync(path.join(source, 'scripts/a.sh'), 'echo 2');
  const pending = await prepareSkill({ keepFolder }, await fetchSkill(source, signal), folder);
  expect(pending.review.files.map((file) => [file.path, file.change])).toEqual([
    ['SKILL.md', 'same'],
    ['scripts/a.sh', 'changed'],
  ]);
  expect(pending.review.removed).toEqual(['old.md']);
  await pending.accept();
  expect(await state('one')).toBe('ready');
  writeFileSync(path.join(folder, 'one/scripts/a.sh'), 'echo evil');
  await restoreSkill({ keepFolder }, await find('one'));
  expect(readFileSync(path.join(folder, 'one/scripts/a.sh'), 'utf8')).toBe('echo 2');
  expect(await state('one')).toBe('ready');
  await removeSkill(await find('one'));
  expect(await library.list()).toEqual([]);
});

test('what comes with the product is neither trusted anew, nor replaced in place, nor deleted', async () => {
  const { root, keepFolder, find } = stage();
  const bundled = path.join(root, 'bundled');
  writeSkill(bundled, 'one');
  const known = await find('one');
  const lock = { version: 1, skills: { one: { source: 'bundled', digest: '', files: {} } } };
  expect(known.status.state).toBe('untrusted');
  const entry = { ...lock.skills.one };
  await expect(prepareTrust({ keepFolder }, { ...known, entry })).rejects.toThrow(/comes with the product/);
  await expect(removeSkill({ ...known, entry })).rejects.toThrow(/comes with the product/);
});

test('adding does not take the place of a folder that nobody has trusted, and a folder in its place is trusted as it is', async () => {
  const { root, keepFolder, state } = stage();
  const folder = path.join(root, 'skills');
  const own = writeSkill(folder, 'one', { body: 'My own work.' });
  const other = writeSkill(path.join(root, 'source'), 'one');
  const { signal } = new AbortController();
  await expect(prepareSkill({ keepFolder }, await fetchSkill(other, signal), folder)).rejects.toThrow(
    /nobody has trusted/,
  );
  expect(readFileSync(path.join(own, 'SKILL.md'), 'utf8')).toContain('My own work.');
  await (await prepareSkill({ keepFolder }, await fetchSkill(own, signal), folder)).accept();
  expect(await state('one')).toBe('ready');
});

test('names that mean something to programs are names like others, or refused', async () => {
  const { root, library, state, trust } = stage();
  writeSkill(path.join(root, 'skills'), 'constructor', {
    files: { constructor: 'x', 'references/hasOwnProperty': 'y' },
  });
  expect(await state('constructor')).toMatch(/^untrusted/);
  await trust('constructor');
  expect(await state('constructor')).toBe('ready');
  writeSkill(path.join(root, 'skills'), 'two', { files: { '__proto__/x': 'x' } });
  await expect(trust('two')).rejects.toThrow(/means something to programs/);
  expect((await library.list()).map((skill) => skill.status.state)).toEqual(['ready', 'untrusted']);
});

attack('skills', 'terminal escapes in names of a skill’s files', 'spelled out', async () => {
  const { root } = stage();
  const place = writeSkill(path.join(root, 'source'), 'one', { files: { 'a\u001b[31m\u202e.md': 'x' } });
  const failure: unknown = await fetchSkill(place, new AbortController().signal).catch((err: unknown) => err);
  expect(String(failure)).toContain('a?[31m?.md');
  expect(String(failure)).not.toContain('\u001b');
});

test('folders that are no skills and files beside them do no harm', async () => {
  const { root, library } = stage();
  mkdirSync(path.join(root, 'skills/empty'), { recursive: true });
  mkdirSync(path.join(root, 'skills/Not A Skill'));
  writeFileSync(path.join(root, 'skills/README.md'), 'x');
  expect((await library.list()).map((skill) => skill.name)).toEqual(['empty']);
});
