import { AppError } from '#core/kit/errors.ts';
import { isDirty, readChanges } from './changes.ts';
import type { Repository, WorktreeContext } from './repository.ts';
import { worktreesFolder } from './repository.ts';
import {
  baseName,
  branchPattern,
  type Commit,
  readRefs,
  readTask,
  resolveCommit,
  taskNames,
  taskRefs,
} from './task.ts';

/** Tasks at once in one repository; each holds a copy of its files. */
const tasksMax = 30;

interface StartedTask {
  readonly path: string;
  readonly branch: string;
  readonly base: string;
  readonly commit: Commit;
  readonly isNew: boolean;
  /** What stands in the repository's own directory and is no part of the task. */
  readonly isBaseDirty: boolean;
}

/**
 * Gives a task a branch and a working directory of its own. What is there already of it, from an earlier call or one
 * that was interrupted, is taken up again.
 * @throws AppError `tool.invalid_arguments`.
 */
export async function startTask(
  context: WorktreeContext,
  repository: Repository,
  { task: name, from }: { readonly task: string; readonly from: string | undefined },
): Promise<StartedTask> {
  const { git, sandbox } = repository;
  const refs = await readRefs(git);
  const task = await readTask(context, repository, name, { refs });
  if (task.merged !== undefined && task.head === undefined) {
    throw refused(`A task ${name} was merged already.`, 'Choose another name.');
  }
  const isBaseDirty = isDirty(await readChanges(git));
  const branch = `task/${name}`;
  const told = async (base: string, isNew: boolean): Promise<StartedTask> => {
    const commit = await resolveCommit(git, taskRefs.branch(name));
    if (commit === undefined) throw refused(`${branch} could not be made.`, 'List the tasks to see how it is.');
    return { path: task.path, branch, base, commit, isNew, isBaseDirty };
  };
  if (task.head !== undefined) {
    const base = task.base ?? (await writeBase(repository, name, from)).base;
    if (task.git !== undefined) return await told(base, false);
    await takeAway(repository, task.path, task.worktree !== undefined);
    await sandbox.writeFile(`${worktreesFolder}/.gitignore`, '*\n', { append: false, signal: context.signal });
    await git.run(['worktree', 'add', '--quiet', '--', task.path, branch]);
    return await told(base, false);
  }
  if (taskNames(refs).length >= tasksMax) {
    throw refused(`There are ${tasksMax} tasks already.`, 'Merge or drop some of them first.');
  }
  await takeAway(repository, task.path, task.worktree !== undefined);
  // First what it begins on: a branch of which nobody knows where it belongs could not be merged.
  const { base, commit } = await writeBase(repository, name, from);
  // Keeps the copies out of the status of a repository that is the workspace itself.
  await sandbox.writeFile(`${worktreesFolder}/.gitignore`, '*\n', { append: false, signal: context.signal });
  await git.run(['worktree', 'add', '--quiet', '--no-track', '-b', branch, '--', task.path, commit]);
  return await told(base, true);
}

/** What is left of a worktree that does not work: its entry, and its folder when that is empty. */
async function takeAway({ git }: Repository, path: string, isListed: boolean): Promise<void> {
  if (isListed) await git.try(['worktree', 'remove', '--force', '--force', '--', path]);
}

async function writeBase(
  { git }: Repository,
  name: string,
  from: string | undefined,
): Promise<{ readonly base: string; readonly commit: Commit }> {
  const isDropped = from?.startsWith('dropped/') === true;
  if (from !== undefined && !branchPattern.test(from)) throw refused(`${from} is no branch.`, 'Name a local branch.');
  const base = from === undefined || isDropped ? await currentBranch(git) : from;
  const commit = await resolveCommit(git, isDropped ? `refs/switchyard/${from}` : `refs/heads/${base}`);
  if (commit === undefined) {
    throw from === undefined
      ? refused(`${base} has no commit yet.`, 'Make a first commit.')
      : refused(`There is no ${isDropped ? 'dropped task' : 'local branch'} ${from}.`, 'Name a local branch as from.');
  }
  await git.run(['symbolic-ref', taskRefs.base(name), `refs/heads/${base}`]);
  return { base, commit };
}

async function currentBranch(git: Repository['git']): Promise<string> {
  const found = await git.try(['symbolic-ref', '--quiet', 'HEAD']);
  const base = baseName(found.output.trim());
  if (!found.isOk || base === undefined) {
    throw refused('The repository has no branch checked out that a task could begin on.', 'Name a branch as from.');
  }
  return base;
}

function refused(message: string, mend: string): AppError {
  return new AppError('tool.invalid_arguments', message, { mend });
}
