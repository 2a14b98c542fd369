import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { labels } from '#workers/sandbox/container-spec.ts';
import { openEngine } from '#workers/sandbox/docker-engine.ts';
import type { Figure } from '../sandbox.ts';
import { inBatches } from './sandbox-calls.ts';
import { callTool, newSession, type SandboxSite, specOf } from './sandbox-site.ts';
import { quantile } from './stage.ts';

const firstCalls = 12;
const resumes = 30;
const settleMs = 3_000;
const giveUpMs = 60_000;
const engine = openEngine(process.env['DOCKER_HOST']);

/** The first tool call of a session whose container was ready before it began. */
export async function measurePool(site: SandboxSite): Promise<Record<string, Figure>> {
  // Frozen ones would not be counted as taken.
  const sandboxes = site.worker({ poolSize: 2, pauseAfterMs: 3_600_000 });
  const stop = new AbortController();
  const keeping = sandboxes.keepReady(stop.signal);
  const took: number[] = [];
  const sessions: string[] = [];
  // One that makes the worker look for its engine and image.
  for (let i = 0; i <= firstCalls; i++) {
    await until(async () => (await spares(sessions)) >= 2);
    // A container is up a moment before its toolbox has dialled.
    await delay(300);
    const sessionId = newSession();
    sessions.push(sessionId);
    const startedAt = performance.now();
    await callTool(sandboxes, specOf(sessionId));
    if (i > 0) took.push(performance.now() - startedAt);
  }
  stop.abort();
  await keeping;
  await site.end(sandboxes, sessions);
  return {
    pool_first_ms: { value: quantile(took, 0.5), samples: firstCalls, goal: '< 20' },
    pool_first_ms_max: { value: Math.max(...took), samples: firstCalls },
  };
}

/** The first tool call of a session that needs a new container and a new workspace. */
export async function measureCold(site: SandboxSite): Promise<Record<string, Figure>> {
  const sandboxes = site.worker({ poolSize: 0 });
  const took: number[] = [];
  const sessions: string[] = [];
  for (let i = 0; i <= firstCalls; i++) {
    const sessionId = newSession();
    sessions.push(sessionId);
    const startedAt = performance.now();
    await callTool(sandboxes, specOf(sessionId));
    if (i > 0) took.push(performance.now() - startedAt);
  }
  await site.end(sandboxes, sessions);
  return {
    cold_first_ms: { value: quantile(took, 0.5), samples: firstCalls, goal: '< 250' },
    cold_first_ms_max: { value: Math.max(...took), samples: firstCalls },
  };
}

/** The first tool call after the container was frozen. */
export async function measureResume(site: SandboxSite): Promise<Record<string, Figure>> {
  const sandboxes = site.worker({ pauseAfterMs: 100 });
  const spec = specOf(newSession());
  await callTool(sandboxes, spec);
  const took: number[] = [];
  for (let i = 0; i <= resumes; i++) {
    await until(async () => (await list()).some((found) => found.State === 'paused'));
    // The engine says so before the worker has heard it.
    await delay(50);
    const startedAt = performance.now();
    await callTool(sandboxes, spec);
    if (i > 0) took.push(performance.now() - startedAt);
  }
  await site.end(sandboxes, [spec.sessionId]);
  return {
    resume_ms: { value: quantile(took, 0.5), samples: resumes, goal: '< 25' },
    resume_ms_p95: { value: quantile(took, 0.95), samples: resumes },
  };
}

/** What the host's memory loses for many idle sandboxes, the worker's own share included. */
export async function measureIdle(site: SandboxSite, count: number): Promise<Record<string, Figure>> {
  const sandboxes = site.worker({ overcommitPercent: 5000, pidsMax: 1 << 20 });
  const specs = Array.from({ length: count }, () => specOf(newSession()));
  const [first, ...rest] = specs;
  if (first === undefined) throw new Error('no sandboxes asked for');
  await callTool(sandboxes, first);
  const before = await availableMb();
  await inBatches(rest, 4, async (spec) => void (await callTool(sandboxes, spec)));
  const each = (before - (await availableMb())) / Math.max(1, rest.length);
  const accounted = (shimsMb() + (await containersMb())) / count;
  await site.end(
    sandboxes,
    specs.map((spec) => spec.sessionId),
  );
  return {
    idle_mb_each: { value: each, samples: count, goal: '< 20' },
    idle_mb_each_accounted: { value: accounted, samples: count },
  };
}

async function list() {
  return await engine.listContainers({
    all: true,
    filters: { label: [`${labels.instance}=bench-sandbox-${process.pid}`] },
  });
}

/** Running containers that belong to none of the sessions. */
async function spares(sessions: readonly string[]): Promise<number> {
  const running = (await list()).filter((found) => found.State === 'running');
  return running.length - sessions.length;
}

/** Median over some seconds after everything has settled: other programs of the machine come and go. */
async function availableMb(): Promise<number> {
  await delay(settleMs);
  const seen: number[] = [];
  for (let i = 0; i < 15; i++) {
    const kilobytes = /MemAvailable:\s+(\d+)/.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1];
    seen.push(Number(kilobytes) / 1024);
    await delay(200);
  }
  return quantile(seen, 0.5);
}

/** The share of memory of the processes that watch this bench's containers. */
function shimsMb(): number {
  let kilobytes = 0;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      if (!readFileSync(`/proc/${pid}/comm`, 'utf8').startsWith('containerd-shim')) continue;
      kilobytes += Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0);
    } catch {
      // It has ended.
    }
  }
  return kilobytes / 1024;
}

/** What the kernel charges to the containers. */
async function containersMb(): Promise<number> {
  let bytes = 0;
  for (const { Id } of await list()) {
    for (const file of [
      `memory/docker/${Id}/memory.usage_in_bytes`,
      `system.slice/docker-${Id}.scope/memory.current`,
      `docker/${Id}/memory.current`,
    ]) {
      try {
        bytes += Number(readFileSync(`/sys/fs/cgroup/${file}`, 'utf8'));
        break;
      } catch {
        // Another version of control groups.
      }
    }
  }
  return bytes / 2 ** 20;
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  const giveUpAt = performance.now() + giveUpMs;
  while (!(await isSo())) {
    if (performance.now() > giveUpAt) throw new Error(`nothing happened for ${giveUpMs / 1000} s`);
    await delay(20);
  }
}
