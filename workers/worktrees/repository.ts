import path from 'node:path';
import { AppError } from '#core/kit/errors.ts';
import { sha256 } from '#core/kit/ids.ts';
import type { Sandbox } from '../sandbox/sandbox.ts';
import { namesOf, nulToLines } from '../tools/shell-quote.ts';
import type { ToolContext } from '../tools/tool.ts';
import { shownName } from '../tools/tool-output.ts';
import { type Git, openGit } from './git.ts';

/** Where the files of tasks lie. Searches and listings by pattern leave it out unless they are pointed into it. */
export const worktreesFolder = '/workspace/.worktrees';
const workspace = '/workspace';
const findMs = 20_000;
const foundMax = 20;

/** One working directory of a repository; the first one is the repository's own. */
export interface WorktreeEntry {
  readonly path: string;
  /** The full name of the branch it has checked out; undefined when it has none. */
  readonly branch: string | undefined;
  /** Its folder is gone, or does not lead back any more. */
  readonly isBroken: boolean;
}

/** A repository of a workspace. */
export interface Repository {
  readonly git: Git;
  readonly sandbox: Sandbox;
  readonly root: string;
  /** Where its objects and refs are. */
  readonly commonDirectory: string;
  /** Where the worktrees of its tasks are. */
  readonly tasksFolder: string;
}

export type WorktreeContext = Pick<ToolContext, 'agent' | 'signal' | 'sandbox'>;

/**
 * Opens the repository that a folder of the workspace belongs to.
 * @throws AppError `tool.invalid_arguments` when it is none, or one that cannot be made harmless.
 */
export async function openRepository(context: WorktreeContext, directory: string): Promise<Repository> {
  const sandbox = await context.sandbox();
  const found = await openGit(context, sandbox, directory);
  const places = await found.try(['rev-parse', '--path-format=absolute', '--git-common-dir']);
  const commonDirectory = places.output.replace(/\n$/, '');
  if (!places.isOk || !isInside(commonDirectory)) throw refused(`${shownName(directory)} is no git repository.`);
  const [main] = await listWorktrees(found);
  if (main === undefined || !isInside(main.path)) throw refused(`${shownName(directory)} has no files of its own.`);
  const root = main.path;
  return {
    git: root === path.posix.resolve(workspace, directory) ? found : await openGit(context, sandbox, root),
    sandbox,
    root,
    commonDirectory,
    tasksFolder: `${worktreesFolder}/${folderName(root)}`,
  };
}

/** The working directories of a repository, its own first. */
export async function listWorktrees(git: Git): Promise<readonly WorktreeEntry[]> {
  const fields = await git.names(['worktree', 'list', '--porcelain']);
  const entries: { path: string; branch: string | undefined; isBroken: boolean; isBare: boolean }[] = [];
  for (const field of fields) {
    const [, word = '', value = ''] = /^(\S+) ?(.*)$/s.exec(field) ?? [];
    if (word === 'worktree') entries.push({ path: value, branch: undefined, isBroken: false, isBare: false });
    const entry = entries.at(-1);
    if (entry === undefined) continue;
    if (word === 'branch') entry.branch = value;
    if (word === 'prunable') entry.isBroken = true;
    if (word === 'bare') entry.isBare = true;
  }
  // One without files of its own has no place that a merge could be seen in.
  return entries[0]?.isBare === true ? [] : entries;
}

function isInside(place: string): boolean {
  return place === workspace || (place.startsWith(`${workspace}/`) && path.posix.resolve(place) === place);
}

/** One folder of tasks for each repository, whatever its path holds. */
function folderName(root: string): string {
  const below = path.posix.relative(workspace, root);
  if (below === '') return 'workspace';
  return /^[\w.-]{1,60}$/.test(below) && !below.startsWith('.')
    ? below
    : `${below.replaceAll(/[^\w-]+/g, '_').slice(0, 40)}-${sha256(below).slice(0, 8)}`;
}

/** The folders of the workspace that are repositories, near its top. */
export async function findRepositories(context: WorktreeContext): Promise<readonly string[]> {
  const sandbox = await context.sandbox();
  const { output } = await sandbox.exec({
    command: `find -P ${workspace} -maxdepth 3 -name node_modules -prune -o -path ${worktreesFolder} -prune -o -name .git -printf '%h\\0' -prune | sort -z | head -z -n ${foundMax} | ${nulToLines}`,
    timeoutMs: findMs,
    outputBytesMax: 1 << 16,
    signal: context.signal,
  });
  return namesOf(output).names;
}

function refused(message: string): AppError {
  return new AppError('tool.invalid_arguments', message, { mend: 'Name the folder of a repository below /workspace.' });
}
