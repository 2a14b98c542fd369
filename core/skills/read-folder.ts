import { constants } from 'node:fs';
import { lstat, open, readdir } from 'node:fs/promises';
import path from 'node:path';
import { showable } from './check-skill.ts';
import { type RawFile, skillLimits } from './skill.ts';

/** The files of a folder, or why it cannot be a skill's. */
export interface ReadFolder {
  readonly files: readonly RawFile[];
  readonly problems: readonly string[];
}

/** A file as the file system tells of it. */
export interface FoundFile {
  readonly path: string;
  /** Changes whenever the content may have: size, times to the nanosecond, inode and mode. */
  readonly stamp: string;
}

/**
 * Lists the files below a folder without reading them. Links, sockets and devices are problems, and so is more of
 * anything than a skill may have. The top-level `.git` of a checkout is stepped over.
 */
export async function listFolder(
  folder: string,
): Promise<{ files: readonly FoundFile[]; problems: readonly string[] }> {
  const paths: string[] = [];
  const problems: string[] = [];
  let entriesSeen = 0;
  if (!(await lstat(folder)).isDirectory()) {
    return { files: [], problems: [`${folder} is a link or a file; a skill is a folder of its own`] };
  }
  const walk = async (below: string, depth: number): Promise<void> => {
    for (const entry of (await readdir(path.join(folder, below), { withFileTypes: true })).sort(byName)) {
      if (below === '' && entry.name === '.git') continue;
      const relative = below === '' ? entry.name : `${below}/${entry.name}`;
      entriesSeen += 1;
      if (entriesSeen > 4 * skillLimits.filesMax) return;
      if (entry.isDirectory()) {
        if (depth >= skillLimits.depthMax) problems.push(`${folder}/${showable(relative)} lies too deep`);
        else await walk(relative, depth + 1);
      } else if (entry.isFile()) {
        paths.push(relative);
      } else {
        problems.push(
          `${folder}/${showable(relative)} is ${entry.isSymbolicLink() ? 'a link' : 'no ordinary file'}; a skill has files only`,
        );
      }
    }
  };
  await walk('', 0);
  const tooMany = `${folder} has more than ${skillLimits.filesMax} files`;
  if (entriesSeen > 4 * skillLimits.filesMax || paths.length > skillLimits.filesMax) {
    return { files: [], problems: [...problems, tooMany] };
  }
  const files = await Promise.all(
    paths.map(async (relative): Promise<FoundFile> => {
      const found = await lstat(path.join(folder, relative), { bigint: true });
      const { size, mtimeNs, ctimeNs, ino, mode } = found;
      return { path: relative, stamp: [size, mtimeNs, ctimeNs, ino, mode].join(':') };
    }),
  );
  return { files, problems };
}

/** Reads a folder's files, up to the bounds of a skill. */
export async function readFolder(folder: string): Promise<ReadFolder> {
  const listed = await listFolder(folder);
  if (listed.problems.length > 0) return { files: [], problems: listed.problems };
  const files: RawFile[] = [];
  let left: number = skillLimits.bytesMax;
  for (const { path: relative } of listed.files) {
    // A link that took the file's place meanwhile is not followed.
    await using handle = await open(path.join(folder, relative), constants.O_RDONLY | constants.O_NOFOLLOW);
    const { size, mode } = await handle.stat();
    if (size > left) return { files: [], problems: [`${folder} has more than ${skillLimits.bytesMax} bytes`] };
    const bytes = await handle.readFile();
    left -= bytes.length;
    if (left < 0) return { files: [], problems: [`${folder} has more than ${skillLimits.bytesMax} bytes`] };
    files.push({ path: relative, bytes, isExecutable: (mode & 0o111) !== 0 });
  }
  return { files, problems: [] };
}

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return a.name < b.name ? -1 : 1;
}
