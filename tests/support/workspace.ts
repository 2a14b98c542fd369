import { expect, inject } from 'vitest';
import { labels } from '#workers/sandbox/container-spec.ts';
import { openEngine } from '#workers/sandbox/docker-engine.ts';
import { eventually } from './eventually.ts';
import type { Product } from './product.ts';

/** The container of the newest session that has one. */
export async function containerOf(product: Product): Promise<string | undefined> {
  const [place] = await product.database.query<{ workspace: string }>(
    'select workspace from sandbox_place order by placed_at desc limit 1',
  );
  const filters = { label: [`${labels.workspace}=${place?.workspace}`] };
  const [found] = await openEngine(inject('dockerHost')).listContainers({ filters });
  return found?.Id;
}

/** Waits until this shell command succeeds in the workspace of the newest session, beside what runs there. */
export async function inWorkspace(product: Product, command: string): Promise<void> {
  await eventually(
    async () => {
      const id = await containerOf(product);
      if (id === undefined) throw new Error('there is no container');
      const exec = await openEngine(inject('dockerHost'))
        .getContainer(id)
        .exec({ Cmd: ['sh', '-c', command], User: '10001', WorkingDir: '/workspace', AttachStdout: true });
      const stream = await exec.start({});
      await new Promise((resolve, reject) => stream.on('end', resolve).on('error', reject).resume());
      expect((await exec.inspect()).ExitCode, command).toBe(0);
    },
    { timeout: 60_000 },
  );
}
