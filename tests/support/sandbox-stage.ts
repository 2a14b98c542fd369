import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type Docker from 'dockerode';
import { pino } from 'pino';
import { inject } from 'vitest';
import { type SandboxLimits, sandboxLimitsSchema } from '#core/agents/agent-profile.ts';
import { newToken } from '#core/kit/ids.ts';
import type { SandboxPlaces } from '#core/sandboxes/sandbox-place.ts';
import { labels, workspaceVolume } from '#workers/sandbox/container-spec.ts';
import { openEngine } from '#workers/sandbox/docker-engine.ts';
import { DockerSandboxes, type DockerSandboxesOptions } from '#workers/sandbox/docker-sandboxes.ts';
import { createMemoryPlaces } from '#workers/sandbox/memory-places.ts';
import type { ExecRequest, ExecResult, Sandbox } from '#workers/sandbox/sandbox.ts';
import type { SandboxLimitValues } from '#workers/sandbox/sandbox-limits.ts';

/** One installation with any number of workers on the real engine; disposing it removes everything it made. */
export interface SandboxStage extends AsyncDisposable {
  readonly engine: Docker;
  readonly instance: string;
  /** A worker's sandboxes; all share sockets and instance, as workers of one host do. */
  worker(limits?: Partial<SandboxLimitValues>, options?: Partial<DockerSandboxesOptions>): DockerSandboxes;
  newSession(): string;
  open(worker: DockerSandboxes, sessionId: string, limits?: Partial<SandboxLimits>): Promise<Sandbox>;
  /** The session's container as the engine sees it, or undefined. */
  container(sessionId: string): Promise<Docker.ContainerInspectInfo | undefined>;
  readonly socketDirectory: string;
  readonly workspaceDirectory: string;
}

export function openSandboxStage({ below = '', places }: StageOptions = {}): SandboxStage {
  const dockerHost = inject('dockerHost');
  const engine = openEngine(dockerHost);
  const instance = `test-${newToken(6)}`;
  const folder = mkdtempSync(path.join(tmpdir(), 'sys-'));
  const socketDirectory = path.join(folder, below);
  const workspaceDirectory = mkdtempSync(path.join(tmpdir(), 'syw-'));
  const shared = createMemoryPlaces();
  const workers: DockerSandboxes[] = [];
  const sessions: string[] = [];
  const list = async (sessionId?: string) => {
    const own = [`${labels.instance}=${instance}`];
    if (sessionId !== undefined) own.push(`${labels.session}=${sessionId}`);
    return await engine.listContainers({ all: true, filters: { label: own } });
  };
  return {
    engine,
    instance,
    socketDirectory,
    workspaceDirectory,
    worker: (limits = {}, options = {}) => {
      const log = pino({ level: process.env['SANDBOX_TEST_LOG'] ?? 'silent' });
      const worker = new DockerSandboxes(
        { log, places: places?.() ?? shared },
        {
          dockerHost,
          image: inject('sandboxImage'),
          instance,
          socketDirectory,
          workspaceDirectory,
          limits,
          ...options,
        },
      );
      workers.push(worker);
      return worker;
    },
    newSession: () => {
      const sessionId = `t-${newToken(9)}`;
      sessions.push(sessionId);
      return sessionId;
    },
    open: async (worker, sessionId, limits = {}) =>
      await worker.open(
        { sessionId, agent: 'tester', limits: sandboxLimitsSchema.parse(limits) },
        new AbortController().signal,
      ),
    container: async (sessionId) => {
      const [found] = await list(sessionId);
      return found === undefined ? undefined : await engine.getContainer(found.Id).inspect();
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all(workers.map(async (worker) => await worker[Symbol.asyncDispose]()));
      for (const container of await list()) await engine.getContainer(container.Id).remove({ force: true });
      for (const sessionId of sessions) {
        await engine
          .getVolume(workspaceVolume(sessionId))
          .remove()
          .catch(() => undefined);
      }
      for (const each of [folder, workspaceDirectory]) rmSync(each, { recursive: true, force: true });
    },
  };
}

interface StageOptions {
  /** Folder below a temporary one. */
  readonly below?: string;
  /** What each worker knows of the places; workers share the memory of one process unless told. */
  readonly places?: () => SandboxPlaces;
}

/** Runs a command with everyday bounds. */
export async function run(sandbox: Sandbox, command: string, rest: Partial<ExecRequest> = {}): Promise<ExecResult> {
  return await sandbox.exec({
    command,
    timeoutMs: 20_000,
    outputBytesMax: 65_536,
    signal: new AbortController().signal,
    ...rest,
  });
}
