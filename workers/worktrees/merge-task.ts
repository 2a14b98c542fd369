import { AppError } from '#core/kit/errors.ts';
import type { ToolResult } from '../tools/tool.ts';
import { shownName } from '../tools/tool-output.ts';
import { commitIndex, isDirty, readChanges, stageAll, stageConflicted } from './changes.ts';
import { describeConflicts, openReason, readConflicts } from './conflicts.ts';
import type { Git } from './git.ts';
import { moveBase } from './move-base.ts';
import { type MergePlan, requireReady } from './plan-merge.ts';
import type { Repository, WorktreeContext } from './repository.ts';
import { clearStaleLocks } from './stale-locks.ts';
import { stalledWork } from './stalled-work.ts';
import { type Commit, isAncestor, readTask, shortCommit, type Task, taskRefs } from './task.ts';

interface MergeRequest {
  readonly task: string;
  readonly message: string;
  /** Files that are settled as they stand, though nothing in them shows it. */
  readonly accept: readonly string[];
  readonly plan: MergePlan;
}

/**
 * Does the next step of a merge, as it was planned and decided on. What was planned for other commits than there are now
 * is not done.
 */
export async function mergeTask(
  context: WorktreeContext,
  repository: Repository,
  request: MergeRequest,
): Promise<ToolResult> {
  await clearStaleLocks(context, repository);
  const task = await readTask(context, repository, request.task);
  const { plan } = request;
  switch (plan.step) {
    case 'update':
      return await takeBaseIn(context, repository, task, request);
    case 'finish':
      await remember(repository.git, task, await mergeOf(repository.git, task));
      return { text: `Everything of ${task.name} is in ${plan.base} already.`, isError: false };
    case 'merge':
      return await joinBase(repository, task, plan, request.message);
  }
}

/** Brings the task up to its base, so that a merge can no more fail, and tests can be run on what will come of it. */
async function takeBaseIn(
  context: WorktreeContext,
  { sandbox }: Repository,
  task: Task,
  { message, accept }: MergeRequest,
): Promise<ToolResult> {
  const { git, base, baseCommit } = requireReady(task);
  const done: string[] = [];
  const subject = `Merge ${base} into task/${task.name}`;
  if ((await stalledWork(git)).includes('merge')) {
    const open = await openConflicts(context, sandbox, task, git, accept);
    if (open !== undefined) return open;
    await stageConflicted(git);
    await stageAll(git);
    await commitIndex(git, subject);
    done.push('The conflicts are settled and committed.');
  } else if (isDirty(await readChanges(git))) {
    await stageAll(git);
    if (!(await git.try(['diff-index', '--cached', '--quiet', '--ignore-submodules=none', 'HEAD'])).isOk) {
      await commitIndex(git, message);
      done.push('What was open is committed.');
    }
    if (isDirty(await readChanges(git))) {
      throw new AppError(
        'tool.invalid_arguments',
        `${task.path} holds repositories of their own, or files that change while they are read.`,
        {
          mend: 'Move them out, or name them in .gitignore.',
        },
      );
    }
  }
  if (!(await isAncestor(git, baseCommit, 'HEAD'))) {
    const merged = await git.try([
      'merge',
      '--quiet',
      '--ff',
      '--commit',
      '--no-squash',
      '--no-edit',
      '--no-stat',
      '--no-log',
      '--no-verify',
      '--no-gpg-sign',
      '--no-verify-signatures',
      '--no-rerere-autoupdate',
      '--no-autostash',
      '--strategy=ort',
      '-m',
      subject,
      // By name: it stands in the markers of conflicts.
      `refs/heads/${base}`,
    ]);
    if (!merged.isOk) {
      const open = await openConflicts(context, sandbox, task, git, []);
      if (open !== undefined) return open;
      throw new AppError(
        'tool.invalid_arguments',
        `${base} could not be taken in: ${merged.output.trim().slice(-400)}`,
      );
    }
    done.push(`${base} (${shortCommit(baseCommit)}) was taken in without conflicts.`);
  }
  const next = `task/${task.name} now has everything of ${base}; ${base} is as it was. Check it (run the tests), then call worktree_merge again to merge it.`;
  return { text: [...done, next].join(' '), isError: false };
}

