import { AppError } from '#core/kit/errors.ts';
import { shownName } from '../tools/tool-output.ts';
import { findRepositories, openRepository, type Repository, type WorktreeContext } from './repository.ts';
import { readRefs, taskNames, taskOf } from './task.ts';

/**
 * The repository a task belongs to: the one it names, the only one of the workspace, or the only one that has it.
 * @throws AppError `tool.invalid_arguments`.
 */
export async function repositoryOf(context: WorktreeContext, task: string): Promise<Repository> {
  const { folder, name } = taskOf(task);
  if (folder !== undefined) return await openRepository(context, folder);
  const repositories = await allRepositories(context);
  const [only] = repositories;
  if (only !== undefined && repositories.length === 1) return only;
  const holders: Repository[] = [];
  for (const repository of repositories) {
    if (taskNames(await readRefs(repository.git)).includes(name)) holders.push(repository);
  }
  const [holder] = holders;
  if (holder !== undefined && holders.length === 1) return holder;
  const folders = repositories.map(({ root }) => shownName(root.replace('/workspace/', ''))).join(', ');
  throw new AppError('tool.invalid_arguments', `There are several repositories: ${folders}.`, {
    mend: `Name one of them with the task, such as ${folders.split(', ')[0] ?? 'app'}:${name}.`,
  });
}

/** Every repository of the workspace. @throws AppError `tool.invalid_arguments` when there is none. */
export async function allRepositories(context: WorktreeContext): Promise<readonly Repository[]> {
  const folders = await findRepositories(context);
  const opened: Repository[] = [];
  const refused: unknown[] = [];
  for (const folder of folders) {
    try {
      const repository = await openRepository(context, folder);
      // A worktree of one that is there is no other one.
      if (!opened.some(({ root }) => root === repository.root)) opened.push(repository);
    } catch (err) {
      // One that cannot be used must not keep the others from being used.
      if (!(err instanceof AppError) || err.code !== 'tool.invalid_arguments') throw err;
      refused.push(err);
    }
  }
  if (opened.length > 0) return opened;
  throw (
    refused[0] ??
    new AppError('tool.invalid_arguments', 'There is no git repository in the workspace.', {
      mend: 'Make one with git init and a first commit.',
    })
  );
}
