import { AppError } from '#core/kit/errors.ts';
import { newToken } from '#core/kit/ids.ts';
import type { DiskKind, SandboxPlace } from '#core/sandboxes/sandbox-place.ts';
import { labels, type WorkspaceMount, workspaceVolume } from './container-spec.ts';
import { engineStatus, removeVolume } from './docker-engine.ts';
import type { DockerHost } from './docker-host.ts';
import { LoopDisks } from './loop-disk.ts';

/** What an operator may ask for: the best there is, or one kind. */
export type DiskChoice = DiskKind | 'auto';

interface WorkspaceDisksOptions {
  /** Folder of the workspaces that are files of this host; absent: none are. */
  readonly directory: string | undefined;
  readonly choice: DiskChoice;
  readonly instance: string;
}

/** Makes, measures and removes workspaces, each in the firmest way its host allows. */
export class WorkspaceDisks {
  readonly #options: WorkspaceDisksOptions;
  readonly loop: LoopDisks | undefined;
  readonly #kinds = new Map<string, Promise<DiskKind>>();

  constructor(options: WorkspaceDisksOptions) {
    this.#options = options;
    this.loop = options.directory === undefined ? undefined : LoopDisks.find(options.directory);
  }

  /** The kind of new workspaces on a host. @throws AppError `sandbox.unavailable` when one was asked for that it cannot have. */
  async kindOn(host: DockerHost): Promise<DiskKind> {
    const known = this.#kinds.get(host.name);
    if (known !== undefined) return await known;
    const found = this.#probe(host);
    this.#kinds.set(host.name, found);
    found.catch(() => this.#kinds.delete(host.name));
    return await found;
  }

  /** Takes back that a host can mount our file systems, after a container showed that it does not see them. */
  rejectLoop(host: DockerHost): void {
    this.#kinds.set(host.name, this.#probe(host, false));
  }

  /** How a workspace comes into its container. @throws AppError `sandbox.unavailable`. */
  mountOf(place: Pick<SandboxPlace, 'workspace' | 'disk'>, diskMb: number): WorkspaceMount {
    switch (place.disk) {
      case 'loop':
        return { kind: 'bind', path: this.#loopOrFail().mountPoint(place.workspace), name: place.workspace };
      case 'quota':
        return { kind: 'volume', name: workspaceVolume(place.workspace), quotaMb: diskMb };
      case 'watched':
        return { kind: 'volume', name: workspaceVolume(place.workspace) };
    }
  }

  /** Deletes a workspace with every file in it. A volume that is in use stays. */
  async remove(host: DockerHost, place: Pick<SandboxPlace, 'workspace' | 'disk'>): Promise<void> {
    if (place.disk === 'loop') await this.loop?.remove(place.workspace);
    else await removeVolume(host.engine, workspaceVolume(place.workspace));
  }

  /** Whether there is a volume from before sessions had places. */
  async hasVolume(host: DockerHost, workspace: string): Promise<boolean> {
    try {
      await host.engine.getVolume(workspaceVolume(workspace)).inspect();
      return true;
    } catch (err) {
      const status = engineStatus(err);
      // A proxy in front of the engine may not let us look; then there is nothing we could know.
      if (status === 404 || status === 403) return false;
      throw host.toError(err);
    }
  }

  async #probe(host: DockerHost, mayLoop = true): Promise<DiskKind> {
    const { choice } = this.#options;
    const canLoop = mayLoop && host.isLocal && host.sharesFiles && this.loop !== undefined;
    if (choice === 'watched') return 'watched';
    if (choice === 'loop' || (choice === 'auto' && canLoop)) {
      if (canLoop) return 'loop';
      throw new AppError('sandbox.unavailable', `Workspaces on ${host.name} cannot be file systems of their own.`, {
        mend: 'That needs a local engine, Linux, root and mkfs.ext4. Or set SWITCHYARD_SANDBOX_DISK to auto.',
      });
    }
    if (await this.#hasQuota(host)) return 'quota';
    if (choice === 'auto') return 'watched';
    throw new AppError('sandbox.unavailable', `The Docker engine ${host.name} has no disk quotas.`, {
      mend: 'Its data must be on XFS mounted with pquota. Or set SWITCHYARD_SANDBOX_DISK to auto.',
    });
  }

  /** Asks the engine for a volume with a size; it refuses unless its disk has project quotas. */
  async #hasQuota(host: DockerHost): Promise<boolean> {
    const name = `switchyard-probe-${newToken(9)}`;
    try {
      await host.engine.createVolume({
        Name: name,
        Driver: 'local',
        DriverOpts: { size: '16m' },
        Labels: { [labels.instance]: this.#options.instance },
      });
      await removeVolume(host.engine, name);
      return true;
    } catch (err) {
      if (engineStatus(err) !== undefined) return false;
      throw host.toError(err);
    }
  }

  #loopOrFail(): LoopDisks {
    if (this.loop !== undefined) return this.loop;
    throw new AppError('sandbox.unavailable', 'This session’s files are a file system that this worker cannot mount.', {
      mend: 'Run the worker as root with mkfs.ext4 installed, as when the session began.',
    });
  }
}
