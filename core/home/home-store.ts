import { sql } from 'kysely';
import type { Db, Tx } from '../kit/database.ts';

/** A turn that has not ended, wherever it was asked for. */
export interface OpenWork {
  readonly agentName: string;
  readonly state: 'queued' | 'running' | 'waiting';
  readonly waitingFor: string | undefined;
  /** The channel it was asked on. */
  readonly channel: string;
  readonly text: string;
  readonly forMs: number;
}

/** Work that has not ended, what runs first, then the oldest; with `personId` only what that person asked for. */
export async function selectOpenWork(
  db: Db | Tx,
  options: { readonly personId?: string; readonly rowsMax: number },
): Promise<OpenWork[]> {
  const { rows } = await sql<{
    agent_name: string;
    state: OpenWork['state'];
    waiting_for: string | null;
    channel: string;
    text: string | null;
    for_ms: number;
  }>`
    select t.agent_name, t.state, t.waiting_for, t.origin ->> 'channel' as channel, left(t.payload ->> 'text', 200) as text,
      least(extract(epoch from clock_timestamp() - coalesce(t.started_at, t.created_at)) * 1000, 2147483647)::int as for_ms
    from turn t
    where t.state in ('queued', 'running', 'waiting')
      and (${options.personId ?? null}::text is null or t.origin ->> 'personId' = ${options.personId ?? null})
    order by array_position(array['running', 'waiting', 'queued'], t.state), t.created_at
    limit ${options.rowsMax}
  `.execute(db);
  return rows.map((row) => ({
    agentName: row.agent_name,
    state: row.state,
    waitingFor: row.waiting_for ?? undefined,
    channel: row.channel,
    text: row.text ?? '',
    forMs: row.for_ms,
  }));
}
