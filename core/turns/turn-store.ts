import { sql } from 'kysely';
import type { Db, Tx } from '../kit/database.ts';

/** What is going on in a thread right now. */
export interface ThreadWork {
  readonly agentName: string;
  readonly state: 'queued' | 'running' | 'waiting';
  readonly waitingFor: string | undefined;
  readonly text: string;
  readonly forMs: number;
}

/** The turns of a thread that have not ended, in lane order. */
export async function selectThreadWork(db: Db | Tx, threadKey: string): Promise<ThreadWork[]> {
  const { rows } = await sql<{
    agent_name: string;
    state: ThreadWork['state'];
    waiting_for: string | null;
    text: string;
    for_ms: number;
  }>`
    select t.agent_name, t.state, t.waiting_for, t.payload ->> 'text' as text,
           (extract(epoch from clock_timestamp() - coalesce(t.started_at, t.created_at)) * 1000)::int as for_ms
    from turn t join session s on s.id = t.session_id
    where s.thread_key = ${threadKey} and t.state in ('queued', 'running', 'waiting')
    order by t.session_id, t.seq
  `.execute(db);
  return rows.map((row) => ({
    agentName: row.agent_name,
    state: row.state,
    waitingFor: row.waiting_for ?? undefined,
    text: row.text,
    forMs: row.for_ms,
  }));
}

/**
 * Whose messages a turn works on: its own, those taken into it, and those that led an agent to write them; undefined
 * for one of nobody.
 */
export async function selectPeopleOfTurn(db: Db | Tx, turnId: string): Promise<(string | undefined)[]> {
  const { rows } = await sql<{ person_id: string | null }>`
    with own as (select session_id, seq, origin, payload from turn where id = ${turnId}),
    said as (
      select origin, payload from own
      union all
      select t.origin, t.payload from turn t join own on t.session_id = own.session_id and t.into_seq = own.seq
      where t.state = 'absorbed'
    )
    select origin ->> 'personId' as person_id from said
    union
    select who from said, jsonb_array_elements_text(payload #> '{handOff,people}') who
  `.execute(db);
  return rows.map((row) => row.person_id ?? undefined);
}

/** How often the message of a turn went from agent to agent; 0 for one of a person. */
export async function selectHopsOfTurn(db: Db | Tx, turnId: string): Promise<number> {
  const { rows } = await sql<{ hops: number }>`
    select coalesce((payload #>> '{handOff,hops}')::int, 0) as hops from turn where id = ${turnId}
  `.execute(db);
  return rows[0]?.hops ?? 0;
}
