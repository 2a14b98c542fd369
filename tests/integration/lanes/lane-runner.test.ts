import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'kysely';
import { describe, expect, it } from 'vitest';
import { createPool, openDatabase } from '#core/kit/database.ts';
import { turnAcceptor } from '#core/lanes/accept-turns.ts';
import { cancelTurns } from '#core/lanes/cancel-turns.ts';
import { type NewTurn, TurnAbort } from '#core/lanes/lane.ts';
import { claimRows } from '#core/lanes/lane-store.ts';
import { resumeTurns } from '#core/lanes/resume-turns.ts';
import { eventually } from '#tests/support/eventually.ts';
import { doneWithEffect, LaneStage } from '#tests/support/lane-stage.ts';
import { addSessions, newTurn } from '#tests/support/lanes.ts';
import type { RunTurn } from '#workers/lane/lane-runner.ts';

async function stageWithSession(): Promise<{
  stage: LaneStage;
  session: string;
  accept: (turn: NewTurn) => Promise<unknown>;
}> {
  const stage = await LaneStage.open('postgres');
  const [session = ''] = await addSessions(stage.database, 1);
  return { stage, session, accept: turnAcceptor({ db: stage.database.db, wakes: stage.backend.wakes }) };
}

/** Of the pool of a stage, as `openTestDatabase` opens it. */
const connectionsMax = 10;

async function turnStates(stage: LaneStage): Promise<string[]> {
  const rows = await stage.database.query<{ state: string }>('select state from turn order by seq');
  return rows.map((row) => row.state);
}

/** A handler that works until its signal aborts and then throws the reason. */
const untilAborted: RunTurn = (_turn, { signal }) =>
  new Promise((_resolve, reject) => {
    const end = () => reject(signal.reason);
    if (signal.aborted) end();
    else signal.addEventListener('abort', end, { once: true });
  });