async function openConflicts(
  context: WorktreeContext,
  sandbox: Repository['sandbox'],
  { name, path, base }: Task,
  git: Git,
  accept: readonly string[],
): Promise<ToolResult | undefined> {
  const accepted = new Set(accept.map((file) => file.replace(`${path}/`, '').replace(/^\.\//, '')));
  const open: Awaited<ReturnType<typeof readConflicts>>[number][] = [];
  const reasons: string[] = [];
  for (const conflict of await readConflicts(git)) {
    if (accepted.has(conflict.path)) continue;
    const reason = await openReason(sandbox, path, conflict, context.signal);
    if (reason === undefined) continue;
    open.push(conflict);
    reasons.push(`${shownName(conflict.path)}: ${reason}`);
  }
  if (open.length === 0) return undefined;
  const count = open.length === 1 ? '1 file is' : `${open.length} files are`;
  return {
    text: [
      `${count} in conflict; ${base ?? 'the base branch'} is untouched. Below: HEAD is the task, then what both began with, then ${base ?? 'the base branch'}.`,
      'Edit each file so that it holds what both sides wanted, without the marker lines, then call worktree_merge again. To give up, drop the task.',
      `Look at every file in the worktree of ${name}: what is not shown here is read with read_file.`,
      '',
      await describeConflicts(sandbox, path, open, context.signal),
    ].join('\n'),
    isError: true,
  };
}

/** The merge itself: a commit with both as parents and the files of the task, to which the base then moves. */
async function joinBase(
  repository: Repository,
  task: Task,
  plan: Extract<MergePlan, { step: 'merge' }>,
  message: string,
): Promise<ToolResult> {
  const { git } = repository;
  const { base, baseCommit, headCommit } = plan;
  const name = task.name;
  // One that an interrupted call made is used again: the files may be halfway to it.
  const begun = await mergeOf(git, task);
  const isSame = begun !== undefined && (await parentsOf(git, begun)).join(' ') === `${baseCommit} ${headCommit}`;
  const text = `${message.trim()}\n\nTask: ${name}\n`;
  const merge = isSame
    ? begun
    : await git.run(['commit-tree', `${headCommit}^{tree}`, '-p', baseCommit, '-p', headCommit, '-F', '-'], {
        stdin: text,
      });
  await moveBase(repository, { task: name, base, from: baseCommit, to: merge, why: `merge task/${name}` });
  await remember(git, task, merge);
  return {
    text: `Merged: ${base} is at ${shortCommit(merge)} and has task/${name} (${shortCommit(headCommit)}). worktree undo takes it back; drop removes its working directory when it is of no more use.`,
    isError: false,
  };
}

/** The merge commit that was begun for what the task is now. */
async function mergeOf(git: Git, { moving, head }: Task): Promise<Commit | undefined> {
  if (moving === undefined || head === undefined) return undefined;
  return (await parentsOf(git, moving))[1] === head ? moving : undefined;
}

/** Written in one step, so that what was done is either told of as begun or as done. */
async function remember(git: Git, { name, moving }: Task, merge: Commit | undefined): Promise<void> {
  const lines = [
    ...(merge === undefined ? [] : [`update ${taskRefs.merged(name)} ${merge}`]),
    ...(merge === undefined && moving === undefined ? [] : [`delete ${taskRefs.moving(name)}`]),
  ];
  if (lines.length > 0) await git.run(['update-ref', '--stdin'], { stdin: `${lines.join('\n')}\n` });
}

/** The commits a commit was made from, first the one it continues. */
export async function parentsOf(git: Git, commit: Commit): Promise<readonly Commit[]> {
  return (await git.run(['rev-list', '--parents', '--max-count=1', commit])).split(' ').slice(1);
}
