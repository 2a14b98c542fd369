import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type Docker from 'dockerode';
import { pino } from 'pino';
import { expect, inject } from 'vitest';
import { type SandboxLimits, sandboxLimitsSchema } from '#core/agents/agent-profile.ts';
import { newToken } from '#core/kit/ids.ts';
import type { SandboxPlaces } from '#core/sandboxes/sandbox-place.ts';
import { labels, workspaceVolume } from '#workers/sandbox/container-spec.ts';
import { openEngine } from '#workers/sandbox/docker-engine.ts';
import { DockerSandboxes, type DockerSandboxesOptions } from '#workers/sandbox/docker-sandboxes.ts';
import { createMemoryPlaces } from '#workers/sandbox/memory-places.ts';
import type { ExecRequest, ExecResult, Sandbox } from '#workers/sandbox/sandbox.ts';
import type { SandboxLimitValues } from '#workers/sandbox/sandbox-limits.ts';
import { eventually } from './eventually.ts';

/** One installation with any number of workers on the real engine; disposing it removes everything it made. */
export interface SandboxStage extends AsyncDisposable {
  readonly engine: Docker;
  readonly instance: string;
  /** A worker's sandboxes; all share sockets and instance, as workers of one host do. */
  worker(limits?: Partial<SandboxLimitValues>, options?: Partial<DockerSandboxesOptions>): DockerSandboxes;
  newSession(): string;
  open(worker: DockerSandboxes, sessionId: string, limits?: Partial<SandboxLimits>): Promise<Sandbox>;
  /** Resolves when a session that was opened just now has been put to rest: so would one that has been idle since before. */
  othersRest(worker: DockerSandboxes): Promise<void>;
  /** Resolves when a process of the session's container with this name, or any, is stopped by a signal. */
  isStopped(sessionId: string, name?: string): Promise<void>;
  /** The session's container as the engine sees it, or undefined. */
  container(sessionId: string): Promise<Docker.ContainerInspectInfo | undefined>;
  readonly socketDirectory: string;
  readonly workspaceDirectory: string;
}

/** A toolbox that is slow to dial in or to list its jobs loses its container: here only where that is what is tested. */
const patient = { dialMs: 30_000, jobsMs: 10_000 };

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
  const newSession = () => {
    const sessionId = `t-${newToken(9)}`;
    sessions.push(sessionId);
    return sessionId;
  };
  const open: SandboxStage['open'] = async (worker, sessionId, limits = {}) =>
    await worker.open(
      { sessionId, agent: 'tester', limits: sandboxLimitsSchema.parse(limits) },
      new AbortController().signal,
    );
  const container: SandboxStage['container'] = async (sessionId) => {
    const [found] = await list(sessionId);
    return found === undefined ? undefined : await engine.getContainer(found.Id).inspect();
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
          limits: { ...patient, ...limits },
          ...options,
        },
      );
      workers.push(worker);
      return worker;
    },
    newSession,
    open,
    container,
    othersRest: async (worker) => {
      const sessionId = newSession();
      await open(worker, sessionId);
      await eventually(async () => expect((await container(sessionId))?.State.Paused).toBe(true));
    },
    isStopped: async (sessionId, name = '') => {
      await eventually(async () => {
        const id = (await container(sessionId))?.Id ?? '';
        const { Processes: rows }: { readonly Processes: readonly (readonly string[])[] } = await engine
          .getContainer(id)
          .top({ ps_args: '-o pid,stat,comm' });
        expect(rows.some(([, stat, comm]) => stat?.startsWith('T') && comm?.includes(name))).toBe(true);
      });
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
