import { describe, expect, it } from 'vitest';
import { openTestDatabase } from '#tests/support/database.ts';
import { mutateFunction, runLaneScenario } from '#tests/support/lane-scenario.ts';

const steps = 500;

describe('the lane state machine', () => {
  it.each([1, 2, 3, 4, 5, 6])('keeps its invariants under races, crashes and lost wakes, seed %i', async (seed) => {
    await using database = await openTestDatabase();
    expect(await runLaneScenario(database, seed, steps)).toEqual([]);
  });
});

/** Each is a mistake that was easy to make; a test that does not notice it proves nothing. */
const mutants: readonly {
  readonly mistake: string;
  readonly changes: readonly (readonly [name: string, from: string, to: string])[];
}[] = [
  {
    mistake: 'the fence is not checked',
    changes: [
      ['lane_finish', `l.state = 'running' and l.fence = (e.item ->> 'fence')::integer`, `l.state = 'running'`],
      ['lane_boundary', `l.state = 'running' and l.fence = (e.item ->> 'fence')::integer`, `l.state = 'running'`],
    ],
  },
  {
    mistake: 'a lane with queued turns is not made ready again',
    changes: [['lane_finish', `else 'ready' end) order by`, `else 'idle' end) order by`]],
  },
  {
    mistake: 'accept does not lock the lane',
    changes: [['lane_accept', 'perform lane_lock(sessions)', 'perform pg_sleep(0.001)']],
  },
  {
    mistake: 'a claim does not raise the fence',
    changes: [['lane_start', 'l.fence + 1', 'l.fence']],
  },
  {
    mistake: 'a pending cancel does not win over done',
    changes: [['lane_finish', `l.cancel_seq >= (e.item ->> 'seq')::integer`, 'false']],
  },
];

describe('the invariants notice when', () => {
  it.each(mutants)('$mistake', async ({ changes }) => {
    await using database = await openTestDatabase();
    for (const [name, from, to] of changes) await mutateFunction(database, name, [from, to]);
    let broken: string[] = [];
    for (let seed = 1; broken.length === 0 && seed <= 20; seed++) broken = await runLaneScenario(database, seed, steps);
    expect(broken).not.toEqual([]);
  });
});
