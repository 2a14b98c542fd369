import type { SandboxLine } from '#cli/cli-deps.ts';
import type { Config } from './config.ts';
import { labels } from '#workers/sandbox/container-spec.ts';
import { openEngine, toEngineError } from '#workers/sandbox/docker-engine.ts';

/** Every sandbox the engine has, running or not, of all installations that use it. */
export async function listSandboxes(config: Pick<Config, 'dockerHosts'>): Promise<readonly SandboxLine[]> {
  try {
    const containers = await openEngine(config.dockerHosts[0]?.url).listContainers({ all: true, filters: { label: [labels.session] } });
    return containers.map((container) => ({
      id: container.Id.slice(0, 12),
      sessionId: container.Labels[labels.session] ?? '',
      agent: container.Labels[labels.agent] ?? '',
      state: container.State,
      createdAt: container.Labels[labels.created] ?? '',
    }));
  } catch (err) {
    throw toEngineError(err);
  }
}
