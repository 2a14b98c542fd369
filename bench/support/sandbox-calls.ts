import { setTimeout as delay } from 'node:timers/promises';
import type { DockerSandboxes } from '#workers/sandbox/docker-sandboxes.ts';
import type { Figure } from '../sandbox.ts';
import { callTool, newSession, type SandboxSite, signal, specOf } from './sandbox-site.ts';
import { quantile } from './stage.ts';

const warmUps = 100;
const calls = 1000;
const fleetSize = 50;
const fleetMs = 10_000;
const outputs = 5;
const outputBytes = 100_000_000;

/** The overhead of one tool call: a command that does nothing, one after the other, in one container. */
export async function measureCalls(site: SandboxSite): Promise<Record<string, Figure>> {
  const spec = specOf(newSession());
  const sandboxes = site.worker();
  for (let i = 0; i < warmUps; i++) await callTool(sandboxes, spec);
  const took: number[] = [];
  for (let i = 0; i < calls; i++) {
    const startedAt = performance.now();
    await callTool(sandboxes, spec);
    took.push(performance.now() - startedAt);
  }
  await site.end(sandboxes, [spec.sessionId]);
  return {
    call_ms_p50: { value: quantile(took, 0.5), samples: calls, goal: '< 3' },
    call_ms_p99: { value: quantile(took, 0.99), samples: calls, goal: '< 15' },
  };
}

/** Calls per second over fifty containers that each have one call under way. */
export async function measureFleet(site: SandboxSite): Promise<Record<string, Figure>> {
  const sandboxes = site.worker({ overcommitPercent: 5000 });
  const specs = Array.from({ length: fleetSize }, () => specOf(newSession()));
  await inBatches(specs, 4, async (spec) => void (await callTool(sandboxes, spec)));
  await Promise.all(specs.map((spec) => callFor(sandboxes, spec, 1000)));
  const startedAt = performance.now();
  const done = await Promise.all(specs.map((spec) => callFor(sandboxes, spec, fleetMs)));
  const seconds = (performance.now() - startedAt) / 1000;
  const total = done.reduce((sum, count) => sum + count, 0);
  await site.end(
    sandboxes,
    specs.map((spec) => spec.sessionId),
  );
  return { calls_per_s_50: { value: total / seconds, samples: total, goal: '> 500' } };
}

/** A command that writes 100 MB, and what the worker's memory makes of it. */
export async function measureOutput(site: SandboxSite): Promise<Record<string, Figure>> {
  const spec = specOf(newSession());
  const sandboxes = site.worker();
  const sandbox = await callTool(sandboxes, spec);
  const took: number[] = [];
  const grew: number[] = [];
  for (let i = 0; i <= outputs; i++) {
    globalThis.gc?.();
    const before = process.memoryUsage.rss();
    let most = before;
    const watch = setInterval(() => {
      most = Math.max(most, process.memoryUsage.rss());
    }, 5);
    const startedAt = performance.now();
    const result = await sandbox.exec({
      command: `head -c ${outputBytes} /dev/zero | tr '\\0' x`,
      timeoutMs: 60_000,
      outputBytesMax: 131_072,
      signal,
      onOutput: () => undefined,
    });
    const tookMs = performance.now() - startedAt;
    await delay(20);
    clearInterval(watch);
    if (result.droppedBytes + 131_072 < outputBytes) throw new Error(`only ${result.droppedBytes} bytes came`);
    // The first one warms up.
    if (i === 0) continue;
    took.push(tookMs);
    grew.push((most - before) / 1e6);
  }
  await site.end(sandboxes, [spec.sessionId]);
  return {
    output_100mb_ms: { value: quantile(took, 0.5), samples: outputs, goal: '< 1000' },
    output_growth_mb: { value: Math.max(...grew), samples: outputs, goal: '< 10' },
  };
}

async function callFor(sandboxes: DockerSandboxes, spec: ReturnType<typeof specOf>, ms: number): Promise<number> {
  const until = performance.now() + ms;
  let count = 0;
  for (; performance.now() < until; count++) await callTool(sandboxes, spec);
  return count;
}

/** Runs `work` on every item, `width` at a time. */
export async function inBatches<T>(
  items: readonly T[],
  width: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const rest = items.values();
  await Promise.all(
    Array.from({ length: width }, async () => {
      for (const item of rest) await work(item);
    }),
  );
}
