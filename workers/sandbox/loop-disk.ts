import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, rmdir, stat, statfs, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { AppError } from '#core/kit/errors.ts';
import { newToken } from '#core/kit/ids.ts';
import { workspaceVolume } from './container-spec.ts';

const run = promisify(execFile);

const programFolders = ['/usr/sbin', '/sbin', '/usr/bin', '/bin'];
const needed = ['mkfs.ext4', 'e2fsck', 'resize2fs', 'mount', 'umount', 'losetup'];

/** Programs on files of this size end in milliseconds; only a check of a damaged file system takes long. */
const programMs = 60_000;
/** No new workspace is made when the host has less than this left: sparse files promise what is not there. */
const hostFreeMb = 512;
/** Images nobody knows are left alone for this long: their session may be about to be settled. */
const unknownMs = 86_400_000;

const bytesPerMb = 1 << 20;

/**
 * Workspaces as ext4 file systems in sparse files of the host: as large as they may become, with as many files as that
 * holds. The file system is mounted only while its container starts; after that the container's own mount is the only
 * one, and the kernel frees the loop device with it, however the container or this process ends.
 */
export class LoopDisks {
  readonly #folder: string;
  readonly #programs: ReadonlyMap<string, string>;
  /** Marks what this object mounts and makes; the process's number tells others whether it may still be in use. */
  readonly #mark = `${process.pid}.${newToken(6)}`;
  /** Workspaces mounted by this process at present. */
  readonly #active = new Set<string>();
  readonly #detaching = new Map<string, Promise<void>>();

  private constructor(folder: string, programs: ReadonlyMap<string, string>) {
    this.#folder = folder;
    this.#programs = programs;
  }

  /** Loop file systems below `folder`; undefined where this user or machine cannot have them. */
  static find(folder: string): LoopDisks | undefined {
    if (process.platform !== 'linux' || process.getuid?.() !== 0 || !existsSync('/dev/loop-control')) return undefined;
    const programs = new Map<string, string>();
    for (const name of needed) {
      const place = programFolders.map((each) => path.join(each, name)).find((file) => existsSync(file));
      if (place === undefined) return undefined;
      programs.set(name, place);
    }
    return new LoopDisks(folder, programs);
  }

