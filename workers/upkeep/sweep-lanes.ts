import type { Clock } from '#core/kit/clock.ts';
import type { Db } from '#core/kit/database.ts';
import type { Log } from '#core/kit/log.ts';
import type { LaneWake } from '#core/lanes/lane.ts';
import { inspectLanes, rearmEveryLane, rearmLanes, type SweepLimits } from '#core/lanes/sweep-lanes.ts';
import type { QueueBackend } from '#core/queue/queue-backend.ts';

/** Every worker tries this often; one of them sweeps. */
const everyMs = 500;
/** Finished history is pruned, and long gone workers are forgotten, this often. */
const pruneEveryMs = 3_600_000;

export interface LaneSweepDeps {
  readonly db: Db;
  readonly log: Log;
  readonly clock: Clock;
  readonly wakes: QueueBackend['wakes'];
  /** Called about once an hour by each process that swept; deletes what is past its retention. */
  readonly prune?: () => Promise<void>;
  /** Instead of the limits that production runs with. */
  readonly limits?: SweepLimits;
}

/**
 * Mends what crashes leave behind, until the signal aborts: lanes of dead workers are taken from them, wakes that got
 * lost are rung again under a new generation, and after a loss of the queue's data every ready lane is.
 */
export async function sweepLanes(deps: LaneSweepDeps, signal: AbortSignal): Promise<void> {
  const { clock, log } = deps;
  let pruneAt = clock.now().getTime() + pruneEveryMs;
  while (!signal.aborted) {
    try {
      const isSweeper = await sweepLanesOnce(deps);
      if (isSweeper && clock.now().getTime() >= pruneAt) {
        pruneAt = clock.now().getTime() + pruneEveryMs;
        await deps.prune?.();
      }
    } catch (err) {
      log.warn({ err }, 'lanes could not be swept');
    }
    await clock.sleep(everyMs, signal).catch(() => {});
  }
}

/** One sweep. @returns false when another process sweeps right now. */
async function sweepLanesOnce(deps: Omit<LaneSweepDeps, 'clock'>): Promise<boolean> {
  const { db, log, wakes } = deps;
  const found = await inspectLanes(db, deps.limits);
  if (found === undefined) return false;
  if (found.reaped.length > 0) {
    log.warn({ lanes: found.reaped.length, workers: found.deadWorkers }, 'took lanes from dead workers');
    await wakes.ring(found.reaped);
  }
  const { isNew } = await wakes.markEpoch();
  if (isNew) {
    const rearmed = await rearmEveryLane(db, (page) => wakes.ring(page));
    log.warn({ lanes: rearmed }, 'the queue had lost its data; every ready lane was rung');
    return true;
  }
  const lost = await withoutBacklog(wakes, found.overdue);
  const rearmed = await rearmLanes(db, lost);
  if (rearmed.length > 0) {
    log.info({ lanes: rearmed.length }, 'rang lost wakes again');
    await wakes.ring(rearmed);
  }
  return true;
}

/**
 * Those whose wake is not simply waiting its turn. Without this test every long backlog would double its own wakes.
 */
async function withoutBacklog(wakes: QueueBackend['wakes'], overdue: readonly LaneWake[]): Promise<LaneWake[]> {
  const fates = await Promise.all(overdue.map((wake) => wakes.fateOf(wake)));
  return overdue.filter((_, index) => fates[index] === 'lost');
}
