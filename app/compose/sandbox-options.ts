import path from 'node:path';
import type { DockerSandboxesOptions } from '#workers/sandbox/docker-sandboxes.ts';
import type { Config } from '../config.ts';
import { browserImage, sandboxImage } from '../sandbox-image.ts';

const secondMs = 1000;
const hourMs = 3_600_000;

/** Engines, images, folders and limits of this installation's sandboxes, the same for workers, `doctor` and the CLI. */
export function sandboxOptions(config: Config): DockerSandboxesOptions {
  const { limits } = config;
  return {
    hosts: config.dockerHosts,
    image: sandboxImage,
    browserImage,
    instance: config.dataDir,
    socketDirectory: path.join(config.dataDir, 'sockets'),
    workspaceDirectory: path.join(config.dataDir, 'workspaces'),
    disk: config.sandboxDisk,
    limits: {
      pauseAfterMs: limits.sandboxPauseSeconds * secondMs,
      removeAfterMs: limits.sandboxRemoveSeconds * secondMs,
      ageMs: limits.sandboxAgeHours * hourMs,
      keepMs: limits.sandboxKeepDays * 24 * hourMs,
      poolSize: limits.sandboxPoolSize,
      memoryMb: limits.sandboxMemoryMb,
      overcommitPercent: limits.sandboxOvercommitPercent,
      pidsMax: limits.sandboxPidsMax,
      admitMs: limits.sandboxWaitSeconds * secondMs,
    },
  };
}
