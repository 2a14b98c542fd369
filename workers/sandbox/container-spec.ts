import type Docker from 'dockerode';
import { sha256 } from '#core/kit/ids.ts';
import { canonicalJson } from '#core/kit/json.ts';
import type { SandboxSpec } from './sandbox.ts';
import { seccompProfile } from './seccomp-profile.ts';

/** PID 1 and nothing else; see `Dockerfile`. */
const initUser = '10002:10002';
/** Everything of the agent, the toolbox included. */
export const agentUser = '10001:10001';

/** Labels a container carries; the sweep finds its own by `instance`. */
export const labels = {
  session: 'switchyard.session',
  agent: 'switchyard.agent',
  spec: 'switchyard.spec',
  instance: 'switchyard.instance',
  created: 'switchyard.created',
} as const;

export interface ContainerPlan {
  readonly name: string;
  readonly volume: string;
  /** Digest of everything that makes a running container the wanted one: options, limits, image, socket directory. */
  readonly digest: string;
  readonly options: Docker.ContainerCreateOptions;
}

/** A name for the session that is safe for the engine and short enough for a socket path. */
export function sessionKey(instance: string, sessionId: string): string {
  return sha256(`${instance}\n${sessionId}`).slice(0, 20);
}

/**
 * The workspace volume of a session. Session ids are ours and safe, but a hash costs nothing where they are not.
 */
export function workspaceVolume(sessionId: string): string {
  return /^[a-zA-Z0-9_.-]{1,200}$/.test(sessionId)
    ? `switchyard-ws-${sessionId}`
    : `switchyard-ws-${sha256(sessionId).slice(0, 32)}`;
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
    readonly hostDirectory: string;
    readonly createdAt: Date;
  },
): ContainerPlan {
  const memory = spec.limits.memory_mb << 20;
  const volume = workspaceVolume(spec.sessionId);
  const own = { [labels.session]: spec.sessionId, [labels.instance]: site.instance };
  // CgroupnsMode is missing in the client's types.
  const hostConfig: Docker.HostConfig & { CgroupnsMode: string } = {
    NetworkMode: 'none',
    ReadonlyRootfs: true,
    CapDrop: ['ALL'],
    Privileged: false,
    SecurityOpt: ['no-new-privileges:true', `seccomp=${JSON.stringify(seccompProfile)}`],
    PidsLimit: spec.limits.pids,
    Memory: memory,
    // Equal to Memory: no swap on top.
    MemorySwap: memory,
    NanoCpus: Math.round(spec.limits.cpus * 1e9),
    CpuShares: 256,
    OomScoreAdj: 500,
    OomKillDisable: false,
    Ulimits: [
      { Name: 'nofile', Soft: 4096, Hard: 4096 },
      { Name: 'core', Soft: 0, Hard: 0 },
      { Name: 'fsize', Soft: 1 << 30, Hard: 1 << 30 },
      { Name: 'memlock', Soft: 65_536, Hard: 65_536 },
      { Name: 'sigpending', Soft: 1024, Hard: 1024 },
      { Name: 'msgqueue', Soft: 819_200, Hard: 819_200 },
    ],
    Tmpfs: {
      '/tmp': 'rw,nosuid,nodev,size=64m,nr_inodes=16k,mode=1777',
      '/run': 'rw,nosuid,nodev,noexec,size=8m,nr_inodes=1k,uid=10001,gid=10001,mode=0755',
      '/home/agent': 'rw,nosuid,nodev,size=64m,nr_inodes=16k,uid=10001,gid=10001,mode=0700',
    },
    ShmSize: 16 << 20,
    IpcMode: 'private',
    CgroupnsMode: 'private',
    Init: true,
    LogConfig: { Type: 'none', Config: {} },
    RestartPolicy: { Name: 'no' },
    AutoRemove: false,
    Mounts: [
      {
        Type: 'volume',
        Source: volume,
        Target: '/workspace',
        ReadOnly: false,
        Consistency: 'default',
        VolumeOptions: { NoCopy: false, Labels: own, DriverConfig: { Name: 'local', Options: {} } },
      },
      { Type: 'bind', Source: site.hostDirectory, Target: '/run/host', ReadOnly: true, Consistency: 'default' },
    ],
  };
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
    Env: ['HOME=/home/agent', 'PATH=/usr/local/bin:/usr/bin:/bin', 'LANG=C.UTF-8', 'TERM=dumb'],
    HostConfig: hostConfig,
  };
  const digest = sha256(canonicalJson({ options, imageId: site.imageId })).slice(0, 32);
  return {
    name: `switchyard-${sessionKey(site.instance, spec.sessionId)}`,
    volume,
    digest,
    options: {
      ...options,
      Labels: {
        ...own,
        [labels.agent]: spec.agent,
        [labels.spec]: digest,
        [labels.created]: site.createdAt.toISOString(),
      },
    },
  };
}
