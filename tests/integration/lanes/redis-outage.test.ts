import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { turnAcceptor } from '#core/lanes/accept-turns.ts';
import { eventually } from '#tests/support/eventually.ts';
import { doneWithEffect, LaneStage } from '#tests/support/lane-stage.ts';
import { addSessions, newTurn } from '#tests/support/lanes.ts';
import { RedisProcess } from '#tests/support/redis-process.ts';

it('a Redis that dies and comes back empty costs seconds and no turn, and turns are accepted meanwhile', async () => {
  await using redis = await RedisProcess.start();
  await using stage = await LaneStage.open('redis', redis.url);
  const sessions = await addSessions(stage.database, 20);
  const accept = turnAcceptor({ db: stage.database.db, wakes: stage.backend.wakes });
  const acceptAll = () => Promise.all(sessions.map((session) => accept(newTurn(session))));
  await stage.work({
    runTurn: async (turn) => {
      await delay(20);
      return doneWithEffect(turn);
    },
  });
  await acceptAll();
  await redis.kill();
  // It would not come to an end if it waited for the Redis that is started only afterwards.
  await acceptAll();
  await redis.start();
  await acceptAll();
  await eventually(async () => expect(await stage.openTurns()).toBe(0));
  expect(await stage.findDamage()).toEqual([]);
});

it('a worker may start while Redis is away', async () => {
  await using redis = await RedisProcess.start();
  await redis.kill();
  await using stage = await LaneStage.open('redis', redis.url);
  const [session = ''] = await addSessions(stage.database, 1);
  const accept = turnAcceptor({ db: stage.database.db, wakes: stage.backend.wakes });
  await stage.work();
  await accept(newTurn(session));
  await redis.start();
  await eventually(async () => expect(await stage.openTurns()).toBe(0));
  expect(await stage.findDamage()).toEqual([]);
});

it('a worker may stop while Redis is away, also from the middle of a turn', async () => {
  await using redis = await RedisProcess.start();
  await using stage = await LaneStage.open('redis', redis.url);
  const [session = ''] = await addSessions(stage.database, 1);
  const accept = turnAcceptor({ db: stage.database.db, wakes: stage.backend.wakes });
  const runner = await stage.work({
    runTurn: async (turn, { stopping }) => {
      while (!stopping.aborted) await delay(5);
      return doneWithEffect(turn);
    },
  });
  await accept(newTurn(session));
  await eventually(() => expect(runner.activeTurns).toBe(1));
  await redis.kill();
  await stage.stopWork();
  expect(await stage.findDamage()).toEqual([]);
});