describe('a lane runner', () => {
  it('ends a turn as soon as it hears of its cancel, without waiting for a boundary or an audit', async () => {
    const { stage, session, accept } = await stageWithSession();
    await using _ = stage;
    const aborted = Promise.withResolvers<unknown>();
    const runner = await stage.work({
      runTurn: async (turn, context) => {
        context.signal.addEventListener('abort', () => aborted.resolve(context.signal.reason));
        return await untilAborted(turn, context);
      },
    });
    await accept(newTurn(session));
    await eventually(() => expect(runner.activeTurns).toBe(1));
    // With every connection taken the audit cannot look.
    const canLook = Promise.withResolvers<void>();
    const taken = Array.from({ length: connectionsMax }, () => Promise.withResolvers<void>());
    const holders = taken.map(({ resolve }) =>
      stage.database.db.connection().execute(async () => {
        resolve();
        await canLook.promise;
      }),
    );
    await Promise.all(taken.map(({ promise }) => promise));
    const elsewhere = openDatabase(
      createPool({ url: stage.database.url, connectionsMax: 1, applicationName: 'tests', log: stage.log }),
    );
    expect(await cancelTurns(elsewhere, session, { withQueued: false })).toMatchObject({ isRunningAsked: true });
    expect(await aborted.promise).toEqual(new TurnAbort('cancelled'));
    canLook.resolve();
    await Promise.all(holders);
    await elsewhere.destroy();
    await eventually(async () => expect(await turnStates(stage)).toEqual(['cancelled']));
  });

  it('obeys a cancel it could not hear', async () => {
    const { stage, session, accept } = await stageWithSession();
    await using _ = stage;
    const runner = await stage.work({ runTurn: untilAborted });
    await accept(newTurn(session));
    await eventually(() => expect(runner.activeTurns).toBe(1));
    await stage.database.query('update lane set cancel_seq = head_seq');
    await eventually(async () => expect(await turnStates(stage)).toEqual(['cancelled']));
  });

  it('tells a turn at a boundary that it was fenced off and records nothing of it', async () => {
    const { stage, session, accept } = await stageWithSession();
    await using _ = stage;
    const reasons: unknown[] = [];
    await stage.work({
      runTurn: async (turn, context) => {
        if (turn.attempts > 1) return doneWithEffect(turn);
        await stage.database.query('select lane_reap(array(select owner from lane where owner is not null))');
        const verdict = await context.reachBoundary({ events: [{ kind: 'notice', payload: {} }] });
        reasons.push(verdict.state, context.signal.reason);
        return { state: 'failed', errorCode: 'turn.crashed' };
      },
    });
    await accept(newTurn(session));
    await eventually(async () => expect(await turnStates(stage)).toEqual(['done']));
    expect(reasons).toEqual(['fenced', new TurnAbort('fenced')]);
    expect(await stage.findDamage()).toEqual([]);
  });

  it('fails a turn whose handler throws and goes on with the next', async () => {
    const { stage, session, accept } = await stageWithSession();
    await using _ = stage;
    await stage.work({
      runTurn: async (turn) => {
        if (turn.seq === 1) throw new Error('a bug');
        return doneWithEffect(turn);
      },
    });
    await Promise.all([accept(newTurn(session)), accept(newTurn(session))]);
    await eventually(async () => expect(await turnStates(stage)).toEqual(['failed', 'done']));
    const [row] = await stage.database.query('select error_code from turn where seq = 1');
    expect(row).toEqual({ error_code: 'invariant.broken' });
  });

  it('fails a turn whose end the database refuses instead of keeping its lane for ever', async () => {
    const { stage, session, accept } = await stageWithSession();
    await using _ = stage;
    await stage.work({ runTurn: async () => ({ state: 'done', outbox: [{ key: 'no-id' }] }) });
    await accept(newTurn(session));
    await eventually(async () => expect(await turnStates(stage)).toEqual(['failed']));
  });

  it('holds nothing while a turn waits and runs it again when it is resumed', async () => {
    const { stage, session, accept } = await stageWithSession();
    await using _ = stage;
    const runner = await stage.work({
      slots: 1,
      runTurn: async (turn) =>
        turn.attempts === 1 && turn.sessionId === session
          ? { state: 'waiting', waitingFor: 'approval' }
          : doneWithEffect(turn),
    });
    const turn = newTurn(session);
    await accept(turn);
    await eventually(async () => expect(await turnStates(stage)).toEqual(['waiting']));
    await eventually(() => expect(runner.activeTurns).toBe(0));
    const [other = ''] = await addSessions(stage.database, 1);
    await accept(newTurn(other));
    await eventually(async () => expect((await turnStates(stage)).sort()).toEqual(['done', 'waiting']));
    await stage.backend.wakes.ring(await resumeTurns(stage.database.db, [turn.turnId]));
    await eventually(async () => expect(await turnStates(stage)).toEqual(['done', 'done']));
    expect(await stage.findDamage()).toEqual([]);
  });

  it('hands back a lane it owns without knowing', async () => {
    const { stage, session, accept } = await stageWithSession();
    await using _ = stage;
    let isClaimed = false;
    await stage.work({
      ring: async (wakes) => {
        // A sweep that finds the lane before it is claimed rings in vain.
        if (isClaimed) await stage.backend.wakes.ring(wakes);
      },
    });
    const [worker] = await stage.database.query<{ id: string }>('select id from worker');
    // The answer to this claim never reaches the runner.
    const silent = turnAcceptor({ db: stage.database.db, wakes: { ring: async () => {} } });
    await silent(newTurn(session));
    const [claim] = await claimRows(stage.database.db, [session], worker?.id ?? '');
    isClaimed = true;
    expect(claim?.state).toBe('turn');
    await eventually(async () => expect(await turnStates(stage)).toEqual(['done']));
    expect(await accept(newTurn(session))).toMatchObject({ seq: 2 });
  });

  it('takes turns although the first look at the queue was cut off', async () => {
    const { stage, session, accept } = await stageWithSession();
    await using _ = stage;
    const locked = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    const locking = stage.database.db.transaction().execute(async (tx) => {
      await sql`lock table bullmq.migration in access exclusive mode`.execute(tx);
      locked.resolve();
      await release.promise;
    });
    await locked.promise;
    await stage.work();
    await eventually(async () => {
      const cut = await stage.database.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name = 'switchyard-queue' and wait_event_type = 'Lock'`,
      );
      expect(cut).toHaveLength(1);
    });
    release.resolve();
    await locking;
    await accept(newTurn(session));
    await eventually(async () => expect(await turnStates(stage)).toEqual(['done']));
  });

  it('lets its turns finish when it stops and hands back those that take too long', async () => {
    const { stage, session, accept } = await stageWithSession();
    await using _ = stage;
    const [slow = ''] = await addSessions(stage.database, 1);
    const runner = await stage.work({
      // What has to commit within this time must do so on a busy machine, too.
      drainMs: 4000,
      runTurn: async (turn, context) => {
        if (turn.sessionId === slow) return untilAborted(turn, context);
        while (!context.stopping.aborted) await delay(5);
        return doneWithEffect(turn);
      },
    });
    await Promise.all([accept(newTurn(session)), accept(newTurn(slow))]);
    await eventually(() => expect(runner.activeTurns).toBe(2));
    await stage.stopWork();
    const rows = await stage.database.query(
      'select t.session_id, t.state, t.attempts, l.state as lane from turn t join lane l using (session_id)',
    );
    expect(rows).toHaveLength(2);
    expect(rows).toContainEqual({ session_id: session, state: 'done', attempts: 1, lane: 'idle' });
    expect(rows).toContainEqual({ session_id: slow, state: 'queued', attempts: 0, lane: 'ready' });
    expect(await stage.database.query('select 1 from worker')).toEqual([]);
  });
});
