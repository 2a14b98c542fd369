import { isDirty, readChanges } from './changes.ts';
import { removeTask } from './drop-task.ts';
import { listWorktrees, type Repository, type WorktreeContext } from './repository.ts';
import { stalledWork } from './stalled-work.ts';
import { isAncestor, readRefs, readTask, type Task, taskNames, taskRefs } from './task.ts';

const dayMs = 86_400_000;
/** How long, and how many at once, merged tasks keep their working directory. */
const mergedDaysMax = 7;
const mergedMax = 10;
/** How long, and how many at once, dropped work and what is needed to undo a merge are kept. */
const keptDaysMax = 30;
const keptMax = 50;

/**
 * Removes what is old: working directories of tasks that were merged and have nothing open, and refs that keep dropped
 * work or tell of merges. @returns one line for each.
 */
export async function cleanUpTasks(context: WorktreeContext, repository: Repository): Promise<readonly string[]> {
  const { git } = repository;
  const refs = await readRefs(git);
  const worktrees = await listWorktrees(git);
  const told: string[] = [];
  const merged: { task: Task; at: number }[] = [];
  for (const name of taskNames(refs)) {
    const at = refs.get(taskRefs.merged(name))?.at;
    if (at === undefined) continue;
    merged.push({ task: await readTask(context, repository, name, { refs, worktrees }), at: at * 1000 });
  }
  merged.sort((a, b) => b.at - a.at);
  for (const [index, { task, at }] of merged.entries()) {
    const ageMs = Date.now() - at;
    if (ageMs > keptDaysMax * dayMs || index >= keptMax) {
      if (!(await isOver(repository, task))) continue;
      await removeTask(repository, task, { withMerge: true });
      told.push(`${task.name}: merged more than ${keptDaysMax} days ago, forgotten`);
    } else if (task.head !== undefined && (ageMs > mergedDaysMax * dayMs || index >= mergedMax)) {
      if (!(await isOver(repository, task))) continue;
      await removeTask(repository, task, { withMerge: false });
      told.push(`${task.name}: merged and not used any more; its working directory and branch are removed`);
    }
  }
  return [...told, ...(await forgetDropped(repository, [...refs.keys()]))];
}

/** Whether nothing is in a task that its base does not have. */
async function isOver({ git }: Repository, task: Task): Promise<boolean> {
  const { head, baseCommit } = task;
  if (head !== undefined && (baseCommit === undefined || !(await isAncestor(git, head, baseCommit)))) return false;
  if (task.git === undefined) return task.worktree === undefined;
  return !isDirty(await readChanges(task.git)) && (await stalledWork(task.git)).length === 0;
}

async function forgetDropped({ git }: Repository, refs: readonly string[]): Promise<readonly string[]> {
  const dropped = refs
    .flatMap((ref) => {
      const [, year, month, day] = /^refs\/switchyard\/dropped\/.*-(\d{4})(\d\d)(\d\d)T\d{6}Z(?:-\d)?$/.exec(ref) ?? [];
      return day === undefined ? [] : [{ ref, at: Date.parse(`${year}-${month}-${day}`) }];
    })
    .sort((a, b) => b.at - a.at);
  const old = dropped.filter(({ at }, index) => Date.now() - at > keptDaysMax * dayMs || index >= keptMax);
  if (old.length === 0) return [];
  const stdin = old.map(({ ref }) => `delete ${ref}\n`).join('');
  await git.run(['update-ref', '--stdin'], { stdin });
  return old.map(
    ({ ref }) => `${ref.replace('refs/switchyard/', '')}: dropped more than ${keptDaysMax} days ago, forgotten`,
  );
}
