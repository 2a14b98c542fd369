import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { AppError, toAppError } from '../kit/errors.ts';
import { didYouMean } from '../kit/nearest-word.ts';
import { checkSkill } from './check-skill.ts';
import { listFolder, readFolder } from './read-folder.ts';
import { isSkillName, pinsOf, type Skill, type SkillManifest, type SkillScope } from './skill.ts';
import { entryOf, type LockEntry, readLock, type SkillLock } from './skill-lock.ts';

/** Where skills are looked for. */
export interface SkillPlaces {
  /** `skills/` of the installation. */
  readonly bundled: string;
  readonly project: string;
  /** `.agents/skills` of the project, when the operator trusts what other programs put there. */
  readonly agentsFolder: string | undefined;
  /** The folder of the agent files: the skills of agent `x` are in `x/skills` below it. */
  readonly agentsDir: string;
  /** Digests that are never used, wherever they are found. */
  readonly revoked: readonly string[];
}

/** Whose skills are asked for: an agent's own folder comes first. */
export interface SkillOwner {
  readonly name: string;
  /** Names it lists, or `all`; those of its own folder are always its. */
  readonly skills: 'all' | readonly string[];
}

/** A skill that was found, usable or not. */
export interface KnownSkill {
  readonly name: string;
  readonly scope: SkillScope;
  readonly folder: string;
  /** What is pinned; undefined for one that nobody has trusted. */
  readonly entry: LockEntry | undefined;
  /** Scopes that have a skill of the same name, which this one takes the place of. */
  readonly shadows: readonly SkillScope[];
  readonly status:
    | { readonly state: 'ready'; readonly manifest: SkillManifest; readonly digest: string }
    /** `untrusted`: nobody has reviewed it; `changed`: not what was reviewed; `revoked`: its digest is on the list. */
    | { readonly state: 'untrusted' | 'changed' | 'invalid' | 'revoked' | 'missing'; readonly reason: string };
}

type Status = KnownSkill['status'];

/** Folders looked at in one place; more of them is no folder of skills. */
const foldersMax = 500;

/**
 * The skills of this installation. Every look at a skill holds its files against what was pinned; contents are read
 * again whenever size, times, inode or mode of any of them differ from the last look, and always before bytes are handed
 * out.
 */
export class SkillLibrary {
  readonly places: SkillPlaces;
  readonly #checked = new Map<string, { readonly stamp: string; readonly status: Status }>();
  readonly #locks = new Map<string, { readonly stamp: string; readonly lock: SkillLock }>();

  constructor(places: SkillPlaces) {
    this.places = places;
  }

  /** Every skill an agent of this name could have, or of all agents' places without one; sorted by name. */
  async list(agentName?: string): Promise<readonly KnownSkill[]> {
    const found = new Map<string, KnownSkill>();
    for (const { scope, folder } of this.#scopes(agentName)) {
      for (const skill of await this.#look(scope, folder)) {
        const hidden = found.get(skill.name);
        found.set(skill.name, hidden === undefined ? skill : { ...skill, shadows: [...hidden.shadows, hidden.scope] });
      }
    }
    return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** The skills an agent has; names it lists that nobody has are `missing`. */
  async forAgent(agent: SkillOwner): Promise<readonly KnownSkill[]> {
    const known = await this.list(agent.name);
    if (agent.skills === 'all') return known;
    const own = known.filter((skill) => skill.scope === 'agent' || agent.skills.includes(skill.name));
    const lost = agent.skills.filter((name) => !own.some((skill) => skill.name === name));
    return [...own, ...lost.map((name) => this.#missing(name, known))];
  }

  /**
   * A skill of an agent with its bytes, read and compared with what was pinned at this moment.
   * @throws AppError `skill.unknown`, `skill.suspended` with the reason and the mend.
   */
  async read(agent: SkillOwner, name: string): Promise<{ readonly known: KnownSkill; readonly skill: Skill }> {
    const all = await this.forAgent(agent);
    const known = all.find((skill) => skill.name === name);
    if (known === undefined || known.status.state === 'missing') {
      const names = all.filter((skill) => skill.status.state === 'ready').map((skill) => skill.name);
      throw new AppError('skill.unknown', `There is no skill "${name}" here${didYouMean(name, names) || '.'}`, {
        mend: names.length === 0 ? 'This agent has no skills.' : `There are: ${names.join(', ')}.`,
      });
    }
    if (known.status.state !== 'ready') throw suspended(name, known.status.reason);
    const { entry } = known;
    const { files, problems } = await readFolder(known.folder).catch((err: unknown) => ({
      files: [],
      problems: [toAppError(err).message],
    }));
    const checked = problems.length > 0 ? undefined : checkSkill(files, known.folder, name);
    if (checked?.skill === undefined || entry === undefined || checked.skill.digest !== entry.digest) {
      this.#checked.delete(known.folder);
      const changed = checked?.skill === undefined ? [] : changesOf(entry, checked.skill);
      throw suspended(name, changed.length === 0 ? 'its files are not what was reviewed' : describeChanges(changed));
    }
    return { known, skill: checked.skill };
  }

  #scopes(agentName: string | undefined): readonly { readonly scope: SkillScope; readonly folder: string }[] {
    const { bundled, project, agentsFolder, agentsDir } = this.places;
    const scopes: { scope: SkillScope; folder: string }[] = [{ scope: 'bundled', folder: bundled }];
    if (agentsFolder !== undefined) scopes.push({ scope: 'agents-folder', folder: agentsFolder });
    if (!this.#hasOneFolder()) scopes.push({ scope: 'project', folder: project });
    if (agentName !== undefined) scopes.push({ scope: 'agent', folder: agentSkillsFolder(agentsDir, agentName) });
    return scopes;
  }

  /** An installation that is its own project. */
  #hasOneFolder(): boolean {
    return path.resolve(this.places.project) === path.resolve(this.places.bundled);
  }

  async #look(scope: SkillScope, folder: string): Promise<readonly KnownSkill[]> {
    const names = await skillFolders(folder);
    const lock = await this.#lock(folder).catch((err: unknown) => toAppError(err));
    const pinned: Pick<SkillLock, 'skills'> = lock instanceof AppError ? { skills: {} } : lock;
    const isShared = this.#hasOneFolder();
    return await Promise.all(
      [...new Set([...names, ...Object.keys(pinned.skills)])].map(async (name): Promise<KnownSkill> => {
        const entry = entryOf(pinned, name);
        const place = path.join(folder, name);
        const status: Status =
          lock instanceof AppError
            ? { state: 'invalid', reason: lock.text }
            : !names.includes(name)
              ? { state: 'changed', reason: 'its folder is gone' }
              : await this.#status(place, name, entry);
        const own = scope === 'bundled' && isShared && entry?.source !== 'bundled' ? 'project' : scope;
        return { name, scope: own, folder: place, entry, shadows: [], status };
      }),
    );
  }

  async #status(folder: string, name: string, entry: LockEntry | undefined): Promise<Status> {
    if (entry === undefined) {
      return { state: 'untrusted', reason: `nobody has reviewed it; run ./switchyard skill trust ${name}` };
    }
    if (this.places.revoked.includes(entry.digest)) {
      return { state: 'revoked', reason: 'its digest is on the list of revoked skills in switchyard.yaml' };
    }
    try {
      const listed = await listFolder(folder);
      const stamp = `${entry.digest} ${listed.files.map((file) => `${file.path}:${file.stamp}`).join(' ')} ${listed.problems.join(' ')}`;
      const known = this.#checked.get(folder);
      if (known?.stamp === stamp) return known.status;
      const status = await checkAgainst(folder, name, entry);
      this.#checked.set(folder, { stamp, status });
      return status;
    } catch (err) {
      return { state: 'invalid', reason: `its files cannot be read: ${toAppError(err).message}` };
    }
  }

