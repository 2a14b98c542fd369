import type Docker from 'dockerode';
import { sha256 } from '#core/kit/ids.ts';
import { canonicalJson } from '#core/kit/json.ts';
import type { DiskKind } from '#core/sandboxes/sandbox-place.ts';
import type { DockerHost } from './docker-host.ts';
import type { SandboxKind, SandboxSpec } from './sandbox.ts';
import { seccompProfile } from './seccomp-profile.ts';

/** PID 1 and nothing else; see `Dockerfile`. */
const initUser = '10002:10002';
/** Everything of the agent, the toolbox included. */
export const agentUser = '10001:10001';

/** Where the toolbox takes web requests to, and how programs find it. Nothing leaves loopback but through it. */
const proxyUrl = 'http://127.0.0.1:3128';
const proxyVariables = [
  ...['HTTP_PROXY', 'HTTPS_PROXY', 'http_proxy', 'https_proxy'].map((name) => `${name}=${proxyUrl}`),
  ...['NO_PROXY', 'no_proxy'].map((name) => `${name}=localhost,127.0.0.1`),
];

/** What a browser's container may use: Chromium starts with less neither memory nor processes. */
export const browserLimits = { memory_mb: 1024, cpus: 2, pids: 512, workspaceMb: 256 } as const;

/** Largest file a sandbox may write where its workspace is not larger. */
const fileBytesMax = 1 << 30;

/** Labels a container carries; the sweep finds its own by `instance`. */
export const labels = {
  session: 'switchyard.session',
  agent: 'switchyard.agent',
  spec: 'switchyard.spec',
  instance: 'switchyard.instance',
  created: 'switchyard.created',
  kind: 'switchyard.kind',
  /** Name of the Docker host: one engine may be reached under two. */
  host: 'switchyard.host',
  /** Name of the workspace; unlike the session it is known before there is one. */
  workspace: 'switchyard.workspace',
  /** Limits, for admission: the engine's list does not tell them. */
  memoryMb: 'switchyard.memory-mb',
  pids: 'switchyard.pids',
  /** Size of the workspace and what holds it to that, for whoever looks at the container. */
  diskMb: 'switchyard.disk-mb',
  disk: 'switchyard.disk',
} as const;

/** How `/workspace` comes into the container. */
export type WorkspaceMount =
  | { readonly kind: 'volume'; readonly name: string; readonly quotaMb?: number }
  /** A folder of the host where a file system of the right size is mounted. */
  | { readonly kind: 'bind'; readonly path: string; readonly name: string }
  | { readonly kind: 'memory'; readonly sizeMb: number };

export interface PlannedContainer {
  readonly name: string;
  readonly kind: SandboxKind;
  /** Digest of everything that makes a running container the wanted one: options, limits, image, socket directory. */
  readonly digest: string;
  readonly options: Docker.ContainerCreateOptions;
  readonly memoryMb: number;
  readonly pids: number;
}

/** A planned container with the place it is for. */
export interface ContainerPlan extends PlannedContainer {
  readonly spec: SandboxSpec;
  readonly host: DockerHost;
  /** The folder that stands at `/run/host` inside, where host and worker share a file system. */
  readonly hostDirectory: string;
  readonly workspace: string;
  readonly disk: DiskKind | 'memory';
  readonly diskMb: number;
}

/** A name for a workspace's container that is safe for the engine and short enough for a socket path. */
export function sessionKey(instance: string, workspace: string, kind: SandboxKind = 'core'): string {
  return `${sha256(`${instance}\n${workspace}`).slice(0, 20)}${kind === 'browser' ? '-b' : ''}`;
}

/**
 * The volume of a workspace. Session ids are ours and safe, but a hash costs nothing where they are not.
 */
export function workspaceVolume(workspace: string): string {
  return /^[a-zA-Z0-9_.-]{1,200}$/.test(workspace)
    ? `switchyard-ws-${workspace}`
    : `switchyard-ws-${sha256(workspace).slice(0, 32)}`;
}

/**
 * The options of a session's container: no network, no privilege, a read-only root, bounded memory, processes and
 * files. Each value was tried on its own and all of them together; `tests/sandbox/confinement.test.ts` holds them.
 */
