import { z } from 'zod';
import { AppError } from '#core/kit/errors.ts';
import { type Git, openGit } from './git.ts';
import { listWorktrees, type Repository, type WorktreeContext, type WorktreeEntry } from './repository.ts';

const taskCharsMax = 50;
const commitPattern = /^[0-9a-f]{40}(?:[0-9a-f]{24})?$/;

/** A task's name: it becomes part of a branch, a ref and a folder. */
const namePattern = new RegExp(`^(?=.{1,${taskCharsMax}}$)[a-z0-9]+(?:-[a-z0-9]+)*$`);

/** A task as calls name it: `fix-login`, or `app:fix-login` with the folder of its repository. */
export const taskWord = z
  .string()
  .max(4096)
  .refine(
    (word) => namePattern.test(taskOf(word).name) && taskOf(word).folder !== '',
    'small letters, digits and single dashes, such as fix-login',
  );

/** The two parts of such a word. */
export function taskOf(word: string): { readonly folder: string | undefined; readonly name: string } {
  const at = word.lastIndexOf(':');
  return at === -1 ? { folder: undefined, name: word } : { folder: word.slice(0, at), name: word.slice(at + 1) };
}

/** A full commit name, as plans pin them. */
export type Commit = string;

/**
 * What is remembered of a task, all of it in refs: they are written in one step, outlive every crash, and keep the
 * commits they name. `base` leads to the branch it began on and is merged into.
 */
export const taskRefs = {
  branch: (task: string) => `refs/heads/task/${task}`,
  base: (task: string) => `refs/switchyard/base/${task}`,
  /** The merge commit by which the task came into its base last. */
  merged: (task: string) => `refs/switchyard/merged/${task}`,
  /** Where the base is about to be moved to: written before its files are touched, gone when it has moved. */
  moving: (task: string) => `refs/switchyard/moving/${task}`,
  dropped: (name: string) => `refs/switchyard/dropped/${name}`,
} as const;

/** One task of a repository. */
export interface Task {
  readonly name: string;
  readonly path: string;
  /** Undefined when its branch is gone. */
  readonly head: Commit | undefined;
  /** The base branch without `refs/heads/`; undefined when nothing tells it any more. */
  readonly base: string | undefined;
  readonly baseCommit: Commit | undefined;
  readonly merged: Commit | undefined;
  readonly moving: Commit | undefined;
  readonly worktree: WorktreeEntry | undefined;
  /** Git in its worktree; undefined when there is none that works. */
  readonly git: Git | undefined;
  /** When its last commit was made, in seconds; 0 without one. */
  readonly commitAt: number;
}

interface Ref {
  readonly commit: Commit;
  readonly at: number;
  readonly leadsTo: string;
}

/** Every ref of the product and of its tasks' branches, by name. */
export async function readRefs(git: Git): Promise<ReadonlyMap<string, Ref>> {
  const output = await git.run([
    'for-each-ref',
    '--format=%(refname) %(objectname) %(committerdate:unix) %(symref)',
    'refs/heads/task/',
    'refs/switchyard/',
  ]);
  const refs = output.split('\n').flatMap((line): [string, Ref][] => {
    const [name = '', commit = '', at = '', leadsTo = ''] = line.split(' ');
    return commitPattern.test(commit) ? [[name, { commit, at: Number(at) || 0, leadsTo }]] : [];
  });
  return new Map(refs);
}

/** The names of all tasks that have a branch, a worktree, or a base written down. */
export function taskNames(refs: ReadonlyMap<string, Ref>): readonly string[] {
  const found = [...refs.keys()].flatMap((ref) => {
    const name = /^refs\/(?:heads\/task|switchyard\/base)\/([^/]+)$/.exec(ref)?.[1];
    return name !== undefined && namePattern.test(name) ? [name] : [];
  });
  return [...new Set(found)].sort();
}

/** A task as it is now. A worktree that lost its way back is led back first. */
export async function readTask(
  context: WorktreeContext,
  repository: Repository,
  name: string,
  known: { readonly refs?: ReadonlyMap<string, Ref>; readonly worktrees?: readonly WorktreeEntry[] } = {},
): Promise<Task> {
  const { git, tasksFolder, sandbox } = repository;
  const refs = known.refs ?? (await readRefs(git));
  const worktrees = known.worktrees ?? (await listWorktrees(git));
  const branch = taskRefs.branch(name);
  const path = `${tasksFolder}/${name}`;
  const worktree = worktrees.find((entry, index) => index > 0 && entry.path === path);
  const head = refs.get(branch);
  const base = baseName(refs.get(taskRefs.base(name))?.leadsTo);
  const opened = worktree === undefined || worktree.isBroken ? undefined : await openGit(context, sandbox, path);
  return {
    name,
    path,
    head: head?.commit,
    base,
    baseCommit: base === undefined ? undefined : await resolveCommit(git, `refs/heads/${base}`),
    merged: refs.get(taskRefs.merged(name))?.commit,
    moving: refs.get(taskRefs.moving(name))?.commit,
    worktree,
    git: opened,
    commitAt: head?.at ?? 0,
  };
}

/** @throws AppError `tool.invalid_arguments` when nothing is known of it. */
export function requireTask(task: Task): void {
  if (task.head !== undefined || task.worktree !== undefined || task.base !== undefined) return;
  throw new AppError('tool.invalid_arguments', `There is no task ${task.name}.`, {
    mend: 'List the tasks there are, or start it.',
  });
}

/** The commit a full name of a ref or commit stands for. */
export async function resolveCommit(git: Git, name: string): Promise<Commit | undefined> {
  const found = await git.try(['rev-parse', '--verify', '--quiet', `${name}^{commit}`]);
  const commit = found.output.trim();
  return found.isOk && commitPattern.test(commit) ? commit : undefined;
}

export async function isAncestor(git: Git, older: Commit, newer: Commit): Promise<boolean> {
  return (await git.try(['merge-base', '--is-ancestor', older, newer])).isOk;
}

/** The first characters of a commit, as people read them. */
export function shortCommit(commit: Commit): string {
  return commit.slice(0, 10);
}

/** What a base is called; a name that could be read as an option or a path elsewhere is none. */
export function baseName(ref: string | undefined): string | undefined {
  const name = /^refs\/heads\/(.+)$/s.exec(ref ?? '')?.[1];
  return name !== undefined && branchPattern.test(name) ? name : undefined;
}

/** Branches a task may begin on: what git allows, less what looks like an option or is hard to read. */
export const branchPattern = /^(?![-.])(?!.*(?:\.\.|\/\/|@\{|\.lock$))[\w./+@#-]{1,200}$/;
