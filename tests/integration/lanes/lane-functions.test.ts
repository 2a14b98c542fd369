import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newId } from '#core/kit/ids.ts';
import { acceptTurns, turnAcceptor } from '#core/lanes/accept-turns.ts';
import { appendEvents } from '#core/lanes/append-events.ts';
import { cancelTurns } from '#core/lanes/cancel-turns.ts';
import { finishTurn } from '#core/lanes/finish-turns.ts';
import type { ClaimedTurn, NewTurn } from '#core/lanes/lane.ts';
import { boundaryRows, claimRows, finishRows, reapRows } from '#core/lanes/lane-store.ts';
import { resumeTurns } from '#core/lanes/resume-turns.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';
import { addSessions, addWorker, newTurn, outboxItem } from '#tests/support/lanes.ts';

let database: TestDatabase;
let worker: string;

beforeAll(async () => {
  database = await openTestDatabase();
  worker = await addWorker(database);
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
});

async function newSession(): Promise<string> {
  const [id] = await addSessions(database, 1);
  if (id === undefined) throw new Error('no session');
  return id;
}

async function accept(...turns: NewTurn[]) {
  return database.db.transaction().execute((tx) => acceptTurns(tx, turns));
}

async function claim(sessionId: string): Promise<ClaimedTurn> {
  const [result] = await claimRows(database.db, [sessionId], worker);
  if (result?.state !== 'turn') throw new Error(`nothing to claim: ${result?.state}`);
  return result.turn;
}

async function states(sessionId: string): Promise<string[]> {
  const rows = await database.query<{ state: string }>('select state from turn where session_id = $1 order by seq', [
    sessionId,
  ]);
  return rows.map((row) => row.state);
}

async function laneState(sessionId: string): Promise<string | undefined> {
  const rows = await database.query<{ state: string }>('select state from lane where session_id = $1', [sessionId]);
  return rows[0]?.state;
}