export function planContainer(
  spec: SandboxSpec,
  site: {
    readonly image: string;
    readonly imageId: string;
    readonly instance: string;
    readonly host: string;
    readonly workspace: string;
    readonly mount: WorkspaceMount;
    /** Absent on hosts that share no file system with the worker. */
    readonly hostDirectory: string | undefined;
    readonly createdAt: Date;
  },
): PlannedContainer {
  const kind = spec.kind ?? 'core';
  const isBrowser = kind === 'browser';
  const { memory_mb: memoryMb, cpus, pids } = isBrowser ? browserLimits : spec.limits;
  const memory = memoryMb * (1 << 20);
  const own = {
    ...(spec.sessionId === '' ? {} : { [labels.session]: spec.sessionId }),
    [labels.instance]: site.instance,
    [labels.workspace]: site.workspace,
  };
  const roomMb = isBrowser ? 128 : 64;
  // CgroupnsMode is missing in the client's types.
  const hostConfig: Docker.HostConfig & { CgroupnsMode: string } = {
    NetworkMode: 'none',
    ReadonlyRootfs: true,
    CapDrop: ['ALL'],
    Privileged: false,
    SecurityOpt: ['no-new-privileges:true', `seccomp=${JSON.stringify(seccompProfile)}`],
    PidsLimit: pids,
    Memory: memory,
    // Equal to Memory: no swap on top.
    MemorySwap: memory,
    NanoCpus: Math.round(cpus * 1e9),
    CpuShares: 256,
    OomScoreAdj: 500,
    OomKillDisable: false,
    Ulimits: [
      { Name: 'nofile', Soft: 4096, Hard: 4096 },
      { Name: 'core', Soft: 0, Hard: 0 },
      ulimit('fsize', Math.max(fileBytesMax, isBrowser ? 0 : spec.limits.disk_mb * (1 << 20))),
      { Name: 'memlock', Soft: 65_536, Hard: 65_536 },
      { Name: 'sigpending', Soft: 1024, Hard: 1024 },
      { Name: 'msgqueue', Soft: 819_200, Hard: 819_200 },
    ],
    Tmpfs: {
      '/tmp': `rw,nosuid,nodev,size=${roomMb}m,nr_inodes=16k,mode=1777`,
      '/run': 'rw,nosuid,nodev,noexec,size=8m,nr_inodes=1k,uid=10001,gid=10001,mode=0755',
      '/home/agent': `rw,nosuid,nodev,size=${roomMb}m,nr_inodes=16k,uid=10001,gid=10001,mode=0700`,
      ...(site.mount.kind === 'memory'
        ? {
            '/workspace': `rw,nosuid,nodev,noexec,size=${site.mount.sizeMb}m,nr_inodes=16k,uid=10001,gid=10001,mode=0755`,
          }
        : {}),
    },
    ShmSize: (isBrowser ? 256 : 16) * (1 << 20),
    IpcMode: 'private',
    CgroupnsMode: 'private',
    Init: true,
    LogConfig: { Type: 'none', Config: {} },
    RestartPolicy: { Name: 'no' },
    AutoRemove: false,
    ...(spec.limits.runtime === undefined ? {} : { Runtime: spec.limits.runtime }),
  };
  const mounts = (workspace: Docker.MountConfig): Docker.MountConfig => [
    ...workspace,
    ...(site.hostDirectory === undefined ? [] : [bindMount(site.hostDirectory, '/run/host', { isReadOnly: true })]),
  ];
  const options: Docker.ContainerCreateOptions = {
    Image: site.image,
    Entrypoint: [],
    Cmd: ['sleep', 'infinity'],
    User: initUser,
    WorkingDir: '/workspace',
    Hostname: 'sandbox',
    Tty: false,
    OpenStdin: false,
    StopSignal: 'SIGKILL',
    StopTimeout: 1,
    Env: [
      'HOME=/home/agent',
      'PATH=/usr/local/bin:/usr/bin:/bin',
      'LANG=C.UTF-8',
      'TERM=dumb',
      ...(spec.limits.network === 'gateway' ? proxyVariables : []),
    ],
  };
  // The place where a worker mounts a workspace is its own affair: another worker may adopt the container.
  const stable = mounts(workspaceMount(site.mount, own, true));
  // A larger file system is made when its container starts; other workspaces do not change with the container.
  const diskMb = site.mount.kind === 'bind' ? spec.limits.disk_mb : 0;
  const digest = sha256(canonicalJson({ options, hostConfig, mounts: stable, diskMb, imageId: site.imageId }));
  return {
    name: `switchyard-${sessionKey(site.instance, site.workspace, kind)}`,
    kind,
    digest: digest.slice(0, 32),
    memoryMb,
    pids,
    options: {
      ...options,
      HostConfig: { ...hostConfig, Mounts: mounts(workspaceMount(site.mount, own, false)) },
      Labels: {
        ...own,
        [labels.agent]: spec.agent,
        [labels.spec]: digest.slice(0, 32),
        [labels.created]: site.createdAt.toISOString(),
        [labels.kind]: kind,
        [labels.host]: site.host,
        [labels.memoryMb]: String(memoryMb),
        [labels.pids]: String(pids),
        [labels.diskMb]: String(isBrowser ? browserLimits.workspaceMb : spec.limits.disk_mb),
        [labels.disk]: diskWords[site.mount.kind],
      },
    },
  };
}

/** `quota` volumes look like others: the engine knows. */
const diskWords = { bind: 'loop', volume: 'volume', memory: 'memory' } as const;

function ulimit(name: string, value: number) {
  return { Name: name, Soft: value, Hard: value };
}

function bindMount(source: string, target: string, { isReadOnly }: { readonly isReadOnly: boolean }) {
  return {
    Type: 'bind' as const,
    Source: source,
    Target: target,
    ReadOnly: isReadOnly,
    Consistency: 'default' as const,
  };
}

function workspaceMount(
  mount: WorkspaceMount,
  own: Readonly<Record<string, string>>,
  isForDigest: boolean,
): Docker.MountConfig {
  switch (mount.kind) {
    case 'memory':
      return [];
    case 'bind':
      return [bindMount(isForDigest ? `image of ${mount.name}` : mount.path, '/workspace', { isReadOnly: false })];
    case 'volume': {
      const size: Record<string, string> =
        mount.quotaMb === undefined || isForDigest ? {} : { size: `${mount.quotaMb}m` };
      return [
        {
          Type: 'volume',
          Source: mount.name,
          Target: '/workspace',
          ReadOnly: false,
          Consistency: 'default',
          VolumeOptions: {
            NoCopy: false,
            Labels: isForDigest ? {} : { ...own },
            DriverConfig: { Name: 'local', Options: size },
          },
        },
      ];
    }
  }
}
