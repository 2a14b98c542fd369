import type { Git } from './git.ts';

/** Work of git that several calls carry on, by the ref that tells that it was begun. */
const marks: Readonly<Record<string, string>> = {
  MERGE_HEAD: 'merge',
  REBASE_HEAD: 'rebase',
  CHERRY_PICK_HEAD: 'cherry-pick',
  REVERT_HEAD: 'revert',
};

/** What was begun in a working directory and not finished: `merge`, `rebase`, `cherry-pick`, `revert`. */
export async function stalledWork(git: Git): Promise<readonly string[]> {
  const stdin = `${Object.keys(marks).join('\n')}\n`;
  // Answers in the order it was asked; a ref that is not there is "missing".
  const found = (await git.run(['cat-file', '--batch-check'], { stdin })).split('\n');
  return Object.values(marks).filter((_, index) => / commit \d+$/.test(found[index] ?? ''));
}