  async #lock(folder: string): Promise<SkillLock> {
    const stamp = await stat(path.join(folder, 'skills.lock.json'), { bigint: true }).then(
      ({ size, mtimeNs, ctimeNs, ino }) => [size, mtimeNs, ctimeNs, ino].join(':'),
      () => 'none',
    );
    const known = this.#locks.get(folder);
    if (known?.stamp === stamp) return known.lock;
    const lock = await readLock(folder);
    this.#locks.set(folder, { stamp, lock });
    return lock;
  }

  #missing(name: string, known: readonly KnownSkill[]): KnownSkill {
    const hint = didYouMean(
      name,
      known.map((skill) => skill.name),
    );
    return {
      name,
      scope: 'project',
      folder: path.join(this.places.project, name),
      entry: undefined,
      shadows: [],
      status: { state: 'missing', reason: `there is no skill of this name${hint}` },
    };
  }
}

/** The folder of an agent's own skills. */
export function agentSkillsFolder(agentsDir: string, agentName: string): string {
  return path.join(agentsDir, agentName, 'skills');
}

async function checkAgainst(folder: string, name: string, entry: LockEntry): Promise<Status> {
  const { files, problems } = await readFolder(folder);
  if (problems.length > 0) return { state: 'changed', reason: problems[0] ?? 'it cannot be read' };
  const { skill, problems: wrong } = checkSkill(files, folder, name);
  if (skill === undefined) return { state: 'invalid', reason: wrong.slice(0, 3).join('; ') };
  if (skill.digest === entry.digest) return { state: 'ready', manifest: skill.manifest, digest: skill.digest };
  return { state: 'changed', reason: describeChanges(changesOf(entry, skill)) };
}

function changesOf(entry: LockEntry | undefined, skill: Skill): string[] {
  const now = pinsOf(skill.files);
  const before = entry?.files ?? {};
  return [...new Set([...Object.keys(before), ...Object.keys(now)])]
    .sort()
    .filter((file) => before[file] !== now[file]);
}

function describeChanges(files: readonly string[]): string {
  const shown = files.slice(0, 3).join(', ');
  const more = files.length > 3 ? ` and ${files.length - 3} more` : '';
  return `${shown}${more} ${files.length === 1 ? 'is' : 'are'} not what was reviewed`;
}

function suspended(name: string, reason: string): AppError {
  return new AppError('skill.suspended', `The skill "${name}" is suspended: ${reason}.`, {
    mend: `An operator looks at it with ./switchyard skill list and allows it with ./switchyard skill trust ${name}.`,
  });
}

async function skillFolders(folder: string): Promise<readonly string[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true });
    return entries
      .filter((entry) => isSkillName(entry.name) && !entry.isFile())
      .map((entry) => entry.name)
      .sort()
      .slice(0, foldersMax);
  } catch (err) {
    if (err instanceof Error && 'code' in err && (err.code === 'ENOENT' || err.code === 'ENOTDIR')) return [];
    throw err;
  }
}
