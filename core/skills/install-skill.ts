import { chmod, mkdir, readFile, realpath, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { AppError } from '../kit/errors.ts';
import { newToken } from '../kit/ids.ts';
import { checkSkill } from './check-skill.ts';
import type { FetchedSkill } from './fetch-skill.ts';
import { readFolder } from './read-folder.ts';
import { reviewSkill, type SkillReview } from './review-skill.ts';
import { digestOf, hashBytes, pinsOf, type RawFile, type Skill, type SkillFile } from './skill.ts';
import type { KnownSkill } from './skill-library.ts';
import { entryOf, readLock, writeLock } from './skill-lock.ts';

/** What is about to be trusted, and the step that does it. */
export interface PendingSkill {
  readonly review: SkillReview;
  /** The folder it will stand in, or stands in. */
  readonly place: string;
  /** Where its bytes come from, as the lock tells it. */
  readonly source: string;
  readonly commit: string | undefined;
  /** Whether it comes from elsewhere; false when it is trusted where it lies. */
  readonly isInstall: boolean;
  /** Puts it in place and pins it. */
  accept(): Promise<void>;
}

export interface InstallDeps {
  /** Where the bytes of trusted files are kept by their hash, so that a changed skill can be put back. */
  readonly keepFolder: string;
}

/** Prepares a fetched skill for a folder of skills; nothing is written before it is accepted. */
export async function prepareSkill(deps: InstallDeps, fetched: FetchedSkill, folder: string): Promise<PendingSkill> {
  const { skill, source, commit } = fetched;
  const { name } = skill.manifest;
  const before = entryOf(await readLock(folder), name);
  const place = path.join(folder, name);
  const real = await realpath(place).catch(() => undefined);
  const isThere = real !== undefined && source === `folder:${real}`;
  if (real !== undefined && !isThere && before === undefined) {
    throw new AppError('skill.invalid', `There is a folder ${place} already, which nobody has trusted.`, {
      mend: `Move it away, or look at it with ./switchyard skill trust ${name}.`,
    });
  }
  refuseBundled(name, before?.source);
  return {
    review: reviewSkill(skill, before),
    place,
    source,
    commit,
    isInstall: !isThere,
    accept: async () => {
      await keepFiles(deps.keepFolder, skill.files);
      if (!isThere) await placeFiles(place, skill.files);
      await pin(folder, skill, commit === undefined ? { source } : { source, commit });
    },
  };
}

/**
 * Prepares to trust a skill as it lies in its folder now.
 * @throws AppError `skill.invalid` with every problem.
 */
export async function prepareTrust(deps: InstallDeps, known: KnownSkill): Promise<PendingSkill> {
  const { folder, name, entry } = known;
  refuseBundled(name, entry?.source);
  const { files, problems } = await readFolder(folder);
  const { skill, problems: wrong } =
    problems.length > 0 ? { skill: undefined, problems } : checkSkill(files, folder, name);
  if (skill === undefined) {
    throw new AppError('skill.invalid', `The skill "${name}" has problems:\n${wrong.join('\n')}`, {
      mend: 'Mend them and trust it again; nothing was changed.',
    });
  }
  const source = entry?.source ?? `folder:${folder}`;
  return {
    review: reviewSkill(skill, entry),
    place: folder,
    source,
    commit: undefined,
    isInstall: false,
    accept: async () => {
      await keepFiles(deps.keepFolder, skill.files);
      await pin(path.dirname(folder), skill, { source });
    },
  };
}

/** Takes a skill and its pins away. */
export async function removeSkill(known: KnownSkill): Promise<void> {
  refuseBundled(known.name, known.entry?.source);
  const folder = path.dirname(known.folder);
  const lock = await readLock(folder);
  const { [known.name]: _, ...others } = lock.skills;
  await writeLock(folder, { ...lock, skills: others });
  await rm(known.folder, { recursive: true, force: true });
}

/**
 * Puts the reviewed bytes of a changed skill back.
 * @throws AppError `skill.invalid` when one of them was not kept here.
 */
export async function restoreSkill(deps: InstallDeps, known: KnownSkill): Promise<void> {
  const { entry, name } = known;
  refuseBundled(name, entry?.source);
  if (entry === undefined) {
    throw new AppError('skill.invalid', `The skill "${name}" was never trusted, so there is nothing to put back.`);
  }
  const files: SkillFile[] = [];
  for (const [file, pinned] of Object.entries(entry.files)) {
    const [sha256 = '', mark] = pinned.split(' ');
    const bytes = await readFile(path.join(deps.keepFolder, sha256)).catch(() => undefined);
    if (bytes === undefined || hashBytes(bytes) !== sha256) {
      throw new AppError('skill.invalid', `The reviewed bytes of ${name}/${file} are not kept on this machine.`, {
        mend: 'Put the folder back from version control, or add the skill again from where it came.',
      });
    }
    files.push({ path: file, bytes, sha256, isExecutable: mark === 'x' });
  }
  await placeFiles(known.folder, files);
}

async function pin(
  folder: string,
  skill: Skill,
  origin: { readonly source: string; readonly commit?: string },
): Promise<void> {
  const files = pinsOf(skill.files);
  const lock = await readLock(folder);
  const entry = { ...origin, digest: digestOf(files), files };
  await writeLock(folder, { ...lock, skills: { ...lock.skills, [skill.manifest.name]: entry } });
}

async function keepFiles(folder: string, files: readonly SkillFile[]): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  for (const file of files) {
    const place = path.join(folder, file.sha256);
    const beside = `${place}.${newToken(6)}`;
    await writeFile(beside, file.bytes, { mode: 0o400 });
    await rename(beside, place);
  }
}

/** Writes a skill beside and renames it over, so that what lies there is never half of two. */
async function placeFiles(folder: string, files: readonly RawFile[]): Promise<void> {
  await mkdir(path.dirname(folder), { recursive: true });
  const mark = newToken(6);
  const [fresh, old] = [`${folder}.new-${mark}`, `${folder}.old-${mark}`];
  try {
    await writeFiles(fresh, files, { file: 0o644, script: 0o755 });
    await rename(folder, old).catch((err: unknown) => {
      if (!(err instanceof Error && 'code' in err && err.code === 'ENOENT')) throw err;
    });
    await rename(fresh, folder);
  } finally {
    await rm(fresh, { recursive: true, force: true });
    await rm(old, { recursive: true, force: true });
  }
}

/** Writes files below a folder that does not exist yet, with exactly the given modes. */
export async function writeFiles(
  folder: string,
  files: readonly RawFile[],
  modes: { readonly file: number; readonly script: number },
): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o755 });
  for (const file of files) {
    const place = path.join(folder, file.path);
    await mkdir(path.dirname(place), { recursive: true, mode: 0o755 });
    await writeFile(place, file.bytes, { flag: 'wx' });
    // Told apart from writing: the umask takes bits away there.
    await chmod(place, file.isExecutable ? modes.script : modes.file);
  }
}

function refuseBundled(name: string, source: string | undefined): void {
  if (source !== 'bundled') return;
  throw new AppError('skill.invalid', `The skill "${name}" comes with the product and is not changed.`, {
    mend: 'Put one of the same name into the project, or leave it out of the agents\' "skills:".',
  });
}
