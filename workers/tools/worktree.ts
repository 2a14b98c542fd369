import { z } from 'zod';
import { invariant } from '#core/kit/errors.ts';
import { cleanUpTasks } from '../worktrees/clean-up-tasks.ts';
import { dropTask } from '../worktrees/drop-task.ts';
import { listTasks } from '../worktrees/list-tasks.ts';
import { planUndo, type UndoPlan } from '../worktrees/plan-undo.ts';
import { allRepositories, repositoryOf } from '../worktrees/repository-of.ts';
import { clearStaleLocks } from '../worktrees/stale-locks.ts';
import { startTask } from '../worktrees/start-task.ts';
import { shortCommit, taskOf, taskWord } from '../worktrees/task.ts';
import { undoMerge } from '../worktrees/undo-merge.ts';
import type { Tool, ToolContext, ToolResult } from './tool.ts';
import { shownName, truncateMiddle } from './tool-output.ts';

const parameters = z
  .strictObject({
    action: z.enum(['start', 'list', 'drop', 'undo']).describe('undo takes its merge back.'),
    task: taskWord.optional().describe('Such as fix-login, or app:fix-login in one of several repositories.'),
    from: z.string().min(1).max(200).optional().describe('start: base branch. Default: the current one.'),
  })
  .superRefine(({ action, task }, check) => {
    if (action !== 'list' && task === undefined) check.addIssue({ code: 'custom', message: `${action} takes a task` });
  });

type Arguments = z.infer<typeof parameters> & { readonly plan?: UndoPlan };

/** Tasks of a git repository, each with a branch and a working directory of its own; merged by a tool of its own. */
export function worktreeTool(): Tool<Arguments> {
  return {
    name: 'worktree',
    description:
      'Tasks of a git repository, each with a branch and a working directory of its own, until worktree_merge. start ' +
      'begins one or takes it up again, drop throws it away (unmerged work is kept aside).',
    parameters,
    isParallelSafe: false,
    isIdempotent: true,
    // Looking again is its use.
    mayRepeat: true,
    prepare: async (args, context) =>
      args.action === 'undo' ? { ...args, plan: await lookAtMerge(args.task, context) } : args,
    claim: ({ action, task = '', from, plan }) => {
      if (plan !== undefined && plan.step !== 'finish') {
        return {
          action: 'git.merge',
          resource: plan.base,
          risk: 'medium',
          // The branch alone does not say what happens to it.
          isOnce: true,
          summary: `Undo the merge of task/${taskOf(task).name}: ${describeUndo(plan)}\n\n${plan.shown}`,
        };
      }
      return {
        action: 'git.worktree',
        resource: action === 'list' ? 'list' : taskOf(task).name,
        risk: action === 'drop' ? 'medium' : 'low',
        summary: summaries[action](taskOf(task).name, from),
      };
    },
    run: async ({ action, task = '', from, plan }, context) => {
      if (action === 'list') return await list(context);
      const { name } = taskOf(task);
      const repository = await repositoryOf(context, task);
      switch (action) {
        case 'start':
          return await start(context, repository, name, from);
        case 'drop': {
          const { kept, isMerged } = await dropTask(context, repository, name);
          return { text: describeDropped(name, kept, isMerged), isError: false };
        }
        case 'undo':
          invariant(plan !== undefined, 'an undo is planned before it is decided on');
          return await undoMerge(context, repository, { task: name, plan });
      }
    },
  };
}

const summaries: Readonly<Record<Arguments['action'], (task: string, from: string | undefined) => string>> = {
  start: (task, from) => `Begin task ${task}${from === undefined ? '' : ` on ${from}`} in a worktree`,
  list: () => 'List the tasks in worktrees',
  drop: (task) => `Drop task ${task}: its worktree and branch`,
  undo: (task) => `Undo the merge of ${task}`,
};

async function lookAtMerge(task = '', context: ToolContext): Promise<UndoPlan> {
  return await planUndo(context, await repositoryOf(context, task), taskOf(task).name);
}

async function start(
  context: ToolContext,
  repository: Awaited<ReturnType<typeof repositoryOf>>,
  task: string,
  from: string | undefined,
): Promise<ToolResult> {
  await clearStaleLocks(context, repository);
  const { isNew, path, branch, base, commit, isBaseDirty } = await startTask(context, repository, { task, from });
  const cleaned = await cleanUpTasks(context, repository);
  const lines = [
    `${isNew ? 'Begun' : 'Taken up again'}: work in ${path} (branch ${branch}, for ${base}, now at ${shortCommit(commit)}).`,
    `Give file tools paths below it, and exec this working_directory. worktree_merge commits what is open and brings it into ${base}.`,
    ...(isBaseDirty ? [`What is not committed in ${shownName(repository.root)} is not part of it.`] : []),
    ...cleaned,
  ];
  return { text: lines.join('\n'), isError: false };
}

async function list(context: ToolContext): Promise<ToolResult> {
  const repositories = await allRepositories(context);
  const lines: string[] = [];
  for (const repository of repositories) {
    if (repositories.length > 1) lines.push(`${shownName(repository.root)}:`);
    lines.push(...(await listTasks(context, repository)), ...(await cleanUpTasks(context, repository)));
  }
  return { text: truncateMiddle(lines.join('\n')), isError: false };
}

function describeUndo(plan: Exclude<UndoPlan, { step: 'finish' }>): string {
  const from = shortCommit(plan.from);
  return plan.step === 'reset'
    ? `${plan.base} goes back from ${from} to ${shortCommit(plan.to)}`
    : `a new commit on ${plan.base} (${from}) takes ${shortCommit(plan.merge)} out`;
}

function describeDropped(name: string, kept: readonly string[], isMerged: boolean): string {
  const [first] = kept;
  const back =
    first === undefined
      ? 'Nothing of it was lost: its base branch has all of it.'
      : `What was not merged is kept as ${kept.join(' and ')}: start with from "${first}" and another task name takes it up again. Ignored files are gone.`;
  return `Dropped ${name}. ${back}${isMerged ? ' Its merge stays.' : ''}`;
}
