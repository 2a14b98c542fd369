import type { ToolResult } from '../tools/tool.ts';
import { parentsOf } from './merge-task.ts';
import { moveBase } from './move-base.ts';
import { forgetMerge, type UndoPlan } from './plan-undo.ts';
import type { Repository, WorktreeContext } from './repository.ts';
import { clearStaleLocks } from './stale-locks.ts';
import { readTask, shortCommit } from './task.ts';

/** Takes a merge back, as it was planned and decided on. */
export async function undoMerge(
  context: WorktreeContext,
  repository: Repository,
  { task, plan }: { readonly task: string; readonly plan: UndoPlan },
): Promise<ToolResult> {
  await clearStaleLocks(context, repository);
  const { git } = repository;
  const why = `undo the merge of task/${task}`;
  const done = async (text: string): Promise<ToolResult> => {
    await git.run(['update-ref', '--stdin'], { stdin: forgetMerge(task) });
    return { text, isError: false };
  };
  switch (plan.step) {
    case 'finish':
      return await done(`The merge of ${task} is not in ${plan.base} any more.`);
    case 'reset':
      await moveBase(repository, { task, base: plan.base, from: plan.from, to: plan.to, why });
      return await done(
        `Undone: ${plan.base} is at ${shortCommit(plan.to)} again. The task is as it was and can be merged again.`,
      );
    case 'revert': {
      const { moving } = await readTask(context, repository, task);
      // One that an interrupted call made is used again: the files may be halfway to it.
      const isSame =
        moving !== undefined &&
        (await parentsOf(git, moving)).join() === plan.from &&
        (await git.run(['rev-parse', '--verify', `${moving}^{tree}`])) === plan.tree;
      const text = `Revert the merge of task/${task}\n\nThis reverts commit ${plan.merge}.\n`;
      const commit = isSame
        ? moving
        : await git.run(['commit-tree', plan.tree, '-p', plan.from, '-F', '-'], { stdin: text });
      await moveBase(repository, { task, base: plan.base, from: plan.from, to: commit, why });
      const short = shortCommit(commit);
      return await done(
        `Undone: ${short} on ${plan.base} takes the changes of ${task} out; what came after the merge stays. To bring them back later, revert ${short} in a new task.`,
      );
    }
  }
}
