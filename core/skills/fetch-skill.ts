import { execFile } from 'node:child_process';
import { mkdtemp, readFile, realpath, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { AppError } from '../kit/errors.ts';
import { checkSkill, showable } from './check-skill.ts';
import { readFolder } from './read-folder.ts';
import { readTar } from './read-tar.ts';
import { type RawFile, type Skill, skillLimits } from './skill.ts';

/** A skill from somewhere, checked and not yet trusted. */
export interface FetchedSkill {
  readonly skill: Skill;
  /** As the lock tells it: `folder:…`, `archive:…`, `git:…`. */
  readonly source: string;
  readonly commit: string | undefined;
}

/** How a repository is fetched for somebody who is not at the terminal. */
export interface FetchBounds {
  /** The revision that was shown, in place of what the name stands for by now. */
  readonly commit?: string | undefined;
  /** Addresses the host of a repository was found to have: git connects to no other one. */
  readonly addresses?: readonly string[] | undefined;
}

const cloneMs = 120_000;

/**
 * Reads a skill from a folder, a `.tar.gz` or a git repository (`https://…/x.git` or a path to a bare one, with `#ref` or
 * `#ref:folder` behind it).
 * @throws AppError `skill.invalid` listing every problem with its place.
 */
export async function fetchSkill(source: string, signal: AbortSignal, bounds: FetchBounds = {}): Promise<FetchedSkill> {
  const [, address = source, ref, folder] = /^([^#]+)(?:#([^:]*)(?::(.*))?)?$/.exec(source) ?? [];
  if (/^https:\/\//.test(address) || (/\.git\/?$/.test(address) && (await isFolder(address)))) {
    return await fromGit(
      address,
      { ref: ref === undefined || ref === '' ? 'HEAD' : ref, folder: folder ?? '' },
      bounds,
      signal,
    );
  }
  if (/^[a-z][a-z0-9+.-]+:\/\//i.test(address)) {
    throw new AppError('skill.invalid', `Skills cannot be fetched from ${source}.`, {
      mend: 'Name a folder, a .tar.gz file, or an https:// address of a git repository.',
    });
  }
  if (await isFolder(source)) {
    const place = await realpath(source);
    const { files, problems } = await readFolder(place);
    if (problems.length > 0) throw invalid(place, problems);
    return { ...checked(files, place, path.basename(place)), source: `folder:${place}`, commit: undefined };
  }
  const bytes = await readArchive(source);
  const files = await readTar(bytes, source);
  return {
    ...checked(...onlySkill(files, source, ''), undefined),
    source: `archive:${path.resolve(source)}`,
    commit: undefined,
  };
}

async function readArchive(source: string): Promise<Buffer> {
  const found = await stat(source).catch(() => undefined);
  if (found === undefined || !found.isFile()) {
    throw new AppError('skill.invalid', `There is neither a folder nor a file ${source}.`, {
      mend: 'Name a folder with a SKILL.md, a .tar.gz file, or the https:// address of a git repository.',
    });
  }
  if (found.size > 2 * skillLimits.bytesMax)
    throw invalid(source, [`${source} has ${found.size} bytes, which is too much`]);
  return await readFile(source);
}

/**
 * Clones without a working tree and takes the files from the history's own archive: no file of the repository is ever
 * checked out, no filter and no hook of it runs.
 */
async function fromGit(
  address: string,
  { ref, folder }: { readonly ref: string; readonly folder: string },
  bounds: FetchBounds,
  signal: AbortSignal,
): Promise<FetchedSkill> {
  if (!/^[\w][\w./-]*$/.test(ref))
    throw invalid(address, [`${address}: "${ref.slice(0, 80)}" is no name of a revision`]);
  const work = await mkdtemp(path.join(tmpdir(), 'switchyard-skill-'));
  try {
    const clone = path.join(work, 'clone.git');
    await git([...onlyTo(address, bounds), 'clone', '--quiet', '--bare', '--no-tags', '--', address, clone], signal);
    const wanted = `${bounds.commit ?? ref}^{commit}`;
    const commit = (await git(['-C', clone, 'rev-parse', '--verify', '--end-of-options', wanted], signal))
      .toString()
      .trim();
    const archive = await git(['-C', clone, 'archive', '--format=tar', commit], signal);
    const files = await readTar(archive, address);
    return {
      ...checked(...onlySkill(files, address, folder), undefined),
      source: `git:${address}#${ref}${folder === '' ? '' : `:${folder}`}`,
      commit,
    };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Holds git to addresses that were judged before: it would look the name up again, and follow where it is sent. */
function onlyTo(address: string, { addresses }: FetchBounds): readonly string[] {
  if (addresses === undefined) return [];
  const { hostname, port } = new URL(address);
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  const settings = [
    `http.curloptResolve=${host}:${port === '' ? '443' : port}:${addresses.join(',')}`,
    'http.followRedirects=false',
    'protocol.allow=never',
    'protocol.https.allow=always',
  ];
  return settings.flatMap((setting) => ['-c', setting]);
}

async function git(args: readonly string[], signal: AbortSignal): Promise<Buffer> {
  const bounds = [
    '-c',
    'core.hooksPath=/dev/null',
    '-c',
    'protocol.ext.allow=never',
    '-c',
    'protocol.file.allow=always',
  ];
  try {
    const { stdout } = await promisify(execFile)('git', [...bounds, ...args], {
      encoding: 'buffer',
      maxBuffer: 64 * 1024 * 1024,
      timeout: cloneMs,
      signal,
      env: {
        PATH: '/usr/local/bin:/usr/bin:/bin',
        GIT_TERMINAL_PROMPT: '0',
        GIT_CONFIG_NOSYSTEM: '1',
        GIT_CONFIG_GLOBAL: '/dev/null',
        HOME: '/nonexistent',
      },
    });
    return stdout;
  } catch (err) {
    const said = err instanceof Error && 'stderr' in err ? String(err.stderr).trim().split('\n').at(-1) : undefined;
    throw new AppError(
      'skill.invalid',
      `git could not do it: ${said ?? (err instanceof Error ? err.message : String(err))}.`,
      { cause: err },
    );
  }
}

/** The one skill among the files of an archive or repository, with paths from its own folder on. */
function onlySkill(files: readonly RawFile[], source: string, folder: string): [files: RawFile[], source: string] {
  const roots = files
    .filter((file) => file.path === 'SKILL.md' || file.path.endsWith('/SKILL.md'))
    .map((file) => file.path.slice(0, -'SKILL.md'.length));
  const wanted = folder === '' ? undefined : `${folder.replace(/^\/+|\/+$/g, '')}/`;
  const root =
    wanted === undefined
      ? roots.includes('')
        ? ''
        : roots.length === 1
          ? roots[0]
          : undefined
      : roots.find((item) => item === wanted);
  if (root === undefined) {
    const names = roots.map((item) => item.slice(0, -1)).filter((item) => item !== '');
    const what =
      names.length === 0
        ? 'has no SKILL.md'
        : `has ${names.length} skills: ${names.slice(0, 20).map(showable).join(', ')}`;
    throw new AppError('skill.invalid', `${source} ${what}.`, {
      mend:
        names.length === 0
          ? 'Name a place with a SKILL.md.'
          : `Of a repository, name one as ${source}#HEAD:${showable(names[0] ?? '')}; of an archive, pack one alone.`,
    });
  }
  const own = files
    .filter((file) => file.path.startsWith(root))
    .map((file) => ({ ...file, path: file.path.slice(root.length) }));
  return [own, source];
}

function checked(files: readonly RawFile[], source: string, folderName: string | undefined): { readonly skill: Skill } {
  const { skill, problems } = checkSkill(files, source, folderName);
  if (skill === undefined) throw invalid(source, problems);
  return { skill };
}

function invalid(source: string, problems: readonly string[]): AppError {
  const count = problems.length === 1 ? 'a problem' : `${problems.length} problems`;
  return new AppError('skill.invalid', `The skill has ${count}:\n${problems.slice(0, 50).join('\n')}`, {
    mend: `Mend ${problems.length === 1 ? 'it' : 'them'} in ${source}; nothing was changed.`,
  });
}

async function isFolder(place: string): Promise<boolean> {
  return await stat(place).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
