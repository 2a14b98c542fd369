import { describe, expect, it, vi } from 'vitest';
import type { FailpointName } from '#core/kit/failpoint.ts';
import { eventually } from '#tests/support/eventually.ts';
import { LaneStage } from '#tests/support/lane-stage.ts';
import { addSessions } from '#tests/support/lanes.ts';

/** Six at a time, each with two processes. */
const slowMs = 120_000;
vi.setConfig({ testTimeout: 2 * slowMs });

const steps: readonly FailpointName[] = [
  'accept.committed',
  'wake.added',
  'claim.committed',
  'handler.mid',
  'finish.committed',
  'wake.readded',
];

describe.each(['postgres', 'redis'] as const)('with the queue on %s', (kind) => {
  it.concurrent.each(steps)('a worker killed at %s loses no turn and does none twice', async (failAt) => {
    await using stage = await LaneStage.open(kind);
    const sessions = await addSessions(stage.database, 4);
    // Four turns each: more than the 50 ms slice of a lane holds, so that lanes are also handed on by wakes.
    const accepts = [...sessions, ...sessions, ...sessions, ...sessions];
    const victim = await stage.spawnWorker({ failAt, accepts, handlerMs: 30 });
    await eventually(() => expect(victim.signalCode).toBe('SIGKILL'), { interval: 10, timeout: slowMs });
    expect(await stage.openTurns()).toBeGreaterThan(0);
    await stage.work();
    await eventually(async () => expect(await stage.openTurns()).toBe(0), {
      interval: 100,
      timeout: slowMs,
    });
    expect(await stage.findDamage()).toEqual([]);
    expect(await stage.database.query('select 1 from turn')).toHaveLength(16);
  });
});
