import { z } from 'zod';
import { AppError } from '#core/kit/errors.ts';
import { plainOutput } from '../tools/tool-output.ts';
import type { Git } from './git.ts';
import { parentsOf } from './merge-task.ts';
import { showStat } from './plan-merge.ts';
import type { Repository, WorktreeContext } from './repository.ts';
import { type Commit, isAncestor, readTask, requireTask, taskRefs } from './task.ts';

/** How a merge is taken back; names the commits, because they are what people approve. */
export type UndoPlan = z.infer<typeof undoPlanSchema>;
const undoPlanSchema = z.discriminatedUnion('step', [
  /** Nothing came after: the base goes back to where it was. */
  z.object({ step: z.literal('reset'), base: z.string(), from: z.string(), to: z.string(), shown: z.string() }),
  /** Something came after: a commit on top takes the changes out. */
  z.object({
    step: z.literal('revert'),
    base: z.string(),
    from: z.string(),
    merge: z.string(),
    tree: z.string(),
    shown: z.string(),
  }),
  /** It was taken out already. */
  z.object({ step: z.literal('finish'), base: z.string() }),
]);

/**
 * Says how the last merge of a task can be taken back. Changes nothing.
 * @throws AppError `tool.invalid_arguments` when there is none, or when later changes stand in its way.
 */
export async function planUndo(context: WorktreeContext, repository: Repository, name: string): Promise<UndoPlan> {
  const { git } = repository;
  const task = await readTask(context, repository, name);
  requireTask(task);
  const { merged, base, baseCommit } = task;
  if (merged === undefined || base === undefined || baseCommit === undefined) {
    throw refused(`No merge of ${name} is known.`, 'One that was not merged can be dropped.');
  }
  if (!(await isAncestor(git, merged, baseCommit))) return { step: 'finish', base };
  const [before, tasks] = await parentsOf(git, merged);
  if (before === undefined || tasks === undefined) throw refused(`${merged} is no merge.`, 'Undo it with git.');
  if (merged === baseCommit && !(await isElsewhere(git, merged, `refs/heads/${base}`))) {
    const shown = await showStat(git, merged, before);
    return { step: 'reset', base, from: merged, to: before, shown };
  }
  const tree = await revertedTree(git, { merge: merged, before, tip: baseCommit, base });
  if (tree === (await git.run(['rev-parse', '--verify', `${baseCommit}^{tree}`]))) return { step: 'finish', base };
  const shown = await showStat(git, baseCommit, tree);
  return { step: 'revert', base, from: baseCommit, merge: merged, tree, shown };
}

/** Whether another branch, a tag or what a remote is known to have holds a commit: then it must not be unmade. */
async function isElsewhere(git: Git, commit: Commit, but: string): Promise<boolean> {
  const holders = await git.run([
    'for-each-ref',
    `--contains=${commit}`,
    '--format=%(refname)',
    'refs/heads/',
    'refs/remotes/',
    'refs/tags/',
  ]);
  return holders.split('\n').some((ref) => ref !== '' && ref !== but);
}

/** The files of a branch without what a merge brought, as a merge of the state before it, with it as the ancestor. */
async function revertedTree(
  git: Git,
  { merge, before, tip, base }: { merge: Commit; before: Commit; tip: Commit; base: string },
): Promise<string> {
  const without = await git.run(['commit-tree', `${before}^{tree}`, '-p', merge, '-m', 'without']);
  const result = await git.try(['merge-tree', '--write-tree', '--name-only', '--no-messages', tip, without]);
  const [tree = '', ...names] = result.output.trimEnd().split('\n');
  if (result.isOk) return tree;
  if (result.exitCode !== 1)
    throw refused(`The merge cannot be taken out: ${plainOutput(result.output).slice(-300)}`, '');
  const files = names.map((file) => plainOutput(file)).slice(0, 10);
  throw refused(
    `Later commits of ${base} changed what the merge had changed: ${files.join(', ')}.`,
    'Begin a new task and change it back there by hand.',
  );
}

function refused(message: string, mend: string): AppError {
  return new AppError('tool.invalid_arguments', message, mend === '' ? {} : { mend });
}

/** The refs that tell of a merge; gone when it was undone. */
export function forgetMerge(name: string): string {
  return `delete ${taskRefs.merged(name)}\ndelete ${taskRefs.moving(name)}\n`;
}
