import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { systemClock } from '#core/kit/clock.ts';
import { createPool, openDatabase } from '#core/kit/database.ts';
import { armFailpoint } from '#core/kit/failpoint.ts';
import { turnAcceptor } from '#core/lanes/accept-turns.ts';
import { openQueueBackend } from '#core/queue/queue-backend.ts';
import { LaneRunner } from '#workers/lane/lane-runner.ts';
import { WorkerPresence } from '#workers/lane/worker-presence.ts';
import { sweepLanes } from '#workers/upkeep/sweep-lanes.ts';
import { laneWorkerSettings } from './lane-worker-settings.ts';
import { newTurn, outboxItem } from './lanes.ts';

// One worker in a process of its own, to be killed, frozen and stopped by the fault tests. Says "ready" when it works.
const settings = laneWorkerSettings.parse(JSON.parse(process.argv[2] ?? ''));
const log = pino({ level: 'warn' }, pino.destination(2));
const pool = createPool({ url: settings.databaseUrl, connectionsMax: 6, applicationName: 'lane-worker', log });
const db = openDatabase(pool);
const backend = await openQueueBackend(settings.queue, log);
const presence = await WorkerPresence.open({ databaseUrl: settings.databaseUrl, log });
const runner = new LaneRunner(
  {
    db,
    log,
    wakes: backend.wakes,
    presence,
    runTurn: async (turn, context) => {
      await pool.query('insert into handler_start (turn_id, session_id, seq, pid) values ($1, $2, $3, $4)', [
        turn.id,
        turn.sessionId,
        turn.seq,
        process.pid,
      ]);
      await delay(settings.handlerMs);
      await context.reachBoundary({ events: [{ kind: 'notice', payload: {} }] });
      return {
        state: 'done',
        events: [{ kind: 'turn_ended', payload: { seq: turn.seq } }],
        outbox: [{ ...outboxItem(`${turn.sessionId}/${turn.seq}/${turn.fence}`, 'done'), turnId: turn.id }],
      };
    },
  },
  { slots: settings.slots, drainMs: 2000 },
);
const stop = new AbortController();
process.on('SIGTERM', () => stop.abort());
armFailpoint(settings.failAt);
process.stdout.write('ready\n');
const accept = turnAcceptor({ db, wakes: backend.wakes });
const limits = { ttlMs: settings.ttlMs, beatGraceMs: 1000, serverGraceMs: 0, overdueMs: 1000 };
await Promise.all([
  ...settings.accepts.map((sessionId) => accept(newTurn(sessionId))),
  runner.run(stop.signal),
  sweepLanes({ db, log, clock: systemClock, wakes: backend.wakes, limits }, stop.signal),
]);
await presence[Symbol.asyncDispose]();
await backend[Symbol.asyncDispose]();
await db.destroy();
process.stdout.write('stopped\n');
