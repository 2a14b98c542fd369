import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import { sandboxLimitsSchema } from '#core/agents/agent-profile.ts';
import { newToken } from '#core/kit/ids.ts';
import { DockerSandboxes } from '#workers/sandbox/docker-sandboxes.ts';

export interface SandboxFigures {
  /** From nothing to the result of a session's first tool call: container, toolbox, one command. */
  readonly first_tool_ms: number;
  /** A command that does nothing, on a running container, p50 and p95: all of it is overhead. */
  readonly tool_overhead_ms_p50: number;
  readonly tool_overhead_ms_p95: number;
  /** The first call after a pause. */
  readonly wake_ms: number;
}

/**
 * Measures sandboxes on the local engine; medians over `sessions` sessions with `calls` calls each.
 * @throws AppError `sandbox.unavailable`, `image.missing`.
 */
export async function measureSandbox(
  image = 'switchyard-sandbox:latest',
  { sessions = 7, calls = 100 } = {},
): Promise<SandboxFigures> {
  const socketDirectory = mkdtempSync(path.join(tmpdir(), 'sy-bench-'));
  const log = pino({ level: 'silent' });
  const sandboxes = new DockerSandboxes(
    { log },
    { image, instance: `bench-${newToken(6)}`, socketDirectory, limits: { pauseAfterMs: 100 } },
  );
  const first: number[] = [];
  const later: number[] = [];
  const wake: number[] = [];
  const { signal } = new AbortController();
  const limits = sandboxLimitsSchema.parse({});
  try {
    for (let session = 0; session < sessions; session++) {
      const sessionId = `bench-${newToken(6)}`;
      const run = async () => {
        const sandbox = await sandboxes.open({ sessionId, agent: 'bench', limits }, signal);
        await sandbox.exec({ command: 'true', timeoutMs: 10_000, outputBytesMax: 65_536, signal });
      };
      first.push(await timed(run));
      for (let call = 0; call < calls; call++) later.push(await timed(run));
      await new Promise((resolve) => setTimeout(resolve, 250));
      wake.push(await timed(run));
      await sandboxes.forget(sessionId);
    }
  } finally {
    await sandboxes.removeAll();
    await sandboxes[Symbol.asyncDispose]();
    rmSync(socketDirectory, { recursive: true, force: true });
  }
  return {
    first_tool_ms: quantile(first, 0.5),
    tool_overhead_ms_p50: quantile(later, 0.5),
    tool_overhead_ms_p95: quantile(later, 0.95),
    wake_ms: quantile(wake, 0.5),
  };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return Math.round((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0) * 100) / 100;
}
