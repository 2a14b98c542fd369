import { sql } from 'kysely';
import type { Db, Tx } from '../kit/database.ts';
import { newId } from '../kit/ids.ts';
import { type Conversation, type Origin, originSchema, threadKey } from './origin.ts';
import type { QueueMode, Session, SessionEvent, SessionSummary, Thread } from './session.ts';

interface ThreadRow {
  thread_key: string;
  conversation: Conversation;
  agent_name: string | null;
  queue_mode: QueueMode;
}

interface SessionRow {
  id: string;
  thread_key: string;
  agent_name: string;
  origin: unknown;
  state: 'active' | 'ended';
  created_at: Date;
}

/** The thread of a conversation, created with the defaults (mode steer) at the first message. */
export async function ensureThread(db: Db | Tx, conversation: Conversation, personId?: string): Promise<Thread> {
  const key = threadKey(conversation);
  const found = await sql<ThreadRow>`
    select t.thread_key, t.conversation, coalesce(c.agent_name, t.agent_name) as agent_name, t.queue_mode
    from thread t left join thread_choice c on c.thread_key = t.thread_key and c.person_id = ${personId ?? null}::uuid
    where t.thread_key = ${key}
  `.execute(db);
  const row =
    found.rows[0] ??
    (
      await sql<ThreadRow>`
        insert into thread (thread_key, conversation) values (${key}, ${JSON.stringify(conversation)}::jsonb)
        on conflict (thread_key) do update set updated_at = thread.updated_at
        returning thread_key, conversation, agent_name, queue_mode
      `.execute(db)
    ).rows[0];
  if (row === undefined) throw new Error('the thread that was just inserted is gone');
  return {
    threadKey: row.thread_key,
    conversation: row.conversation,
    agentName: row.agent_name ?? undefined,
    queueMode: row.queue_mode,
  };
}

/** Whether a thread was ever opened. */
export async function hasThread(db: Db | Tx, key: string): Promise<boolean> {
  const { rows } = await sql`select 1 from thread where thread_key = ${key}`.execute(db);
  return rows.length > 0;
}

/** Chooses a thread's agent for everybody: what single people chose before is over. */
export async function setThreadAgent(tx: Tx, key: string, agentName: string): Promise<void> {
  await sql`
    update thread set agent_name = ${agentName}, updated_at = clock_timestamp() where thread_key = ${key}
  `.execute(tx);
  await sql`delete from thread_choice where thread_key = ${key}`.execute(tx);
}

/** Chooses the agent that answers one person in a thread. */
export async function setOwnAgent(
  tx: Tx,
  choice: { readonly threadKey: string; readonly personId: string; readonly agentName: string },
): Promise<void> {
  await sql`
    insert into thread_choice (thread_key, person_id, agent_name)
    values (${choice.threadKey}, ${choice.personId}, ${choice.agentName})
    on conflict (thread_key, person_id) do update set agent_name = excluded.agent_name
  `.execute(tx);
}

export async function setQueueMode(db: Db | Tx, key: string, mode: QueueMode): Promise<void> {
  await sql`
    update thread set queue_mode = ${mode}, updated_at = clock_timestamp() where thread_key = ${key}
  `.execute(db);
}

/** The active session of a thread with an agent, created when there is none; two at once get the same one. */
export async function ensureSession(
  db: Db | Tx,
  options: { readonly threadKey: string; readonly agentName: string; readonly origin: Origin },
): Promise<Session> {
  const find = async (): Promise<SessionRow | undefined> =>
    (
      await sql<SessionRow>`
        select id, thread_key, agent_name, origin, state, created_at from session
        where thread_key = ${options.threadKey} and agent_name = ${options.agentName} and state = 'active'
      `.execute(db)
    ).rows[0];
  let row = await find();
  if (row === undefined) {
    await sql`
      insert into session (id, thread_key, agent_name, origin)
      values (${newId()}, ${options.threadKey}, ${options.agentName}, ${JSON.stringify(options.origin)}::jsonb)
      on conflict (thread_key, agent_name) where state = 'active' do nothing
    `.execute(db);
    row = await find();
  }
  if (row === undefined) throw new Error('the session that was just inserted is gone');
  return toSession(row);
}

