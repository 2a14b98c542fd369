import type { Db } from '../kit/database.ts';
import type { LaneWake } from './lane.ts';
import { overdueLanes, readyLanes, reapRows, rearmRows } from './lane-store.ts';
import { findDeadWorkers, forgetWorkers, tryBecomeSweeper } from './worker-store.ts';

/** When a sweep takes something for dead or lost; milliseconds. */
export interface SweepLimits {
  /** A worker silent for this long is hung or cut off. */
  readonly ttlMs: number;
  /** A worker silent for this long whose session lock is gone was killed. */
  readonly beatGraceMs: number;
  /** A database that has just started has dropped every lock, so nobody is judged for this long. */
  readonly serverGraceMs: number;
  /** A wake that is due for longer than this is asked after. */
  readonly overdueMs: number;
}

const defaultLimits: SweepLimits = { ttlMs: 5000, beatGraceMs: 1000, serverGraceMs: 3000, overdueMs: 2000 };
/** Wakes asked after in one sweep, the longest overdue first. */
const overdueMax = 200;
/** Workers silent for this long are forgotten. */
const forgetMs = 3_600_000;
const pageRows = 1000;

/** What a sweep found. */
export interface LaneInspection {
  readonly deadWorkers: readonly string[];
  /** Wakes owed for lanes that were taken from dead workers. */
  readonly reaped: readonly LaneWake[];
  /** Last wakes of lanes that should have been claimed by now; lost, or only behind a backlog. */
  readonly overdue: readonly LaneWake[];
}

/** Takes lanes from dead workers and lists overdue ones. @returns undefined when another process is doing so. */
export async function inspectLanes(db: Db, limits: SweepLimits = defaultLimits): Promise<LaneInspection | undefined> {
  return db.transaction().execute(async (tx) => {
    if (!(await tryBecomeSweeper(tx))) return undefined;
    const deadWorkers = await findDeadWorkers(tx, limits);
    const reaped = deadWorkers.length === 0 ? [] : await reapRows(tx, deadWorkers);
    const overdue = await overdueLanes(tx, limits.overdueMs, overdueMax);
    await forgetWorkers(tx, forgetMs);
    return { deadWorkers, reaped, overdue };
  });
}

/** Owes new wakes for lanes that are still ready under the generation given; the caller rings them. */
export async function rearmLanes(db: Db, lost: readonly LaneWake[]): Promise<LaneWake[]> {
  return rearmRows(db, lost);
}

/** Owes new wakes for every ready lane and rings them page by page. @returns how many. */
export async function rearmEveryLane(db: Db, ring: (wakes: readonly LaneWake[]) => Promise<void>): Promise<number> {
  let count = 0;
  let after: string | undefined;
  for (;;) {
    const page = await readyLanes(db, after, pageRows);
    const rearmed = await rearmRows(db, page);
    await ring(rearmed);
    count += rearmed.length;
    after = page.at(-1)?.sessionId;
    if (page.length < pageRows) return count;
  }
}
