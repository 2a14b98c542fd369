import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import {
  chmod,
  copyFile,
  link,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { AppError } from '#core/kit/errors.ts';
import { newToken, sha256 } from '#core/kit/ids.ts';
import { markUsed } from './prune-server-files.ts';

const filesMax = 30_000;
const bytesMax = 300 * 1024 * 1024;

/** The files of a server as they were when they were read, with a digest over all of them. */
export interface ServerFiles {
  readonly folder: string;
  readonly digest: string;
}

interface Found {
  readonly directories: string[];
  readonly files: { readonly path: string; readonly mode: number; readonly digest: string }[];
  readonly links: { readonly path: string; readonly target: string }[];
}

/**
 * Copies a server's folder to a place named by its content, so that what was looked at is what runs: an edit of the
 * original takes effect at the next start of the worker, and not in the middle of a session.
 * @throws AppError `config.invalid` for a folder that is missing, too large, or links out of itself.
 */
export async function keepServerFiles(source: string, kept: string): Promise<ServerFiles> {
  const found: Found = { directories: [], files: [], links: [] };
  await walk(source, '', found, { bytes: 0 });
  const digest = sha256(JSON.stringify([found.files, found.links]));
  const folder = path.join(kept, digest.slice(0, 32));
  if (await markUsed(folder)) return { folder, digest };
  const draft = path.join(kept, `.${newToken(9)}`);
  await mkdir(draft, { recursive: true });
  try {
    for (const directory of found.directories) await mkdir(path.join(draft, directory), { recursive: true });
    for (const file of found.files) {
      const target = path.join(draft, file.path);
      await copyFile(path.join(source, file.path), target);
      await chmod(target, file.mode);
    }
    for (const item of found.links) await symlink(item.target, path.join(draft, item.path));
    await rename(draft, folder);
  } catch (err) {
    await rm(draft, { recursive: true, force: true });
    // Another worker of this host kept the same files at the same time.
    if (!(await markUsed(folder))) throw err;
  }
  return { folder, digest };
}

/** Puts kept files into a folder of a sandbox, without taking their space a second time where that is possible. */
export async function placeServerFiles(files: ServerFiles, target: string): Promise<void> {
  const mark = `${target}.digest`;
  if ((await readFile(mark, 'utf8').catch(() => '')) === files.digest) return;
  // Left by an earlier worker that kept other files. What runs from them goes on; what starts from now on is new.
  await rm(mark, { force: true });
  await rm(target, { recursive: true, force: true });
  await mkdir(target, { recursive: true, mode: 0o755 });
  await copyLinked(files.folder, target);
  await writeFile(mark, files.digest);
}

async function copyLinked(from: string, to: string): Promise<void> {
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [path.join(from, entry.name), path.join(to, entry.name)];
    if (entry.isDirectory()) {
      await mkdir(target, { mode: 0o755 });
      await copyLinked(source, target);
    } else if (entry.isSymbolicLink()) await symlink(await readlink(source), target);
    else await link(source, target).catch(async () => await copyFile(source, target));
  }
}

async function walk(root: string, relative: string, found: Found, total: { bytes: number }): Promise<void> {
  const entries = await readdir(path.join(root, relative), { withFileTypes: true }).catch((cause: unknown) => {
    throw invalid(root, `${relative === '' ? 'it' : relative} cannot be read`, cause);
  });
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const place = path.join(relative, entry.name);
    const full = path.join(root, place);
    if (entry.isDirectory()) {
      found.directories.push(place);
      await walk(root, place, found, total);
    } else if (entry.isSymbolicLink()) {
      const target = await readlink(full);
      const lands = path.resolve(path.dirname(full), target);
      if (path.isAbsolute(target) || !`${lands}/`.startsWith(`${path.resolve(root)}/`)) {
        throw invalid(root, `${place} links out of it`);
      }
      found.links.push({ path: place, target });
    } else if (entry.isFile()) {
      const { size, mode } = await stat(full);
      total.bytes += size;
      if (found.files.length >= filesMax || total.bytes > bytesMax) {
        throw invalid(root, `it has more than ${filesMax} files or ${bytesMax >> 20} MiB`);
      }
      found.files.push({ path: place, mode: (mode & 0o111) === 0 ? 0o644 : 0o755, digest: await digestOf(full) });
    } else throw invalid(root, `${place} is neither a file nor a folder`);
  }
}

async function digestOf(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
}

function invalid(root: string, why: string, cause?: unknown): AppError {
  return new AppError('config.invalid', `The files of an MCP server in ${root} cannot be used: ${why}.`, {
    mend: 'Set "files" of the server to a folder that holds all it needs.',
    ...(cause === undefined ? {} : { cause }),
  });
}
