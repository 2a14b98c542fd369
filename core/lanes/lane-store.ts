import { sql } from 'kysely';
import { z } from 'zod';
import type { Db, Tx } from '../kit/database.ts';
import { AppError } from '../kit/errors.ts';
import { toStorableJson } from '../kit/json.ts';
import { originSchema } from '../sessions/origin.ts';
import {
  type AcceptedTurn,
  absorbedTurnsSchema,
  type BoundaryRecord,
  type BoundaryVerdict,
  type CancelledTurns,
  type Claim,
  claimedTurnSchema,
  type FinishRecord,
  type FinishVerdict,
  type LaneLease,
  type LaneWake,
  type NewEvent,
  type NewTurn,
} from './lane.ts';

// Collect without figures waits half a second after the last message, at most five after the first.
const defaultDebounceMs = 500;
const defaultMaxWaitMs = 5000;

const acceptRow = z.object({
  ord: z.int(),
  turn_id: z.string(),
  seq: z.int(),
  generation: z.int().nullable(),
  delay_ms: z.int(),
  signal: z.enum(['steer', 'cancel', 'waits']).nullable(),
  is_duplicate: z.boolean(),
});

/** Puts turns on their lanes; all or none. Results are in the order of the turns. */
export async function acceptRows(db: Db | Tx, turns: readonly NewTurn[]): Promise<AcceptedTurn[]> {
  const items = turns.map((turn) => ({ debounceMs: defaultDebounceMs, maxWaitMs: defaultMaxWaitMs, ...turn }));
  const { rows } = await sql`select * from lane_accept(${toStorableJson(items)}::jsonb)`.execute(db);
  const byOrd = new Map(rows.map((row) => acceptRow.parse(row)).map((row) => [row.ord, row]));
  return turns.map((turn, index) => {
    const row = byOrd.get(index + 1) ?? missing('lane_accept');
    return {
      turnId: row.turn_id,
      seq: row.seq,
      isDuplicate: row.is_duplicate,
      signal: row.signal ?? undefined,
      wake:
        row.generation === null
          ? undefined
          : { sessionId: turn.sessionId, generation: row.generation, delayMs: row.delay_ms },
    };
  });
}

const claimRow = z.object({
  session_id: z.string(),
  wait_ms: z.int().nullable(),
  turn: claimedTurnSchema.nullable(),
});

/** Takes ready lanes for an owner; distinct sessions only. */
export async function claimRows(db: Db, sessions: readonly string[], ownerId: string): Promise<Claim[]> {
  const { rows } = await sql`
    select * from lane_claim(${[...sessions]}::uuid[], ${ownerId}::uuid)
  `.execute(db);
  const bySession = new Map(rows.map((row) => claimRow.parse(row)).map((row) => [row.session_id, row]));
  return sessions.map((session): Claim => {
    const row = bySession.get(session);
    if (row === undefined) return { state: 'none' };
    if (row.turn !== null) return { state: 'turn', turn: row.turn };
    return { state: 'early', waitMs: row.wait_ms ?? 0 };
  });
}

const boundaryRow = z.object({
  ord: z.int(),
  is_ok: z.boolean(),
  is_cancelled: z.boolean(),
  steered: absorbedTurnsSchema,
});

/** Records what turns did so far; distinct sessions only. */
export async function boundaryRows(db: Db | Tx, records: readonly BoundaryRecord[]): Promise<BoundaryVerdict[]> {
  const items = records.map(({ lease, events, outbox = [] }) => ({
    sessionId: lease.sessionId,
    turnId: lease.id,
    fence: lease.fence,
    seq: lease.seq,
    events,
    outbox,
  }));
  const { rows } = await sql`select * from lane_boundary(${toStorableJson(items)}::jsonb)`.execute(db);
  const byOrd = new Map(rows.map((row) => boundaryRow.parse(row)).map((row) => [row.ord, row]));
  return records.map((_, index): BoundaryVerdict => {
    const row = byOrd.get(index + 1) ?? missing('lane_boundary');
    if (!row.is_ok) return { state: 'fenced' };
    return row.is_cancelled ? { state: 'cancelled' } : { state: 'go', steered: row.steered };
  });
}

const outcomeSchema = z.enum(['done', 'failed', 'cancelled', 'waiting', 'released']);
const finishRow = z.object({
  ord: z.int(),
  code: z.enum(['fenced', 'idle', 'ready', 'parked', 'running']),
  outcome: outcomeSchema,
  generation: z.int().nullable(),
  turn: claimedTurnSchema.nullable(),
});

/** Ends turns; distinct sessions only. */
export async function finishRows(db: Db | Tx, records: readonly FinishRecord[]): Promise<FinishVerdict[]> {
  const items = records.map(({ lease, outcome, keepRunning = false }) => ({
    sessionId: lease.sessionId,
    turnId: lease.id,
    fence: lease.fence,
    seq: lease.seq,
    outcome: outcome.state,
    waitingFor: outcome.waitingFor ?? null,
    result: outcome.result ?? null,
    errorCode: outcome.errorCode ?? null,
    events: outcome.events ?? [],
    outbox: outcome.outbox ?? [],
    cancelledEvents: outcome.cancelledEvents ?? [],
    cancelledOutbox: outcome.cancelledOutbox ?? [],
    keepRunning,
  }));
  const { rows } = await sql`select * from lane_finish(${toStorableJson(items)}::jsonb)`.execute(db);
  const byOrd = new Map(rows.map((row) => finishRow.parse(row)).map((row) => [row.ord, row]));
  return records.map((record, index) => toFinishVerdict(record, byOrd.get(index + 1) ?? missing('lane_finish')));
}

