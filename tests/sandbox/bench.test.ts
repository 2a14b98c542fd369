import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, inject, test } from 'vitest';
import { labels } from '#workers/sandbox/container-spec.ts';
import { openEngine } from '#workers/sandbox/docker-engine.ts';

const root = path.resolve(import.meta.dirname, '../..');

test('the bench of sandboxes prints its figures as one JSON object and leaves nothing behind', async () => {
  const dockerHost = inject('dockerHost');
  const running = promisify(execFile)(
    process.execPath,
    ['bench/sandbox.ts', '--json', '--only', 'calls,output,idle', '--idle', '2'],
    { cwd: root, env: { ...process.env, DOCKER_HOST: dockerHost } },
  );
  const pid = running.child.pid ?? 0;
  const { stdout } = await running;
  const lines = stdout.trimEnd().split('\n');
  const figures: unknown = JSON.parse(lines.at(-1) ?? '');
  for (const key of ['call_ms_p50', 'call_ms_p99', 'output_100mb_ms', 'idle_mb_each']) {
    expect(figures).toHaveProperty(key, expect.any(Number));
    expect(lines.some((line) => line.startsWith(key) && line.includes(' n='))).toBe(true);
  }
  expect(figures).toMatchObject({ output_growth_mb: expect.any(Number) });
  const left = await openEngine(dockerHost).listContainers({
    all: true,
    filters: { label: [`${labels.instance}=bench-sandbox-${pid}`] },
  });
  expect(left).toEqual([]);
}, 120_000);
