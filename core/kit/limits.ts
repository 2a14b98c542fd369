/** One named limit: what an operator may set it to, and why one would. */
export interface LimitRow {
  readonly default: number;
  /** Values outside low..high are brought to the nearer end: a typo must neither stop the product nor unbind it. */
  readonly low: number;
  readonly high: number;
  readonly unit: string;
  readonly what: string;
}

/** Every limit an operator may change, by `SWITCHYARD_LIMIT_<NAME>`; `switchyard config limits` prints this table. */
const limitTable = {
  messageRoundsMax: {
    default: 10,
    low: 1,
    high: 100,
    unit: 'rounds',
    what: 'Rounds of tool calls an agent may make to answer one chat message.',
  },
  taskRoundsMax: {
    default: 20,
    low: 1,
    high: 500,
    unit: 'rounds',
    what: 'Model calls an agent may make for one task.',
  },
  messageSeconds: {
    default: 900,
    low: 10,
    high: 86_400,
    unit: 's',
    what: 'Longest a chat message may be worked on; waiting for people does not count.',
  },
  taskSeconds: {
    default: 14_400,
    low: 30,
    high: 86_400,
    unit: 's',
    what: 'Longest a task may be worked on; waiting for people does not count.',
  },
  contextEventsMax: {
    default: 400,
    low: 20,
    high: 5_000,
    unit: 'events',
    what: 'Latest events of a session that a model is shown.',
  },
  toolResultCharsMax: {
    default: 30_000,
    low: 1_000,
    high: 500_000,
    unit: 'characters',
    what: 'Longest tool result a model is shown; the middle of a longer one is left out.',
  },
  drainSeconds: {
    default: 10,
    low: 0,
    high: 600,
    unit: 's',
    what: 'Time running turns get to reach a safe point when a worker is stopped.',
  },
  processMemoryMb: {
    default: 1_024,
    low: 0,
    high: 1_048_576,
    unit: 'MiB',
    what: 'Memory of one process of ours; one that stays above it hands its work over and starts again. 0 for no limit.',
  },
  processOverSeconds: {
    default: 30,
    low: 1,
    high: 3_600,
    unit: 's',
    what: 'How long a process may stay above that.',
  },
  processRestartsMax: {
    default: 5,
    low: 0,
    high: 60,
    unit: 'starts',
    what: 'How often in an hour a process starts again for that; 0 only tells.',
  },
  sandboxPauseSeconds: {
    default: 30,
    low: 1,
    high: 86_400,
    unit: 's',
    what: 'An idle container is frozen after this time; waking it takes about 10 ms.',
  },
  sandboxRemoveSeconds: {
    default: 900,
    low: 10,
    high: 604_800,
    unit: 's',
    what: 'An idle container is removed after this time; its workspace stays.',
  },
  sandboxAgeHours: {
    default: 24,
    low: 1,
    high: 720,
    unit: 'h',
    what: 'A container older than this is replaced when nothing is called in it; its workspace stays.',
  },
  sandboxPoolSize: {
    default: 1,
    low: 0,
    high: 16,
    unit: 'containers',
    what: 'Containers a worker keeps ready for new sessions.',
  },
  sandboxMemoryMb: {
    default: 0,
    low: 0,
    high: 67_108_864,
    unit: 'MiB',
    what: 'Memory of a Docker host that containers are promised; 0 takes four fifths of what it has.',
  },
  sandboxOvercommitPercent: {
    default: 400,
    low: 100,
    high: 5_000,
    unit: '%',
    what: 'How often that memory is promised: the sum of all limits may be this share of it.',
  },
  sandboxPidsMax: {
    default: 65_536,
    low: 32,
    high: 4_194_304,
    unit: 'processes',
    what: 'Sum of the process limits of all containers of a Docker host.',
  },
  sandboxWaitSeconds: {
    default: 20,
    low: 0,
    high: 600,
    unit: 's',
    what: 'How long a container waits for room on its Docker host.',
  },
  sandboxKeepDays: {
    default: 30,
    low: 1,
    high: 365,
    unit: 'days',
    what: 'How long the files of a session are kept after its end.',
  },
  egressRequestsPerMinute: {
    default: 300,
    low: 1,
    high: 100_000,
    unit: 'requests',
    what: 'Requests to the outside one session may make in a minute, by tools and from its sandbox together.',
  },
  egressDayMegabytes: {
    default: 2_048,
    low: 1,
    high: 1_000_000,
    unit: 'MB',
    what: 'What one session may send and receive in a day (UTC).',
  },
  egressTurnMegabytes: {
    default: 512,
    low: 1,
    high: 1_000_000,
    unit: 'MB',
    what: 'What one turn may send and receive, by tools and from its sandbox together.',
  },
  egressResponseMegabytes: {
    default: 256,
    low: 1,
    high: 10_000,
    unit: 'MB',
    what: 'Largest single answer that is carried into a sandbox.',
  },
  modelHeaderSeconds: {
    default: 60,
    low: 1,
    high: 600,
    unit: 's',
    what: 'Longest wait for a model to begin its answer.',
  },
  modelIdleSeconds: {
    default: 90,
    low: 5,
    high: 600,
    unit: 's',
    what: 'Longest silence in the middle of a model answer.',
  },
  modelSeconds: {
    default: 600,
    low: 10,
    high: 7_200,
    unit: 's',
    what: 'Longest one model call may take.',
  },
  databaseConnectionsMax: {
    default: 16,
    low: 4,
    high: 200,
    unit: 'connections',
    what: 'Connections one process opens to Postgres, without the few that listen.',
  },
} as const satisfies Record<string, LimitRow>;

export type LimitName = keyof typeof limitTable;

/** A value for every limit, within its bounds. */
export type Limits = Readonly<Record<LimitName, number>>;

/** A limit that was asked for and could not be given as asked. */
export interface LimitClamp {
  readonly name: LimitName;
  readonly asked: number;
  readonly used: number;
}

function isLimitName(name: string): name is LimitName {
  return Object.hasOwn(limitTable, name);
}

/** Every limit's name, in the order of the table. */
export function limitNames(): LimitName[] {
  return Object.keys(limitTable).filter(isLimitName);
}

/** The row of a limit, without the literal types. */
export function limitRow(name: LimitName): LimitRow {
  return limitTable[name];
}

/** The environment variable of a limit: `taskRoundsMax` is `SWITCHYARD_LIMIT_TASK_ROUNDS_MAX`. */
export function limitVariable(name: LimitName): string {
  return `SWITCHYARD_LIMIT_${name.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}

/** Defaults with overrides put in, each brought within its bounds; `clamps` says which were not taken as asked. */
export function resolveLimits(overrides: Readonly<Partial<Record<LimitName, number>>>): {
  readonly limits: Limits;
  readonly clamps: readonly LimitClamp[];
} {
  const clamps: LimitClamp[] = [];
  const value = (name: LimitName): number => {
    const row = limitRow(name);
    const asked = overrides[name];
    if (asked === undefined) return row.default;
    const used = Math.min(row.high, Math.max(row.low, asked));
    if (used !== asked) clamps.push({ name, asked, used });
    return used;
  };
  const limits = Object.fromEntries(limitNames().map((name) => [name, value(name)])) as Record<LimitName, number>;
  return { limits, clamps };
}
