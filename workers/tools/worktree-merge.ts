import { z } from 'zod';
import { invariant } from '#core/kit/errors.ts';
import { mergeTask } from '../worktrees/merge-task.ts';
import { type MergePlan, nameMerge, planMerge } from '../worktrees/plan-merge.ts';
import { repositoryOf } from '../worktrees/repository-of.ts';
import { taskOf, taskWord } from '../worktrees/task.ts';
import type { Tool } from './tool.ts';
import { clipped } from './tool-output.ts';

const parameters = z.strictObject({
  task: taskWord.describe('As worktree has it.'),
  message: z.string().trim().min(1).max(2000).describe('Commit message.'),
  accept: z
    .array(z.string().min(1).max(4096))
    .max(100)
    .optional()
    .describe('Files in conflict, without markers, to keep as they stand.'),
});

type Arguments = z.infer<typeof parameters> & { readonly plan?: MergePlan };

/** Brings a task into its base branch. What changes that branch is decided apart from what prepares it. */
export function worktreeMergeTool(): Tool<Arguments> {
  return {
    name: 'worktree_merge',
    description:
      'Merge a task into its base branch. A call commits what is open and takes the base branch in, or shows conflicts ' +
      'for you to edit; call again until it is merged.',
    parameters,
    isParallelSafe: false,
    isIdempotent: true,
    // The next step of one merge, not the same thing again.
    mayRepeat: true,
    prepare: async (args, context) => {
      const plan = await planMerge(context, await repositoryOf(context, args.task), taskOf(args.task).name);
      return { ...args, plan };
    },
    claim: ({ task, message, plan }) =>
      plan?.step === 'merge'
        ? {
            action: 'git.merge',
            resource: plan.base,
            risk: 'medium',
            // The branch alone does not say what comes into it.
            isOnce: true,
            summary: `Merge ${nameMerge(taskOf(task).name, plan)}\n${clipped(message)}\n\n${plan.shown}`,
          }
        : {
            action: 'git.worktree',
            resource: taskOf(task).name,
            risk: 'low',
            summary: `Prepare ${taskOf(task).name} for its merge\n${clipped(message)}`,
          },
    run: async ({ task, message, accept = [], plan }, context) => {
      invariant(plan !== undefined, 'a merge is planned before it is decided on');
      const { name } = taskOf(task);
      return await mergeTask(context, await repositoryOf(context, task), { task: name, message, accept, plan });
    },
  };
}
