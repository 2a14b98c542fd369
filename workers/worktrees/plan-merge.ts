import { z } from 'zod';
import { AppError } from '#core/kit/errors.ts';
import { plainOutput, shownName } from '../tools/tool-output.ts';
import { isDirty, readChanges } from './changes.ts';
import type { Git } from './git.ts';
import type { Repository, WorktreeContext } from './repository.ts';
import { stalledWork } from './stalled-work.ts';
import { type Commit, isAncestor, readTask, requireTask, shortCommit, type Task, taskRefs } from './task.ts';

const commitsMax = 20;
const statFilesMax = 25;
const statCharsMax = 1_600;
const subjectCharsMax = 90;

const commit = z.string();

/** What the next step of a merge is. `merge` names the very commits: they are what people approve. */
export type MergePlan = z.infer<typeof mergePlanSchema>;
const mergePlanSchema = z.discriminatedUnion('step', [
  /** Commits what is open in the task, takes the base in, or settles its conflicts. Nothing of the base changes. */
  z.object({ step: z.literal('update'), base: z.string() }),
  /** It is in its base; only what is remembered of that may be missing. */
  z.object({ step: z.literal('finish'), base: z.string() }),
  z.object({ step: z.literal('merge'), base: z.string(), baseCommit: commit, headCommit: commit, shown: z.string() }),
]);

/**
 * Looks at a task and says what merging it takes next. Changes nothing.
 * @throws AppError `tool.invalid_arguments` when it cannot be merged as it is.
 */
export async function planMerge(context: WorktreeContext, repository: Repository, name: string): Promise<MergePlan> {
  const { git } = repository;
  const task = await readTask(context, repository, name);
  const ready = requireReady(task);
  const { base, baseCommit, head } = ready;
  const begun = await stalledWork(ready.git);
  const other = begun.find((work) => work !== 'merge');
  if (other !== undefined) {
    throw refused(`A ${other} was begun in ${task.path}.`, `Finish it, or give it up with git ${other} --abort there.`);
  }
  if (begun.length > 0 || isDirty(await readChanges(ready.git))) return { step: 'update', base };
  if (await isAncestor(git, head, baseCommit)) {
    if (task.moving !== undefined || task.merged !== undefined) return { step: 'finish', base };
    throw refused(`${name} has no commit that ${base} lacks.`, 'There is nothing to merge.');
  }
  if (!(await isAncestor(git, baseCommit, head))) return { step: 'update', base };
  return { step: 'merge', base, baseCommit, headCommit: head, shown: await showDifference(git, baseCommit, head) };
}

/** What a task must have to be merged. @throws AppError `tool.invalid_arguments`. */
export function requireReady(task: Task): {
  readonly git: Git;
  readonly base: string;
  readonly baseCommit: Commit;
  readonly head: Commit;
} {
  requireTask(task);
  const { name, git, base, baseCommit, head, worktree } = task;
  if (head === undefined) {
    throw refused(`The branch of ${name} is gone.`, 'Drop it, or start it again.');
  }
  if (base === undefined || baseCommit === undefined) {
    throw refused(`The branch that ${name} belongs to is gone.`, 'Merge it with git, or drop it.');
  }
  if (git === undefined || worktree === undefined) {
    throw refused(`${name} has no working directory any more.`, 'Start it again: it is taken up where it was.');
  }
  if (worktree.branch !== taskRefs.branch(name)) {
    const now = worktree.branch === undefined ? 'no branch' : shownName(worktree.branch.replace('refs/heads/', ''));
    throw refused(`${task.path} has ${now} checked out.`, `Switch it back: git switch task/${name}.`);
  }
  return { git, base, baseCommit, head };
}

/** The commits between two, and which files differ by how much, as people read it. Repositories name both. */
async function showDifference(git: Git, from: Commit, to: Commit): Promise<string> {
  const [log, count, stat] = [
    await git.run([
      'log',
      `--max-count=${commitsMax}`,
      '--no-show-signature',
      '--no-decorate',
      '--format=%h %s',
      `${from}..${to}`,
    ]),
    await git.run(['rev-list', '--count', `${from}..${to}`]),
    await showStat(git, from, to),
  ];
  const lines = log.split('\n').map((line) => shownName(plainOutput(line).trim()).slice(0, subjectCharsMax));
  const more = Number(count) - lines.length;
  return [...lines.map((line) => `  ${line}`), ...(more > 0 ? [`  … and ${more} more commits`] : []), stat].join('\n');
}

/** Which files differ by how much. */
export async function showStat(git: Git, from: string, to: string): Promise<string> {
  const stat = await git.run([
    'diff',
    '--no-ext-diff',
    '--no-textconv',
    '--no-color',
    '--ignore-submodules=none',
    `--stat=80,56,${statFilesMax}`,
    '--summary',
    from,
    to,
  ]);
  const plain = stat
    .split('\n')
    .map((line) => shownName(plainOutput(line)))
    .join('\n')
    .trimEnd();
  return plain.length <= statCharsMax
    ? plain
    : `${plain.slice(0, statCharsMax / 2)}\n…\n${plain.slice(-statCharsMax / 2)}`;
}

/** `main (0123456789) ← task/x (abcdef0123)`: what is joined, by name and commit. */
export function nameMerge(name: string, plan: Extract<MergePlan, { step: 'merge' }>): string {
  return `task/${name} (${shortCommit(plan.headCommit)}) into ${plan.base} (${shortCommit(plan.baseCommit)})`;
}

function refused(message: string, mend: string): AppError {
  return new AppError('tool.invalid_arguments', message, { mend });
}
