import { AppError } from '#core/kit/errors.ts';
import { shownName } from '../tools/tool-output.ts';
import type { Git } from './git.ts';
import { stalledWork } from './stalled-work.ts';

const shownMax = 10;

/** What stands in a working directory and in no commit. */
export interface Changes {
  readonly tracked: readonly string[];
  readonly untracked: readonly string[];
  /** Both sides changed them, and nobody has settled it. */
  readonly conflicted: readonly string[];
}

/** What is not committed. Submodules are not looked into: their own configuration would be at work there. */
export async function readChanges(git: Git): Promise<Changes> {
  const fields = await git.names([
    'status',
    '--porcelain=v1',
    '--no-renames',
    '--untracked-files=normal',
    '--ignore-submodules=dirty',
  ]);
  const all = fields.map((field) => ({ state: field.slice(0, 2), name: field.slice(3) }));
  const isConflict = (state: string): boolean => state.includes('U') || state === 'AA' || state === 'DD';
  return {
    tracked: all.filter(({ state }) => state !== '??').map(({ name }) => name),
    untracked: all.filter(({ state }) => state === '??').map(({ name }) => name),
    conflicted: all.filter(({ state }) => isConflict(state)).map(({ name }) => name),
  };
}

/** Whether anything is not committed. */
export function isDirty({ tracked, untracked }: Changes): boolean {
  return tracked.length + untracked.length > 0;
}

/** A few names for a sentence. */
export function someNames(names: readonly string[]): string {
  const more = names.length > shownMax ? ` and ${names.length - shownMax} more` : '';
  return `${names.slice(0, shownMax).map(shownName).join(', ')}${more}`;
}

/**
 * Puts everything that is not ignored into the index, as it stands: new, changed and deleted files. Repositories inside
 * of this one are left out.
 */
export async function stageAll(git: Git): Promise<void> {
  await git.pipe(
    ['ls-files', '-z', '--modified', '--deleted', '--others', '--exclude-standard'],
    // Nothing left to pass on is no failure.
    `{ grep -zv '/$' || true; }`,
    ['update-index', '-z', '--add', '--remove', '--stdin'],
  );
}

/** Takes files that were in conflict as they stand now. */
export async function stageConflicted(git: Git): Promise<void> {
  await git.pipe(
    // By itself it would refresh the index at its end, and hold the lock that the other one needs.
    ['-c', 'diff.autoRefreshIndex=false', 'diff', '--name-only', '-z', '--diff-filter=U', '--no-ext-diff'],
    'cat',
    ['update-index', '-z', '--add', '--remove', '--stdin'],
  );
}

/** Commits what is in the index, or finishes a merge whose conflicts are settled. */
export async function commitIndex(git: Git, message: string): Promise<void> {
  await git.run(
    ['commit', '--quiet', '--no-verify', '--no-gpg-sign', '--no-status', '--cleanup=whitespace', '--file=-'],
    { stdin: `${message.trim()}\n` },
  );
}

/**
 * Refuses a working directory in which somebody began a rebase, a merge or the like.
 * @throws AppError `tool.invalid_arguments`.
 */
export async function requireNothingBegun(git: Git, where: string, allowed: readonly string[] = []): Promise<void> {
  const begun = (await stalledWork(git)).find((work) => !allowed.includes(work));
  if (begun === undefined) return;
  throw new AppError('tool.invalid_arguments', `A ${begun} was begun in ${where} and not finished.`, {
    mend: `Finish it, or give it up with git ${begun} --abort there.`,
  });
}
