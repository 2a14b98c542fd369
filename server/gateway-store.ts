import { sql } from 'kysely';
import type { Db } from '#core/kit/database.ts';
import type { TurnNote } from './console-backend.ts';
import type { LaneView } from './lane-routes.ts';

/** What the server looks up for its pages and streams; it changes nothing. */
export interface GatewayReads {
  /** One lane with its last turns and events; undefined when there is none. */
  readLane(sessionId: string): Promise<LaneView | undefined>;
  /** How many messages of a turn are still on their way to the console or the web chat. */
  countUndelivered(turnId: string): Promise<number>;
  /** Turns of a thread that run, wait, or ended in the last minutes, oldest first. */
  readTurns(threadKey: string): Promise<readonly TurnNote[]>;
}

const turnRowsMax = 50;
const eventRowsMax = 50;
/** Of one event's text; the page is for an overview, the log has the rest. */
const eventTextMax = 4_000;
/** Longer than any client takes to come back after a restart. */
const endedMinutes = 10;

interface LaneRow {
  session_id: string;
  thread_key: string;
  agent_name: string;
  state: string;
  open_turns: number;
  next_seq: number;
  fence: number;
  generation: number;
  owner: string | null;
}

interface TurnRow {
  id: string;
  seq: number;
  state: string;
  waiting_for: string | null;
  mode: string;
  kind: string;
  attempts: number;
  created_at: Date;
  started_at: Date | null;
  finished_at: Date | null;
  error_code: string | null;
}

interface NoteRow {
  id: string;
  session_id: string;
  state: 'running' | 'waiting' | 'done' | 'failed' | 'cancelled' | 'absorbed';
  waiting_for: string | null;
  message_id: string | null;
  into_id: string | null;
  approval_id: string | null;
}

/** The reads on this installation's database. */
export function openGatewayReads(db: Db): GatewayReads {
  return {
    readLane: (sessionId) => readLane(db, sessionId),
    async countUndelivered(turnId) {
      const { rows } = await sql<{ count: number }>`
        select count(*)::int as count from outbox
        where turn_id = ${turnId} and state in ('pending', 'sending') and (starts_with(thread_key, 'console:') or starts_with(thread_key, 'web:'))
      `.execute(db);
      return rows[0]?.count ?? 0;
    },
    readTurns: (threadKey) => readTurns(db, threadKey),
  };
}

async function readLane(db: Db, sessionId: string): Promise<LaneView | undefined> {
  const lanes = await sql<LaneRow>`
    select l.session_id, s.thread_key, s.agent_name, l.state, l.next_seq, l.fence, l.generation, l.owner,
      (select count(*)::int from turn t
       where t.session_id = l.session_id and t.state in ('queued', 'running', 'waiting')) as open_turns
    from lane l join session s on s.id = l.session_id where l.session_id = ${sessionId}
  `.execute(db);
  const lane = lanes.rows[0];
  if (lane === undefined) return undefined;
  const turns = await sql<TurnRow>`
    select id, seq, state, waiting_for, mode, kind, attempts, created_at, started_at, finished_at, error_code
    from turn where session_id = ${sessionId} order by seq desc limit ${turnRowsMax}
  `.execute(db);
  const events = await sql<{ seq: number; kind: string; text: string; created_at: Date }>`
    select seq, kind, created_at, left(coalesce(
        payload ->> 'text', payload ->> 'summary',
        case when jsonb_typeof(payload -> 'parts') = 'array' then
          (select string_agg(coalesce(part ->> 'text', part::text), E'\n') from jsonb_array_elements(payload -> 'parts') part)
        end, payload::text), ${eventTextMax}) as text
    from event where session_id = ${sessionId} order by seq desc limit ${eventRowsMax}
  `.execute(db);
  return {
    sessionId: lane.session_id,
    threadKey: lane.thread_key,
    agentName: lane.agent_name,
    state: lane.state,
    openTurns: lane.open_turns,
    nextSeq: lane.next_seq,
    fence: lane.fence,
    generation: lane.generation,
    owner: lane.owner ?? undefined,
    turns: turns.rows.map((row) => ({
      seq: row.seq,
      id: row.id,
      state: row.state,
      waitingFor: row.waiting_for ?? undefined,
      mode: row.mode,
      kind: row.kind,
      attempts: row.attempts,
      createdAt: row.created_at,
      startedAt: row.started_at ?? undefined,
      finishedAt: row.finished_at ?? undefined,
      errorCode: row.error_code ?? undefined,
    })),
    events: events.rows.map((row) => ({ seq: row.seq, kind: row.kind, text: row.text, createdAt: row.created_at })),
  };
}

async function readTurns(db: Db, threadKey: string): Promise<TurnNote[]> {
  const { rows } = await sql<NoteRow>`
    select t.id, t.session_id, t.state, t.waiting_for, t.payload ->> 'messageId' as message_id,
      (select i.id from turn i where i.session_id = t.session_id and i.seq = t.into_seq) as into_id,
      (select a.id from approval a where a.turn_id = t.id and a.state = 'pending' limit 1) as approval_id
    from turn t join session s on s.id = t.session_id
    where s.thread_key = ${threadKey}
      and (t.state in ('running', 'waiting')
        or t.finished_at > clock_timestamp() - make_interval(mins => ${endedMinutes}))
    order by t.created_at limit ${turnRowsMax}
  `.execute(db);
  return rows.map((row) => ({
    kind: 'turn',
    sessionId: row.session_id,
    turnId: row.id,
    state: row.state === 'running' ? 'started' : row.state,
    messageId: row.message_id ?? undefined,
    intoTurnId: row.into_id ?? undefined,
    waitingFor: row.waiting_for ?? undefined,
    approvalId: row.approval_id ?? undefined,
  }));
}
