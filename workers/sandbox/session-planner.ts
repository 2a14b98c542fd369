import path from 'node:path';
import { sandboxLimitsSchema } from '#core/agents/agent-profile.ts';
import type { SandboxPlace } from '#core/sandboxes/sandbox-place.ts';
import { browserLimits, type ContainerPlan, labels, planContainer, sessionKey } from './container-spec.ts';
import { imageMissing } from './docker-engine.ts';
import type { DockerHost } from './docker-host.ts';
import type { SandboxSpec } from './sandbox.ts';
import type { Orphan } from './sweep-orphans.ts';
import type { WorkspaceDisks } from './workspace-disks.ts';

interface SessionPlannerOptions {
  readonly image: string;
  readonly browserImage: string | undefined;
  readonly instance: string;
  readonly socketDirectory: string;
  readonly disks: WorkspaceDisks;
}

/** Turns what an agent asks for, and where its session's files are, into the container to run. */
export class SessionPlanner {
  readonly #options: SessionPlannerOptions;

  constructor(options: SessionPlannerOptions) {
    this.#options = options;
  }

  /** @throws AppError `image.missing`, `sandbox.unavailable`. */
  async plan(
    spec: SandboxSpec,
    host: DockerHost,
    place: Pick<SandboxPlace, 'workspace' | 'disk'>,
  ): Promise<ContainerPlan> {
    const { instance, socketDirectory, disks } = this.#options;
    const isBrowser = spec.kind === 'browser';
    const image = this.imageOf(spec);
    const hostDirectory = path.join(socketDirectory, sessionKey(instance, place.workspace, spec.kind));
    const diskMb = isBrowser ? browserLimits.workspaceMb : spec.limits.disk_mb;
    const planned = planContainer(spec, {
      image,
      imageId: await host.imageId(image),
      instance,
      host: host.name,
      workspace: place.workspace,
      mount: isBrowser ? { kind: 'memory', sizeMb: diskMb } : disks.mountOf(place, diskMb),
      hostDirectory: host.sharesFiles ? hostDirectory : undefined,
      createdAt: new Date(),
    });
    const disk = isBrowser ? 'memory' : place.disk;
    return { ...planned, spec, host, hostDirectory, workspace: place.workspace, disk, diskMb };
  }

  /** @throws AppError `image.missing`. */
  imageOf(spec: SandboxSpec): string {
    if (spec.kind !== 'browser') return spec.limits.image ?? this.#options.image;
    if (this.#options.browserImage === undefined) throw imageMissing('of browsers');
    return this.#options.browserImage;
  }

  /** What is known of a container that another worker made. */
  planOf({ host, container, place, key }: Orphan): ContainerPlan {
    const found = container.Labels;
    const sessionId = place?.sessionId ?? found[labels.session] ?? '';
    const kind = found[labels.kind] === 'browser' ? 'browser' : 'core';
    const limits = sandboxLimitsSchema.parse({});
    return {
      name: `switchyard-${key}`,
      kind,
      digest: found[labels.spec] ?? '',
      options: {},
      memoryMb: Number(found[labels.memoryMb] ?? limits.memory_mb),
      pids: Number(found[labels.pids] ?? limits.pids),
      spec: { sessionId, agent: found[labels.agent] ?? '', limits, kind },
      host,
      hostDirectory: path.join(this.#options.socketDirectory, key),
      workspace: place?.workspace ?? sessionId,
      // It is not watched: what runs in it is only what was running, and its limit is not known here.
      disk: 'memory',
      diskMb: 0,
    };
  }
}

/** The kind of a workspace that is no browser's. */
export function diskOf(plan: ContainerPlan): SandboxPlace['disk'] {
  return plan.disk === 'memory' ? 'watched' : plan.disk;
}
