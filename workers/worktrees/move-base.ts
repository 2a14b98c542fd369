import { AppError } from '#core/kit/errors.ts';
import { shownName } from '../tools/tool-output.ts';
import { readChanges, requireNothingBegun, someNames } from './changes.ts';
import type { Git } from './git.ts';
import { listWorktrees, type Repository } from './repository.ts';
import { type Commit, isAncestor, resolveCommit, taskRefs } from './task.ts';

interface Move {
  readonly task: string;
  readonly base: string;
  readonly from: Commit;
  readonly to: Commit;
  /** For the log of the branch. */
  readonly why: string;
}

/**
 * Moves a base branch from one commit to another, with its files when it is checked out in the repository's own
 * directory. Nothing is touched when the branch stands elsewhere meanwhile, or when its files were changed. Called again
 * after a crash, it goes on. The ref that tells of the move stays, for the caller to take away with what it remembers.
 * @throws AppError `tool.invalid_arguments`, saying what is in the way.
 */
export async function moveBase(repository: Repository, move: Move): Promise<void> {
  const { git } = repository;
  const { task, base, from, to } = move;
  const ref = `refs/heads/${base}`;
  const now = await resolveCommit(git, ref);
  if (now === to) return;
  if (now !== from) throw refused(`${base} was moved meanwhile.`, 'Call the tool again: it looks anew.');
  const holders = (await listWorktrees(git)).filter((entry) => entry.branch === ref);
  const elsewhere = holders.find((entry) => entry.path !== repository.root);
  if (elsewhere !== undefined) {
    throw refused(
      `${base} is checked out in ${shownName(elsewhere.path)}, not in ${shownName(repository.root)}.`,
      'Switch that worktree to another branch, or remove it.',
    );
  }
  const moving = taskRefs.moving(task);
  if (holders.length === 0) {
    await git.run(['update-ref', moving, to]);
    await git.run(['update-ref', '-m', move.why, ref, to, from]);
    return;
  }
  await requireNothingBegun(git, shownName(repository.root));
  if (!(await isCleanOrHalfway(repository, move))) {
    const { tracked } = await readChanges(git);
    throw refused(
      `${shownName(repository.root)} has changes on ${base} that are not committed: ${someNames(tracked)}.`,
      'Commit them, or put them aside with git stash.',
    );
  }
  await git.run(['update-ref', moving, to]);
  const isForward = await isAncestor(git, from, to);
  // Both leave alone what is not committed, and refuse when it is in the way.
  await git.run(
    isForward
      ? ['merge', '--quiet', '--ff-only', '--no-verify-signatures', '--no-stat', '--no-autostash', to]
      : ['reset', '--quiet', '--keep', '--no-recurse-submodules', to],
  );
}

/**
 * Whether the files of the base are as committed. A worker or container that died while they were changed leaves some
 * as they were and some as they shall be: those are put back, when each of them is one of the two.
 */
async function isCleanOrHalfway(repository: Repository, { task, from, to }: Move): Promise<boolean> {
  const { git } = repository;
  if ((await readChanges(git)).tracked.length === 0) return true;
  const intended = await resolveCommit(git, taskRefs.moving(task));
  if (intended !== to) return false;
  const [before, after] = [await differencesTo(git, from), await differencesTo(git, to)];
  const moved = pairsOf(await git.names(['diff-tree', '-r', '--no-renames', '--name-status', from, to]));
  const isOneOfBoth = (name: string): boolean => {
    const [old, next] = [before.get(name), after.get(name)];
    switch (moved.get(name)) {
      case 'A':
        return next === undefined || next === 'D';
      case 'D':
        return old === undefined || old === 'D';
      case 'M':
      case 'T':
        // Gone for a moment: it is taken away before it is written anew.
        return old === undefined || next === undefined || (old === 'D' && next === 'D');
      default:
        return false;
    }
  };
  if (![...before.keys(), ...after.keys()].every(isOneOfBoth)) return false;
  // By way of the new one, so that files which only that has, and which were written already, go as well.
  await git.run(['read-tree', '--reset', to]);
  await git.run(['read-tree', '--reset', '-u', from]);
  return (await readChanges(git)).tracked.length === 0;
}

/** The files of a commit that stand otherwise in the directory: changed (`M`, `T`) or not there (`D`). */
async function differencesTo(git: Git, commit: Commit): Promise<ReadonlyMap<string, string>> {
  const variables = { GIT_INDEX_FILE: `/tmp/switchyard-${commit}.index` };
  await git.run(['read-tree', commit], { variables });
  // Says with its exit code that there are some.
  await git.try(['update-index', '-q', '--refresh'], { variables });
  const command = ['diff-files', '--name-status', '--no-renames', '--ignore-submodules=dirty'];
  return pairsOf(await git.names(command, { variables }));
}

/** Names by their state, from a list that tells each state before its name. */
function pairsOf(fields: readonly string[]): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (let at = 0; at + 1 < fields.length; at += 2) found.set(fields[at + 1] ?? '', fields[at] ?? '');
  return found;
}

function refused(message: string, mend: string): AppError {
  return new AppError('tool.invalid_arguments', message, { mend });
}
