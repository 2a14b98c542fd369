import { stageAll, stageConflicted } from './changes.ts';
import type { Git } from './git.ts';
import type { Repository, WorktreeContext } from './repository.ts';
import { clearStaleLocks } from './stale-locks.ts';
import { type Commit, isAncestor, readTask, requireTask, resolveCommit, type Task, taskRefs } from './task.ts';

export interface DroppedTask {
  /** The refs that keep what was in no other branch, without `refs/switchyard/`. */
  readonly kept: readonly string[];
  /** Its merge stays, and what is needed to undo it. */
  readonly isMerged: boolean;
}

/**
 * Takes a task away: its working directory, and its branch. Commits its base does not have, and what was not committed,
 * are kept in a ref of their own first.
 * @throws AppError `tool.invalid_arguments` when there is no such task.
 */
export async function dropTask(context: WorktreeContext, repository: Repository, name: string): Promise<DroppedTask> {
  await clearStaleLocks(context, repository);
  const { git } = repository;
  const task = await readTask(context, repository, name);
  requireTask(task);
  const kept = await keepWork(git, task);
  const { merged, base, baseCommit } = task;
  const isMerged = merged !== undefined && baseCommit !== undefined && (await isAncestor(git, merged, baseCommit));
  await removeTask(repository, task, { withMerge: !isMerged && base !== undefined });
  return { kept, isMerged };
}

/** Removes what a task stands on. Nothing it holds alone may be left there. */
export async function removeTask(
  { git }: Repository,
  { name, path, worktree, head, merged, moving, base }: Task,
  { withMerge }: { readonly withMerge: boolean },
): Promise<void> {
  if (worktree !== undefined) await git.run(['worktree', 'remove', '--force', '--force', '--', path]);
  const lines = [
    ...(head === undefined ? [] : [taskRefs.branch(name)]),
    ...(moving === undefined ? [] : [taskRefs.moving(name)]),
    ...(withMerge && merged !== undefined ? [taskRefs.merged(name)] : []),
  ].map((ref) => `delete ${ref}\n`);
  if (lines.length > 0) await git.run(['update-ref', '--stdin'], { stdin: lines.join('') });
  // Last: without it a task that is half gone could not be told any more.
  if (withMerge && base !== undefined) await git.run(['symbolic-ref', '--delete', taskRefs.base(name)]);
}

async function keepWork(git: Git, task: Task): Promise<readonly string[]> {
  const wanted: Commit[] = [];
  if (task.git !== undefined) wanted.push(await commitOpenWork(task.git, task.name));
  if (task.head !== undefined) wanted.push(task.head);
  const stamp = new Date().toISOString().replaceAll(/[-:]|\.\d+/g, '');
  const kept: string[] = [];
  for (const [index, commit] of wanted.entries()) {
    if (task.baseCommit !== undefined && (await isAncestor(git, commit, task.baseCommit))) continue;
    const isHeld = wanted.slice(0, index).map(async (other) => await isAncestor(git, commit, other));
    if ((await Promise.all(isHeld)).includes(true)) continue;
    const name = `${task.name}-${stamp}${index === 0 ? '' : `-${index}`}`;
    await git.run(['update-ref', taskRefs.dropped(name), commit]);
    kept.push(`dropped/${name}`);
  }
  return kept;
}

/** A commit of everything that stands in a worktree; its last commit when nothing is open. */
async function commitOpenWork(git: Git, name: string): Promise<Commit> {
  const head = await git.run(['rev-parse', '--verify', 'HEAD']);
  await stageConflicted(git);
  await stageAll(git);
  const tree = await git.run(['write-tree']);
  const other = await resolveCommit(git, 'MERGE_HEAD');
  if (tree === (await git.run(['rev-parse', '--verify', 'HEAD^{tree}'])) && other === undefined) return head;
  const parents = [head, ...(other === undefined ? [] : [other])].flatMap((commit) => ['-p', commit]);
  return await git.run(['commit-tree', tree, ...parents, '-m', `What was open in task/${name}`]);
}
