import { existsSync, readFileSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import type { DockerHost } from './docker-host.ts';

/** What the processes of a container use now. */
export interface ContainerUse {
  /** Without the page cache that would be given up, in MiB. */
  readonly memoryMb: number;
  /** Undefined where the engine does not count them. */
  readonly processes: number | undefined;
}

/** What is left of the file system a workspace is. */
export interface DiskRoom {
  readonly freeMb: number;
  readonly freeFiles: number;
}

/** Reads the use of one container. */
export interface UseReader {
  /** How often it may be asked while work goes on. */
  readonly everyMs: number;
  /** Cheap enough to be asked at the end of each call. */
  readonly isCheap: boolean;
  read(): Promise<ContainerUse> | ContainerUse;
  /** One call of the kernel; undefined where this process does not see the container's files. */
  readonly workspaceRoom?: () => Promise<DiskRoom>;
}

const statsSchema = z.object({
  memory_stats: z.object({
    usage: z.number().default(0),
    stats: z
      .object({ total_inactive_file: z.number().default(0), inactive_file: z.number().default(0) })
      .partial()
      .default({}),
  }),
  pids_stats: z.object({ current: z.number() }).partial().default({}),
});

const mebibyte = 1 << 20;
const localMs = 1_000;
/** An engine takes some milliseconds to answer. */
const engineMs = 5_000;
const root = '/sys/fs/cgroup';

/**
 * The reader of a container: the kernel's own counters where this process sees them, a few microseconds a look, else
 * the engine's answer.
 * @param cacheMattersFromMb below that the page cache is not taken out: there is room either way.
 * @throws what the engine said.
 */
export async function openUseReader(
  host: DockerHost,
  containerId: string,
  cacheMattersFromMb: number,
): Promise<UseReader> {
  const pid = host.sharesFiles ? (await host.engine.getContainer(containerId).inspect()).State.Pid : 0;
  const read = pid > 0 ? countersOf(pid, containerId, cacheMattersFromMb) : undefined;
  if (read !== undefined) {
    return { everyMs: localMs, isCheap: true, read, workspaceRoom: async () => await roomIn(pid) };
  }
  return {
    everyMs: engineMs,
    isCheap: false,
    read: async () => await askUse(host, containerId),
  };
}

/** The root of a container is read-only, so `/workspace` there is the mount and nothing an agent could put in its place. */
async function roomIn(pid: number): Promise<DiskRoom> {
  const { bavail, bsize, ffree } = await statfs(`/proc/${pid}/root/workspace`);
  return { freeMb: (bavail * bsize) / mebibyte, freeFiles: ffree };
}

/** What the engine says of a container's use. @throws ZodError, and what the engine said. */
export async function askUse(host: DockerHost, containerId: string): Promise<ContainerUse> {
  const answer: unknown = await host.engine.getContainer(containerId).stats({ stream: false, 'one-shot': true });
  const { memory_stats: memory, pids_stats: pids } = statsSchema.parse(answer);
  const { usage, stats: parts } = memory;
  return {
    memoryMb: Math.max(0, usage - (parts.total_inactive_file ?? parts.inactive_file ?? 0)) / mebibyte,
    processes: pids.current,
  };
}

/** Undefined where the counters are out of sight: another machine, or another namespace. */
function countersOf(pid: number, containerId: string, cacheMattersFromMb: number): (() => ContainerUse) | undefined {
  const groups = groupsOf(pid, containerId);
  const unified = placeOf(root, groups.get(''), 'memory.current');
  if (unified !== undefined) {
    return () => ({
      memoryMb: memoryOf(unified, ['memory.current', 'inactive_file'], cacheMattersFromMb),
      processes: numberIn(path.join(unified, 'pids.current')),
    });
  }
  const memory = placeOf(path.join(root, 'memory'), groups.get('memory'), 'memory.usage_in_bytes');
  const pids = placeOf(path.join(root, 'pids'), groups.get('pids'), 'pids.current');
  if (memory === undefined) return undefined;
  return () => ({
    memoryMb: memoryOf(memory, ['memory.usage_in_bytes', 'total_inactive_file'], cacheMattersFromMb),
    processes: pids === undefined ? undefined : numberIn(path.join(pids, 'pids.current')),
  });
}

/** The control groups of a process by controller, '' for the one of all; none when it is no process of the container. */
function groupsOf(pid: number, containerId: string): ReadonlyMap<string, string> {
  const groups = new Map<string, string>();
  let text = '';
  try {
    text = readFileSync(`/proc/${pid}/cgroup`, 'utf8');
  } catch {
    // Gone, or never seen from here.
  }
  for (const line of text.split('\n')) {
    const [, controllers = '', group = ''] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    // In another namespace of processes the number is somebody else's.
    if (group.includes(containerId)) for (const name of controllers.split(',')) groups.set(name, group);
  }
  return groups;
}

/** The folder of a group; what stands before it in the path may be out of sight for a process in a container. */
function placeOf(mount: string, group: string | undefined, file: string): string | undefined {
  for (let rest = group ?? ''; rest !== ''; rest = rest.slice(1).replace(/^[^/]*/, '')) {
    const place = path.join(mount, rest);
    if (existsSync(path.join(place, file))) return place;
  }
  return undefined;
}

function memoryOf(place: string, [file, cacheName]: readonly [string, string], cacheMattersFromMb: number): number {
  const bytes = numberIn(path.join(place, file));
  if (bytes < cacheMattersFromMb * mebibyte) return bytes / mebibyte;
  const stats = readFileSync(path.join(place, 'memory.stat'), 'utf8');
  const [, cache = '0'] = new RegExp(`^${cacheName} (\\d+)$`, 'm').exec(stats) ?? [];
  return Math.max(0, bytes - Number(cache)) / mebibyte;
}

function numberIn(file: string): number {
  return Number(readFileSync(file, 'utf8'));
}
