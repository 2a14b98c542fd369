import { namesOf, nulToLines, quoted } from '../tools/shell-quote.ts';
import type { Repository, WorktreeContext } from './repository.ts';

const locksMs = 20_000;
const locksMax = 50;
/** A lock younger than this may belong to somebody who is between two steps. */
const staleSeconds = 10;

/**
 * Removes locks that a git which was killed left behind: those that are not new, while no git lives in the container
 * and no process has them open. Objects and packs are left alone; their locks are git's own matter.
 * @returns the names of those removed, below the repository's own folder.
 */
export async function clearStaleLocks(
  context: Pick<WorktreeContext, 'signal'>,
  { sandbox, commonDirectory }: Pick<Repository, 'sandbox' | 'commonDirectory'>,
): Promise<readonly string[]> {
  const { output } = await sandbox.exec({
    command: script,
    workingDirectory: commonDirectory,
    timeoutMs: locksMs,
    outputBytesMax: 1 << 16,
    signal: context.signal,
  });
  return namesOf(output).names;
}

const isGitAlive = `grep -qsx 'git' /proc/[0-9]*/comm || grep -qs '^git-' /proc/[0-9]*/comm`;
const isOpen = `find /proc/[0-9]*/fd -lname "$PWD/\${lock#./}" 2>/dev/null | grep -q .`;
const find = [
  `find -P . -name objects -prune -o -type f -name '*.lock'`,
  `! -newermt ${quoted(`-${staleSeconds} seconds`)} -print0`,
  `| head -z -n ${locksMax}`,
].join(' ');
const script = `if ${isGitAlive}; then exit 0; fi; ${find} | while IFS= read -rd '' lock; do if ! ${isOpen}; then rm -f -- "$lock" 2>/dev/null && printf '%s\\0' "$lock"; fi; done | ${nulToLines}`;
