import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import { acceptTurns, turnAcceptor } from '#core/lanes/accept-turns.ts';
import type { LaneWake } from '#core/lanes/lane.ts';
import { eventually } from '#tests/support/eventually.ts';
import { seededRandom } from '#tests/support/lane-scenario.ts';
import { doneWithEffect, LaneStage } from '#tests/support/lane-stage.ts';
import { addSessions, newTurn } from '#tests/support/lanes.ts';

/** What was lost is found by sweeps, which a busy machine lets run seldom. */
const slowMs = 120_000;
vi.setConfig({ testTimeout: 2 * slowMs });

/** Accepts `perLane` turns on each lane, round robin, through a bell that may be faulty. */
async function acceptMany(
  stage: LaneStage,
  sessions: readonly string[],
  perLane: number,
  ring: (wakes: readonly LaneWake[]) => Promise<void> = (wakes) => stage.backend.wakes.ring(wakes),
): Promise<void> {
  const accept = turnAcceptor({ db: stage.database.db, wakes: { ring } });
  for (let round = 0; round < perLane; round++) {
    await Promise.all(sessions.map((session) => accept(newTurn(session))));
  }
}

async function allDone(stage: LaneStage): Promise<void> {
  await eventually(async () => expect(await stage.openTurns()).toBe(0), { timeout: slowMs });
  expect(await stage.findDamage()).toEqual([]);
}

describe.each(['postgres', 'redis'] as const)('lanes with the queue on %s', (kind) => {
  it('run every turn once and in order', async () => {
    await using stage = await LaneStage.open(kind);
    const sessions = await addSessions(stage.database, 20);
    await stage.work();
    await acceptMany(stage, sessions, 5);
    await allDone(stage);
    await eventually(async () => {
      const counts = await stage.backend.wakes.counts();
      expect((counts['waiting'] ?? 0) + (counts['active'] ?? 0) + (counts['delayed'] ?? 0)).toBe(0);
    });
  });

  it('lose no turn when half of all wakes are dropped', async () => {
    await using stage = await LaneStage.open(kind);
    const random = seededRandom(7);
    const half = (wakes: readonly LaneWake[]) => stage.backend.wakes.ring(wakes.filter(() => random() < 0.5));
    const sessions = await addSessions(stage.database, 12);
    await stage.work({ ring: half });
    await acceptMany(stage, sessions, 3, half);
    await allDone(stage);
  });

  it('run no turn twice when every wake is tripled', async () => {
    await using stage = await LaneStage.open(kind);
    // The queue itself refuses a second job under one id, so the doubles go under other generations.
    const triple = (wakes: readonly LaneWake[]) =>
      stage.backend.wakes.ring(
        wakes.flatMap((wake) => [0, 1000, 2000].map((more) => ({ ...wake, generation: wake.generation + more }))),
      );
    let starts = 0;
    const sessions = await addSessions(stage.database, 12);
    await stage.work({
      ring: triple,
      runTurn: async (turn) => {
        starts += 1;
        return doneWithEffect(turn);
      },
    });
    await acceptMany(stage, sessions, 4, triple);
    await allDone(stage);
    expect(starts).toBe(48);
  });

  it('go on within seconds when a worker is killed in the middle', async () => {
    await using stage = await LaneStage.open(kind);
    const sessions = await addSessions(stage.database, 12);
    // Silence alone would free its lanes after an hour: what counts is that the lock of its connection is gone.
    const victim = await stage.spawnWorker({ handlerMs: 3_600_000, ttlMs: 3_600_000 });
    await acceptMany(stage, sessions, 2);
    await eventually(async () => {
      const rows = await stage.database.query('select 1 from handler_start');
      expect(rows).toHaveLength(4);
    });
    await stage.work({ ttlMs: 3_600_000 });
    victim.kill('SIGKILL');
    await allDone(stage);
  });

  it('let a frozen worker write nothing after it wakes up', async () => {
    await using stage = await LaneStage.open(kind);
    const sessions = await addSessions(stage.database, 4);
    const frozen = await stage.spawnWorker({ handlerMs: 1000 });
    await acceptMany(stage, sessions, 1);
    await eventually(async () => {
      expect(await stage.database.query('select 1 from handler_start')).toHaveLength(4);
    });
    frozen.kill('SIGSTOP');
    // A frozen process keeps its lock: only its silence tells.
    await stage.work({ ttlMs: 2000 });
    await allDone(stage);
    const before = await stage.database.query('select count(*)::int as events from event');
    frozen.kill('SIGCONT');
    frozen.kill('SIGTERM');
    await once(frozen, 'exit');
    expect(await stage.database.query('select count(*)::int as events from event')).toEqual(before);
    expect(await stage.findDamage()).toEqual([]);
  });

  it('lose no turn when every database connection is cut', async () => {
    await using stage = await LaneStage.open(kind);
    const sessions = await addSessions(stage.database, 12);
    await stage.work({
      runTurn: async (turn) => {
        await delay(20);
        return doneWithEffect(turn);
      },
    });
    await acceptMany(stage, sessions, 3);
    const cut = await stage.database.query<{ pid: number }>(
      `select pid, pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and pid <> pg_backend_pid()`,
    );
    const pids = cut.map(({ pid }) => pid);
    await eventually(async () => {
      expect(await stage.database.query('select 1 from pg_stat_activity where pid = any ($1)', [pids])).toEqual([]);
    });
    await allDone(stage);
    // The bell is back too.
    await acceptMany(stage, sessions, 1);
    await allDone(stage);
  });

  it('run turns whose wake was never rung', async () => {
    await using stage = await LaneStage.open(kind);
    const sessions = await addSessions(stage.database, 5);
    await acceptMany(stage, sessions, 2, async () => {});
    await stage.work();
    await allDone(stage);
  });

  it('start a collected turn when its wait is over, with all its messages', async () => {
    await using stage = await LaneStage.open(kind);
    const [session = ''] = await addSessions(stage.database, 1);
    const seen: number[] = [];
    await stage.work({
      runTurn: async (turn) => {
        seen.push(1 + turn.absorbed.length);
        return doneWithEffect(turn);
      },
    });
    const collect = () => newTurn(session, { mode: 'collect', debounceMs: 400, maxWaitMs: 2000 });
    // In one commit: between commits the wait could be over on a busy machine.
    const accepted = await stage.database.db
      .transaction()
      .execute(async (tx) => [
        ...(await acceptTurns(tx, [collect()])),
        ...(await acceptTurns(tx, [collect()])),
        ...(await acceptTurns(tx, [collect()])),
      ]);
    await stage.backend.wakes.ring(accepted.flatMap(({ wake }) => (wake === undefined ? [] : [wake])));
    await allDone(stage);
    expect(seen).toEqual([3]);
  });
});