  /** Where this process mounts a workspace for its container to take over. */
  mountPoint(workspace: string): string {
    return path.join(this.#folder, `${workspaceVolume(workspace)}.${this.#mark}.mnt`);
  }

  /** Makes the mount point, so that a container may be created for it while the rest is prepared. */
  async reserve(workspace: string): Promise<void> {
    await this.#detaching.get(workspace);
    this.#active.add(workspace);
    await mkdir(this.mountPoint(workspace), { recursive: true, mode: 0o700 });
  }

  /**
   * Mounts the workspace at its mount point, made or grown to `sizeMb` first. It is never made smaller.
   * @throws AppError `sandbox.disk_full` when the host has no room, `sandbox.unavailable`.
   */
  async attach(workspace: string, sizeMb: number): Promise<void> {
    const image = this.#image(workspace);
    const isNew = !existsSync(image);
    try {
      if (isNew) await this.#make(image, sizeMb);
      else await this.#grow(image, sizeMb);
      await this.#mount(image, this.mountPoint(workspace));
      // Only root could remove it; nobody of the agent's has been here yet.
      if (isNew) await rmdir(path.join(this.mountPoint(workspace), 'lost+found')).catch(() => undefined);
    } catch (err) {
      if (err instanceof AppError) throw err;
      throw new AppError('sandbox.unavailable', `The workspace’s file system failed: ${lastWords(err)}`, {
        mend: 'See the disk of the data directory, or set SWITCHYARD_SANDBOX_DISK=watched for new sessions.',
        cause: err,
      });
    }
  }

  /** Lets go of the mount; a container that has it keeps it. */
  async detach(workspace: string): Promise<void> {
    const detaching = this.#unmount(this.mountPoint(workspace));
    this.#detaching.set(workspace, detaching);
    await detaching;
    this.#detaching.delete(workspace);
    this.#active.delete(workspace);
  }

  /** Whether `/workspace` of a process really is one of these file systems: the engine may not see our mounts. */
  async isSeenBy(pid: number): Promise<boolean> {
    try {
      const mounts = parseMounts(await readFile(`/proc/${pid}/mountinfo`, 'utf8'));
      return mounts.some(({ place, source }) => place === '/workspace' && source.startsWith('/dev/loop'));
    } catch {
      return false;
    }
  }

  /** Deletes a workspace with every file in it. */
  async remove(workspace: string): Promise<void> {
    await rm(this.#image(workspace), { force: true });
  }

  /** MiB the workspace takes on the host; undefined when there is none. */
  async usedMb(workspace: string): Promise<number | undefined> {
    try {
      return ((await stat(this.#image(workspace))).blocks * 512) / bytesPerMb;
    } catch {
      return undefined;
    }
  }

  /**
   * Clears what processes that died left: mounts, half-made images, and images of workspaces nobody knows.
   * @returns how many mounts and images went.
   */
  async sweep(known: ReadonlySet<string>): Promise<number> {
    let cleared = 0;
    const mounts = parseMounts(await readFile('/proc/self/mountinfo', 'utf8'));
    const mounted = new Set(mounts.map(({ place }) => place));
    const own = new Set([...this.#active].map((workspace) => this.mountPoint(workspace)));
    const wanted = new Set([...known].map((workspace) => path.basename(this.#image(workspace))));
    for (const name of await readdir(this.#folder).catch(() => [])) {
      const file = path.join(this.#folder, name);
      const [, mark = '', pid = '', kind = ''] = /\.((\d+)\.[\w-]+)\.(mnt|new)$/.exec(name) ?? [];
      if (kind !== '') {
        // What this object makes at present is seen to by whoever has it made.
        if (mark === this.#mark ? own.has(file) || kind === 'new' : isAlive(Number(pid))) continue;
        if (kind === 'new') await rm(file, { force: true });
        else if (mounted.has(file)) await this.#unmount(file);
        else await rmdir(file).catch(() => undefined);
        cleared++;
      } else if (name.endsWith('.img') && !wanted.has(name) && (await this.#isForgotten(file))) {
        await rm(file, { force: true });
        cleared++;
      }
    }
    return cleared;
  }

  async #isForgotten(image: string): Promise<boolean> {
    try {
      if (Date.now() - (await stat(image)).mtimeMs < unknownMs) return false;
      return (await this.#devicesOf(image)) === '';
    } catch {
      return false;
    }
  }

  #image(workspace: string): string {
    return path.join(this.#folder, `${workspaceVolume(workspace)}.img`);
  }

  async #make(image: string, sizeMb: number): Promise<void> {
    const { bavail, bsize } = await statfs(this.#folder);
    const freeMb = Math.floor((bavail * bsize) / bytesPerMb);
    if (freeMb < hostFreeMb) {
      throw new AppError('sandbox.disk_full', `The host has ${freeMb} MiB left, too little for another workspace.`, {
        mend: 'Free room on the disk of the data directory; ./switchyard sandbox prune --workspaces helps.',
      });
    }
    const draft = `${image}.${newToken(6)}.${this.#mark}.new`;
    try {
      await writeFile(draft, '', { mode: 0o600 });
      await truncate(draft, sizeMb * bytesPerMb);
      const extended = 'lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=10001:10001';
      await this.#call('mkfs.ext4', ['-q', '-F', '-m', '0', '-i', '8192', '-J', 'size=4', '-E', extended, draft]);
      await rename(draft, image);
    } catch (err) {
      await rm(draft, { force: true });
      throw err;
    }
  }

  async #grow(image: string, sizeMb: number): Promise<void> {
    if ((await stat(image)).size >= sizeMb * bytesPerMb) return;
    // Still attached: the last container is going away; the next start grows it.
    if ((await this.#devicesOf(image)) !== '') return;
    await this.#check(image);
    await truncate(image, sizeMb * bytesPerMb);
    await this.#call('resize2fs', [image]);
  }

  async #mount(image: string, place: string): Promise<void> {
    // mount(8) takes the device that already has this file, so one image is never written through two.
    const mount = async () =>
      await this.#call('mount', ['-t', 'ext4', '-o', 'loop,nosuid,nodev,noatime,discard', image, place]);
    try {
      await mount();
    } catch {
      if ((await this.#devicesOf(image)) === '') await this.#check(image);
      await mount();
    }
  }

  async #unmount(place: string): Promise<void> {
    await this.#call('umount', ['-l', place]).catch(() => undefined);
    await rmdir(place).catch(() => undefined);
  }

  /** Repairs what is safe to repair, and else whatever can be: nobody could be asked, and the session would be lost. */
  async #check(image: string): Promise<void> {
    for (const manner of ['-p', '-y']) {
      try {
        await this.#call('e2fsck', ['-f', manner, image]);
        return;
      } catch (err) {
        const code = typeof err === 'object' && err !== null && 'code' in err ? Number(err.code) : Number.NaN;
        // 1: errors were corrected.
        if (code === 1) return;
        if (manner === '-y' || !(code >= 4)) throw err;
      }
    }
  }

  async #devicesOf(image: string): Promise<string> {
    return (await this.#call('losetup', ['-n', '-O', 'NAME', '-j', image])).trim();
  }

  async #call(program: string, args: readonly string[]): Promise<string> {
    const { stdout } = await run(this.#programs.get(program) ?? program, [...args], { timeout: programMs });
    return stdout;
  }
}

interface Mount {
  readonly place: string;
  readonly source: string;
}

/** Lines of a mountinfo file; blanks in paths are written as octal numbers there. */
function parseMounts(text: string): readonly Mount[] {
  const plain = (word: string) =>
    word.replaceAll(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
  return text.split('\n').flatMap((line) => {
    const [before = '', after = ''] = line.split(' - ');
    const place = before.split(' ')[4];
    const source = after.split(' ')[1];
    return place === undefined || source === undefined ? [] : [{ place: plain(place), source }];
  });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (err) {
    return typeof err === 'object' && err !== null && 'code' in err && err.code === 'EPERM';
  }
}

function lastWords(err: unknown): string {
  const text = typeof err === 'object' && err !== null && 'stderr' in err ? String(err.stderr) : '';
  const message = err instanceof Error ? err.message : String(err);
  return (text.trim().split('\n').at(-1) || message).slice(0, 300);
}
