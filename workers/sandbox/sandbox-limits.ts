/** One named limit: its default and the range a setting is clamped to. */
interface Limit {
  readonly default: number;
  readonly low: number;
  readonly high: number;
}

/**
 * The limits of the sandbox room. Times (`…Ms`) are milliseconds. Defaults come from measurements on two cores: a wake from
 * pause costs 10 ms and a new container 150 ms, so both may happen often; a stopped container costs as much as a new
 * one, so there is no such state.
 */
export const sandboxLimits = {
  /** Idle time after which a container's processes are frozen. */
  pauseAfterMs: { default: 30_000, low: 100, high: 3_600_000 },
  /** Idle time after which the container is removed; its workspace stays. */
  removeAfterMs: { default: 900_000, low: 200, high: 86_400_000 },
  /** How long a started toolbox may take to dial in before the container is replaced. */
  dialMs: { default: 5_000, low: 200, high: 60_000 },
  /** How long the toolbox may take to end a command before the container is killed. Cancelling promises one second. */
  endMs: { default: 600, low: 50, high: 10_000 },
  /** How often containers without a living worker are looked for. */
  sweepEveryMs: { default: 60_000, low: 100, high: 3_600_000 },
  /** Age at which a container is replaced as soon as nothing is called in it; jobs do not hold it any longer. */
  ageMs: { default: 86_400_000, low: 500, high: 2_592_000_000 },
  /** How long a job list may take to come before the toolbox counts as stuck. */
  jobsMs: { default: 1_000, low: 50, high: 10_000 },
  /** How often a workspace without a file system of its own size is measured while work goes on in it. */
  measureEveryMs: { default: 10_000, low: 100, high: 600_000 },
  /** How long a workspace is kept after its session has ended. */
  keepMs: { default: 2_592_000_000, low: 0, high: 31_536_000_000 },
  /** Containers kept ready for sessions to come, by each worker. */
  poolSize: { default: 0, low: 0, high: 16 },
  /** Sum of the memory limits of all containers on one engine, in MiB; 0: four fifths of the machine's memory. */
  memoryMb: { default: 0, low: 0, high: 67_108_864 },
  /** How often that much memory may be promised, in percent: sandboxes rarely use what they may. */
  overcommitPercent: { default: 400, low: 100, high: 5_000 },
  /** Sum of the process limits of all containers on one engine. */
  pidsMax: { default: 65_536, low: 32, high: 4_194_304 },
  /** How long a container may wait for others to make room. */
  admitMs: { default: 20_000, low: 0, high: 600_000 },
} as const satisfies Record<string, Limit>;

type SandboxLimitName = keyof typeof sandboxLimits;

/** Every limit with its value in use. */
export type SandboxLimitValues = Readonly<Record<SandboxLimitName, number>>;

/** Fills in defaults and clamps what was given into each limit's range. */
export function resolveSandboxLimits(given: Partial<SandboxLimitValues> = {}): SandboxLimitValues {
  const names = Object.keys(sandboxLimits).filter((name): name is SandboxLimitName =>
    Object.hasOwn(sandboxLimits, name),
  );
  const value = (name: SandboxLimitName) => {
    const { default: standard, low, high } = sandboxLimits[name];
    return Math.min(high, Math.max(low, given[name] ?? standard));
  };
  return Object.fromEntries(names.map((name) => [name, value(name)])) as Record<SandboxLimitName, number>;
}