/** Ends every active session of a thread; the next message starts anew. @returns their ids. */
export async function endSessions(tx: Tx, key: string): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    update session set state = 'ended', ended_at = clock_timestamp()
    where thread_key = ${key} and state = 'active' returning id
  `.execute(tx);
  return rows.map((row) => row.id);
}

/** Active sessions of a thread, newest first. */
export async function findActiveSessions(db: Db | Tx, key: string): Promise<Session[]> {
  const { rows } = await sql<SessionRow>`
    select id, thread_key, agent_name, origin, state, created_at from session
    where thread_key = ${key} and state = 'active' order by created_at desc
  `.execute(db);
  return rows.map(toSession);
}

/** Sessions whose ids lie between two, both included, by their ids; at most `rowsMax`. */
export async function findSessionsBetween(db: Db, from: string, to: string, rowsMax: number): Promise<Session[]> {
  const { rows } = await sql<SessionRow>`
    select id, thread_key, agent_name, origin, state, created_at from session
    where id between ${from} and ${to} order by id limit ${rowsMax}
  `.execute(db);
  return rows.map(toSession);
}

/** Whether a session has ended and has no turn left that could write an event. */
export async function isSessionOver(db: Db, id: string): Promise<boolean> {
  const { rows } = await sql<{ over: boolean }>`
    select state = 'ended' and not exists (
      select from turn where session_id = session.id and state in ('queued', 'running', 'waiting')
    ) as over
    from session where id = ${id}
  `.execute(db);
  return rows[0]?.over ?? true;
}

/** The sessions with the latest activity first. */
export async function listSessions(db: Db, rowsMax: number): Promise<SessionSummary[]> {
  const { rows } = await sql<{
    id: string;
    thread_key: string;
    agent_name: string;
    state: string;
    lane_state: string | null;
    queued: number;
    updated_at: Date;
  }>`
    select s.id, s.thread_key, s.agent_name, s.state, l.state as lane_state,
           (select count(*)::int from turn t where t.session_id = s.id and t.state = 'queued') as queued,
           coalesce((select max(t.created_at) from turn t where t.session_id = s.id), s.created_at) as updated_at
    from session s left join lane l on l.session_id = s.id
    order by updated_at desc limit ${rowsMax}
  `.execute(db);
  return rows.map((row) => ({
    id: row.id,
    threadKey: row.thread_key,
    agentName: row.agent_name,
    state: row.state,
    laneState: row.lane_state ?? 'idle',
    queuedTurns: row.queued,
    updatedAt: row.updated_at,
  }));
}

interface EventRow {
  seq: number;
  turn_id: string | null;
  kind: string;
  payload: unknown;
  created_at: Date;
}

/** The last `rowsMax` events of a session, oldest first. */
export async function readEvents(db: Db | Tx, sessionId: string, rowsMax: number): Promise<SessionEvent[]> {
  const { rows } = await sql<EventRow>`
    select seq, turn_id, kind, payload, created_at from event
    where session_id = ${sessionId} order by seq desc limit ${rowsMax}
  `.execute(db);
  return rows.reverse().map(toEvent);
}

/** The first `rowsMax` events of a session behind `seq`, oldest first. */
export async function readEventsAfter(
  db: Db,
  options: { readonly sessionId: string; readonly seq: number; readonly rowsMax: number },
): Promise<SessionEvent[]> {
  const { rows } = await sql<EventRow>`
    select seq, turn_id, kind, payload, created_at from event
    where session_id = ${options.sessionId} and seq > ${options.seq} order by seq limit ${options.rowsMax}
  `.execute(db);
  return rows.map(toEvent);
}

function toEvent(row: EventRow): SessionEvent {
  return {
    seq: row.seq,
    turnId: row.turn_id ?? undefined,
    kind: row.kind,
    payload: row.payload,
    createdAt: row.created_at,
  };
}

function toSession(row: SessionRow): Session {
  return {
    id: row.id,
    threadKey: row.thread_key,
    agentName: row.agent_name,
    origin: originSchema.parse(row.origin),
    state: row.state,
    createdAt: row.created_at,
  };
}