describe('accept', () => {
  it('owes one wake for an idle lane and none for one that is ready already', async () => {
    const session = await newSession();
    const [first, second] = await accept(newTurn(session), newTurn(session));
    expect(first).toMatchObject({
      seq: 1,
      isDuplicate: false,
      wake: { sessionId: session, generation: 1, delayMs: 0 },
    });
    expect(second).toMatchObject({ seq: 2, wake: undefined });
    const [third] = await accept(newTurn(session));
    expect(third).toMatchObject({ seq: 3, wake: undefined });
  });

  it('answers an event it has seen with the first turn and changes nothing', async () => {
    const session = await newSession();
    const turn = newTurn(session);
    const again = { ...newTurn(session), eventKey: turn.eventKey };
    const [first, inBatch] = await accept(turn, again);
    const [later] = await accept(again);
    expect(first?.isDuplicate).toBe(false);
    for (const duplicate of [inBatch, later]) {
      expect(duplicate).toMatchObject({ turnId: turn.turnId, seq: 1, isDuplicate: true, wake: undefined });
    }
    expect(await states(session)).toEqual(['queued']);
  });

  it('marks the inbox row routed in the same commit', async () => {
    const session = await newSession();
    const inboxId = newId();
    await database.query(
      `insert into inbox (id, channel, account, dedup_key, raw) values ($1, 'console', 'test', 'one', '{}')`,
      [inboxId],
    );
    await accept(newTurn(session, { inboxId }));
    const [row] = await database.query('select state, routed_at is not null as routed from inbox where id = $1', [
      inboxId,
    ]);
    expect(row).toEqual({ state: 'routed', routed: true });
  });

  it('keeps one bad turn from failing the others of its batch', async () => {
    const session = await newSession();
    const rung: unknown[] = [];
    const acceptOne = turnAcceptor({ db: database.db, wakes: { ring: async (wakes) => void rung.push(...wakes) } });
    const results = await Promise.allSettled([
      acceptOne(newTurn(session)),
      acceptOne(newTurn(newId())),
      acceptOne(newTurn(session, { payload: { text: 'nul \u0000 and half a pair \ud800' } })),
    ]);
    expect(results.map((result) => result.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(rung).toHaveLength(1);
  });

  it('waits for the last of a run of collect messages, but not for ever', async () => {
    const session = await newSession();
    const minuteMs = 60_000;
    const collect = () => newTurn(session, { mode: 'collect', debounceMs: 10 * minuteMs, maxWaitMs: 15 * minuteMs });
    const [first] = await accept(collect());
    expect(first?.wake?.delayMs).toBeGreaterThan(9 * minuteMs);
    const wait = async () => {
      const [result] = await claimRows(database.db, [session], worker);
      return result?.state === 'early' ? result.waitMs : undefined;
    };
    const before = await wait();
    await database.query(`update lane set first_at = first_at - interval '12 minutes' where session_id = $1`, [
      session,
    ]);
    await database.query(`update lane set run_at = clock_timestamp() + interval '1 minute' where session_id = $1`, [
      session,
    ]);
    await accept(collect());
    const after = await wait();
    expect(before).toBeGreaterThan(9 * minuteMs);
    // 15 min after the first message, which is now 12 min ago.
    expect(after).toBeGreaterThan(2 * minuteMs);
    expect(after).toBeLessThanOrEqual(3 * minuteMs);
    const [followup] = await accept(newTurn(session));
    expect(followup?.wake).toMatchObject({ generation: 2, delayMs: 0 });
    const turn = await claim(session);
    expect(turn.absorbed).toHaveLength(1);
    expect(await states(session)).toEqual(['running', 'absorbed', 'queued']);
  });
});

describe('a running turn', () => {
  it('takes steered messages along at a boundary and meets them again in a later try', async () => {
    const session = await newSession();
    await accept(newTurn(session));
    const turn = await claim(session);
    const [steer] = await accept(newTurn(session, { mode: 'steer', payload: { text: 'left!', author: 'x' } }));
    expect(steer?.signal).toBe('steer');
    const record = { lease: turn, events: [{ kind: 'notice', payload: { text: 'a' } }] };
    const [verdict] = await boundaryRows(database.db, [record]);
    expect(verdict).toMatchObject({ state: 'go', steered: [{ id: steer?.turnId, payload: { text: 'left!' } }] });
    const [again] = await boundaryRows(database.db, [record]);
    expect(again).toEqual({ state: 'go', steered: [] });
    expect(await reapRows(database.db, [worker])).toContainEqual({ sessionId: session, generation: 2 });
    const retry = await claim(session);
    expect(retry).toMatchObject({ id: turn.id, attempts: 2, absorbed: [{ id: steer?.turnId }] });
    const [late] = await boundaryRows(database.db, [record]);
    expect(late).toEqual({ state: 'fenced' });
    const events = await database.query('select seq, turn_id from event where session_id = $1 order by seq', [session]);
    expect(events).toEqual([
      { seq: 1, turn_id: turn.id },
      { seq: 2, turn_id: turn.id },
    ]);
  });

  it('is cancelled by an interrupt, whatever it says afterwards', async () => {
    const session = await newSession();
    await accept(newTurn(session), newTurn(session));
    const turn = await claim(session);
    const [interrupt] = await accept(newTurn(session, { mode: 'interrupt' }));
    expect(interrupt?.signal).toBe('cancel');
    expect(await states(session)).toEqual(['running', 'cancelled', 'queued']);
    const [boundary] = await boundaryRows(database.db, [{ lease: turn, events: [] }]);
    expect(boundary).toEqual({ state: 'cancelled' });
    const [finished] = await finishRows(database.db, [
      {
        lease: turn,
        outcome: {
          state: 'done',
          outbox: [outboxItem(`${turn.id}/answer`, 'done')],
          cancelledOutbox: [outboxItem(`${turn.id}/stopped`, 'stopped')],
        },
        keepRunning: true,
      },
    ]);
    expect(finished).toMatchObject({
      state: 'running',
      outcome: 'cancelled',
      next: { id: interrupt?.turnId, attempts: 1 },
    });
    const said = await database.query('select key from outbox where key like $1', [`${turn.id}%`]);
    expect(said).toEqual([{ key: `${turn.id}/stopped` }]);
  });

  it('hands the lane on in one commit with what it says', async () => {
    const session = await newSession();
    const [first, second] = await accept(newTurn(session), newTurn(session));
    const turn = await claim(session);
    const done = { state: 'done', result: { text: 'ok' }, events: [{ kind: 'turn_ended', payload: {} }] } as const;
    const [verdict] = await finishRows(database.db, [{ lease: turn, outcome: done }]);
    expect(verdict).toEqual({ state: 'ready', outcome: 'done', wake: { sessionId: session, generation: 2 } });
    const [again] = await finishRows(database.db, [{ lease: turn, outcome: done }]);
    expect(again).toEqual({ state: 'fenced' });
    const next = await claim(session);
    expect([turn.id, next.id]).toEqual([first?.turnId, second?.turnId]);
    const last = await database.db.transaction().execute((tx) => finishTurn(tx, { lease: next, outcome: done }));
    expect(last).toEqual({ state: 'idle', outcome: 'done' });
  });

  it('can be handed back without using up a try', async () => {
    const session = await newSession();
    await accept(newTurn(session));
    const turn = await claim(session);
    const [verdict] = await finishRows(database.db, [{ lease: turn, outcome: { state: 'released' } }]);
    expect(verdict).toMatchObject({ state: 'ready', outcome: 'released' });
    expect(await claim(session)).toMatchObject({ id: turn.id, attempts: 1 });
  });

  it('finds a cancel that came before its worker died', async () => {
    const session = await newSession();
    await accept(newTurn(session));
    const turn = await claim(session);
    await cancelTurns(database.db, session, { withQueued: false });
    await reapRows(database.db, [worker]);
    expect(await claim(session)).toMatchObject({ id: turn.id, isCancelled: true });
  });
});

describe('a waiting turn', () => {
  async function park(session: string): Promise<ClaimedTurn> {
    await accept(newTurn(session));
    const turn = await claim(session);
    const [verdict] = await finishRows(database.db, [
      { lease: turn, outcome: { state: 'waiting', waitingFor: 'approval' } },
    ]);
    expect(verdict).toEqual({ state: 'parked', outcome: 'waiting' });
    return turn;
  }

  it('holds the lane without an owner and goes on once when resumed', async () => {
    const session = await newSession();
    const turn = await park(session);
    const [behind] = await accept(newTurn(session));
    expect(behind?.wake).toBeUndefined();
    expect(await resumeTurns(database.db, [turn.id])).toEqual([{ sessionId: session, generation: 2 }]);
    expect(await resumeTurns(database.db, [turn.id])).toEqual([]);
    expect(await claim(session)).toMatchObject({ id: turn.id, attempts: 2 });
  });

  it('does not park when the resume came first', async () => {
    const session = await newSession();
    await accept(newTurn(session));
    const turn = await claim(session);
    expect(await resumeTurns(database.db, [turn.id])).toEqual([]);
    const [verdict] = await finishRows(database.db, [
      { lease: turn, outcome: { state: 'waiting', waitingFor: 'child' } },
    ]);
    expect(verdict).toMatchObject({ state: 'ready', outcome: 'waiting' });
    expect(await states(session)).toEqual(['queued']);
  });

  it('ends at once when it is cancelled or interrupted', async () => {
    const stopped = await newSession();
    const turn = await park(stopped);
    await accept(newTurn(stopped));
    const result = await cancelTurns(database.db, stopped, { withQueued: false });
    expect(result).toMatchObject({
      isRunningAsked: false,
      ended: [{ id: turn.id, was: 'waiting' }],
      wake: { generation: 2 },
    });
    expect(await states(stopped)).toEqual(['cancelled', 'queued']);

    const interrupted = await newSession();
    await park(interrupted);
    const [next] = await accept(newTurn(interrupted, { mode: 'interrupt' }));
    expect(next?.wake).toMatchObject({ generation: 2 });
    expect(await states(interrupted)).toEqual(['cancelled', 'queued']);
  });
});

describe('a cancel', () => {
  it('of everything leaves the lane idle', async () => {
    const session = await newSession();
    await accept(newTurn(session), newTurn(session));
    const result = await cancelTurns(database.db, session, { withQueued: true });
    expect(result.ended.map((turn) => turn.was)).toEqual(['queued', 'queued']);
    expect(await laneState(session)).toBe('idle');
    expect(await claimRows(database.db, [session], worker)).toEqual([{ state: 'none' }]);
  });

  it('ends a turn whose worker has died, and leaves what has not begun', async () => {
    const session = await newSession();
    await accept(newTurn(session), newTurn(session));
    const turn = await claim(session);
    await reapRows(database.db, [worker]);
    const result = await cancelTurns(database.db, session, { withQueued: false });
    expect(result.ended.map((ended) => ended.id)).toEqual([turn.id]);
    expect(await states(session)).toEqual(['cancelled', 'queued']);
    expect(await claim(session)).toMatchObject({ seq: 2, isCancelled: false });
  });
});

describe('events', () => {
  it('are numbered per session and cannot be changed or deleted', async () => {
    const session = await newSession();
    await appendEvents(database.db, session, [
      { kind: 'notice', payload: { text: 'a' } },
      { kind: 'notice', payload: { text: 'b' } },
    ]);
    await appendEvents(database.db, session, [{ kind: 'notice', payload: { text: 'c' } }]);
    const rows = await database.query('select seq, payload from event where session_id = $1 order by seq', [session]);
    expect(rows).toEqual([
      { seq: 1, payload: { text: 'a' } },
      { seq: 2, payload: { text: 'b' } },
      { seq: 3, payload: { text: 'c' } },
    ]);
    await expect(database.query('delete from event where session_id = $1', [session])).rejects.toThrow('append-only');
    await expect(database.query(`update event set kind = 'x' where session_id = $1`, [session])).rejects.toThrow(
      'append-only',
    );
  });
});

describe('the outbox', () => {
  const put = (...items: Record<string, unknown>[]) =>
    database.query('select outbox_put($1::jsonb)', [JSON.stringify(items)]);
  const row = async (key: string) =>
    (await database.query('select state, revision, attempts, body from outbox where key = $1', [key]))[0];

  it('revises a message under its key and leaves one in flight with its sender', async () => {
    await put(outboxItem('live/1', 'a'), outboxItem('live/1', 'ab'));
    expect(await row('live/1')).toMatchObject({ state: 'pending', revision: 1, body: { parts: [{ markdown: 'ab' }] } });
    await database.query(
      `update outbox set state = 'sending', owner = $1, sending_since = now(), attempts = 1 where key = 'live/1'`,
      [worker],
    );
    await put(outboxItem('live/1', 'abc'));
    expect(await row('live/1')).toMatchObject({ state: 'sending', revision: 2, attempts: 1 });
    await database.query(
      `update outbox set state = 'sent', sent_revision = 2, owner = null, sending_since = null where key = 'live/1'`,
    );
    await put(outboxItem('live/1', 'abc'));
    expect(await row('live/1')).toMatchObject({ state: 'sent', revision: 2 });
    await put(outboxItem('live/1', 'abcd'));
    expect(await row('live/1')).toMatchObject({ state: 'pending', revision: 3, attempts: 0 });
  });
});
