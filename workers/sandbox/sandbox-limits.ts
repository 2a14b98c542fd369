/** One named limit: its default and the range a setting is clamped to. */
interface Limit {
  readonly default: number;
  readonly low: number;
  readonly high: number;
}

/**
 * The limits of the sandbox room. Times are milliseconds. Defaults come from measurements on two cores: a wake from
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
} as const satisfies Record<string, Limit>;

type SandboxLimitName = keyof typeof sandboxLimits;

/** Every limit with its value in use. */
export type SandboxLimitValues = Readonly<Record<SandboxLimitName, number>>;

/** Fills in defaults and clamps what was given into each limit's range. */
export function resolveSandboxLimits(given: Partial<SandboxLimitValues> = {}): SandboxLimitValues {
  const value = (name: SandboxLimitName) => {
    const { default: standard, low, high } = sandboxLimits[name];
    return Math.min(high, Math.max(low, given[name] ?? standard));
  };
  return {
    pauseAfterMs: value('pauseAfterMs'),
    removeAfterMs: value('removeAfterMs'),
    dialMs: value('dialMs'),
    endMs: value('endMs'),
    sweepEveryMs: value('sweepEveryMs'),
  };
}