function toFinishVerdict(record: FinishRecord, row: z.infer<typeof finishRow>): FinishVerdict {
  const { code, outcome } = row;
  switch (code) {
    case 'fenced':
      return { state: code };
    case 'idle':
    case 'parked':
      return { state: code, outcome };
    case 'ready': {
      const generation = row.generation ?? missing('lane_finish');
      return { state: code, outcome, wake: { sessionId: record.lease.sessionId, generation } };
    }
    case 'running':
      return { state: code, outcome, next: row.turn ?? missing('lane_finish') };
  }
}

const wakeRow = z.object({
  session_id: z.string(),
  generation: z.int(),
  delay_ms: z.int().optional(),
});

function toWake(row: unknown): LaneWake {
  const { session_id, generation, delay_ms } = wakeRow.parse(row);
  return { sessionId: session_id, generation, ...(delay_ms === undefined ? {} : { delayMs: delay_ms }) };
}

/** Goes on with waiting turns, by turn id. */
export async function resumeRows(db: Db | Tx, turnIds: readonly string[]): Promise<LaneWake[]> {
  const { rows } = await sql`select * from lane_resume(${[...turnIds]}::uuid[])`.execute(db);
  return rows.map(toWake);
}

const cancelRow = z.object({
  running_seq: z.int().nullable(),
  cancelled: z.array(z.object({ id: z.string(), origin: originSchema, was: z.enum(['queued', 'waiting']) })),
  generation: z.int().nullable(),
});

/** Cancels on one lane. */
export async function cancelLaneRow(db: Db | Tx, sessionId: string, withQueued: boolean): Promise<CancelledTurns> {
  const { rows } = await sql`select * from lane_cancel(${sessionId}::uuid, ${withQueued})`.execute(db);
  if (rows[0] === undefined) return { isRunningAsked: false, ended: [], wake: undefined };
  const row = cancelRow.parse(rows[0]);
  return {
    isRunningAsked: row.running_seq !== null,
    ended: row.cancelled,
    wake: row.generation === null ? undefined : { sessionId, generation: row.generation },
  };
}

/** Appends facts that no turn causes, in order. */
export async function appendEventRows(db: Db | Tx, sessionId: string, events: readonly NewEvent[]): Promise<void> {
  if (events.length === 0) return;
  const items = events.map((event) => ({ sessionId, ...event }));
  await sql`select append_session_events(${toStorableJson(items)}::jsonb)`.execute(db);
}

/** A running lane as the database sees it. */
export interface OwnedLane extends LaneLease {
  readonly isCancelled: boolean;
}

/** The lanes an owner has, whether or not it knows. */
export async function ownedLanes(db: Db, ownerId: string): Promise<OwnedLane[]> {
  const { rows } = await sql<{
    session_id: string;
    turn_id: string;
    seq: number;
    fence: number;
    is_cancelled: boolean;
  }>`
    select l.session_id, t.id as turn_id, t.seq, l.fence, l.cancel_seq >= t.seq as is_cancelled
    from lane l join turn t on t.session_id = l.session_id and t.seq = l.head_seq
    where l.owner = ${ownerId}::uuid and l.state = 'running'
  `.execute(db);
  return rows.map((row) => ({
    sessionId: row.session_id,
    id: row.turn_id,
    seq: row.seq,
    fence: row.fence,
    isCancelled: row.is_cancelled,
  }));
}

/** Ready lanes whose wake has been due for longer than `ageMs`, the longest first. */
export async function overdueLanes(db: Db | Tx, ageMs: number, rowsMax: number): Promise<LaneWake[]> {
  const { rows } = await sql`
    select session_id, generation from lane
    where state = 'ready' and ready_at < clock_timestamp() - make_interval(secs => ${ageMs / 1000})
      and run_at < clock_timestamp() - make_interval(secs => ${ageMs / 1000})
    order by ready_at limit ${rowsMax}
  `.execute(db);
  return rows.map(toWake);
}

/** Every ready lane after `afterSession` in id order: what a queue that lost its data has to be told. */
export async function readyLanes(db: Db, afterSession: string | undefined, rowsMax: number): Promise<LaneWake[]> {
  const { rows } = await sql`
    select session_id, generation from lane
    where state = 'ready' and (${afterSession ?? null}::uuid is null or session_id > ${afterSession ?? null}::uuid)
    order by session_id limit ${rowsMax}
  `.execute(db);
  return rows.map(toWake);
}

/** Owes new wakes for lanes that are still ready under the generation given. */
export async function rearmRows(db: Db, wakes: readonly LaneWake[]): Promise<LaneWake[]> {
  if (wakes.length === 0) return [];
  const items = wakes.map(({ sessionId, generation }) => ({ sessionId, generation }));
  const { rows } = await sql`select * from lane_rearm(${JSON.stringify(items)}::jsonb)`.execute(db);
  return rows.map(toWake);
}

/** Takes the running lanes of dead workers; their turns are queued again. */
export async function reapRows(db: Db | Tx, workerIds: readonly string[]): Promise<LaneWake[]> {
  const { rows } = await sql`select * from lane_reap(${[...workerIds]}::uuid[])`.execute(db);
  return rows.map(toWake);
}

function missing(name: string): never {
  throw new AppError('invariant.broken', `${name} did not answer for every item.`);
}
