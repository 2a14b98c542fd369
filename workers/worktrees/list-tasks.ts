import { formatDuration } from '#core/kit/duration.ts';
import { shownName } from '../tools/tool-output.ts';
import { readChanges } from './changes.ts';
import { listWorktrees, type Repository, type WorktreeContext } from './repository.ts';
import { clearStaleLocks } from './stale-locks.ts';
import { stalledWork } from './stalled-work.ts';
import { isAncestor, readRefs, readTask, shortCommit, type Task, taskNames, taskRefs } from './task.ts';

const tasksMax = 40;
const droppedMax = 10;

/**
 * The tasks of a repository, a line each. What is broken and can be mended without losing anything is mended: a worktree
 * that was moved with the workspace, the entry of one that is gone, a lock nobody holds.
 */
export async function listTasks(context: WorktreeContext, repository: Repository): Promise<readonly string[]> {
  const { git, tasksFolder } = repository;
  const mended = (await clearStaleLocks(context, repository)).map(
    (lock) => `Removed a lock nobody held: ${shownName(lock)}.`,
  );
  const broken = (await listWorktrees(git)).filter(
    ({ isBroken, path }) => isBroken && path.startsWith(`${tasksFolder}/`),
  );
  for (const { path } of broken) {
    // Leads a folder that is there back; the entry of one that is not goes with the next line.
    await git.try(['worktree', 'repair', '--', path]);
    mended.push(`Looked after ${shownName(path)}, which had lost its repository or its folder.`);
  }
  if (broken.length > 0) await git.run(['worktree', 'prune', '--expire=now']);
  const refs = await readRefs(git);
  const worktrees = await listWorktrees(git);
  const lines: string[] = [];
  for (const name of taskNames(refs).slice(0, tasksMax)) {
    lines.push(await describeTask(repository, await readTask(context, repository, name, { refs, worktrees })));
  }
  const dropped = [...refs]
    .filter(([ref]) => ref.startsWith('refs/switchyard/dropped/'))
    .sort((a, b) => b[1].at - a[1].at);
  for (const [ref, { commit }] of dropped.slice(0, droppedMax)) {
    lines.push(`${shownName(ref.replace('refs/switchyard/', ''))}: kept at ${shortCommit(commit)}`);
  }
  if (dropped.length > droppedMax) lines.push(`and ${dropped.length - droppedMax} more dropped ones`);
  return [...mended, ...(lines.length === 0 ? ['No tasks.'] : lines)];
}

async function describeTask({ git }: Repository, task: Task): Promise<string> {
  const { name, head, base, baseCommit, merged, moving } = task;
  const facts: string[] = [];
  if (base === undefined) facts.push('its base branch is gone');
  if (head === undefined) facts.push('its branch is removed');
  if (head !== undefined && baseCommit !== undefined) {
    const counts = await git.run(['rev-list', '--left-right', '--count', `${baseCommit}...${head}`]);
    const [behind = '0', ahead = '0'] = counts.split('\t');
    facts.push(`${ahead} ahead, ${behind} behind`);
  }
  if (merged !== undefined && baseCommit !== undefined && (await isAncestor(git, merged, baseCommit))) {
    facts.push(`merged as ${shortCommit(merged)}`);
  }
  if (moving !== undefined) facts.push('a merge was interrupted: call worktree_merge again');
  if (task.git !== undefined) facts.push(...(await describeFiles(task)));
  else if (head !== undefined) facts.push('no working directory: start takes it up again');
  if (task.commitAt > 0) facts.push(`last commit ${formatDuration(Date.now() - task.commitAt * 1000)} ago`);
  return `${name} (${taskRefs.branch(name).replace('refs/heads/', '')} → ${base ?? 'unknown'}): ${facts.join('; ')}`;
}

async function describeFiles({ git, path, worktree, name }: Task): Promise<readonly string[]> {
  if (git === undefined) return [];
  const { tracked, untracked, conflicted } = await readChanges(git);
  const begun = await stalledWork(git);
  return [
    `files in ${path}`,
    ...(worktree?.branch === taskRefs.branch(name) ? [] : ['another branch is checked out there']),
    ...(tracked.length + untracked.length > 0 ? [`${tracked.length + untracked.length} not committed`] : []),
    ...(conflicted.length > 0 ? [`${conflicted.length} in conflict`] : []),
    ...begun.map((work) => `a ${work} was begun`),
  ];
}
