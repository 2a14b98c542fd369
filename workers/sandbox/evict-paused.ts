import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { labels } from './container-spec.ts';
import { engineStatus, removeContainer } from './docker-engine.ts';
import type { DockerHost } from './docker-host.ts';
import { evictionMark } from './live-container.ts';
import { keyOf } from './sweep-orphans.ts';

/**
 * Removes the oldest container that another worker has put to rest, to make room. A mark in its folder comes first and
 * the look at its state second; its worker wakes first and looks for the mark second. So a container that is being
 * removed never gets work, and one that got work is not removed.
 * @returns whether one went.
 */
export async function evictPaused(options: {
  readonly host: DockerHost;
  readonly instance: string;
  readonly socketDirectory: string;
  /** Folders of containers to leave alone. */
  readonly spared: ReadonlySet<string>;
}): Promise<boolean> {
  const { host, instance, socketDirectory, spared } = options;
  // Without a common folder there is no such order; then each worker frees its own.
  if (!host.sharesFiles) return false;
  const found = await host.engine.listContainers({
    filters: { label: [`${labels.instance}=${instance}`], status: ['paused'] },
  });
  for (const container of found.sort((a, b) => a.Created - b.Created)) {
    const key = keyOf(container);
    if (spared.has(key)) continue;
    const mark = path.join(socketDirectory, key, evictionMark);
    try {
      await writeFile(mark, '');
    } catch {
      // Its folder is gone, and so is its worker: the sweep takes it.
      continue;
    }
    try {
      const { State: state } = await host.engine.getContainer(container.Id).inspect();
      if (!state.Paused) continue;
      await removeContainer(host.engine, container.Id);
      return true;
    } catch (err) {
      if (engineStatus(err) !== 404) throw err;
    } finally {
      await rm(mark, { force: true });
    }
  }
  return false;
}
