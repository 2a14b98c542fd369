import { sql } from 'kysely';
import type { Db } from '../kit/database.ts';
import { newId } from '../kit/ids.ts';
import { toWellFormed } from '../kit/json.ts';
import type { Origin } from '../sessions/origin.ts';
import { threadKey } from '../sessions/origin.ts';

/** A remembered fact with where it came from. */
export interface MemoryFact {
  readonly id: string;
  readonly text: string;
  readonly createdAt: Date;
}

/** Whose memory a piece of work may use: the person's in a private chat, the thread's own elsewhere. */
export function memoryScope(origin: Origin): string {
  return origin.kind === 'dm' && origin.personId !== undefined
    ? `person:${origin.personId}`
    : `thread:${threadKey(origin)}`;
}

/** Adds a fact; the same text again in one scope is recorded once. */
export async function saveFact(
  db: Db,
  fact: {
    readonly scope: string;
    readonly agentName: string;
    readonly text: string;
    readonly sessionId: string | undefined;
    readonly turnId: string | undefined;
    readonly createdBy: string | undefined;
  },
): Promise<void> {
  const text = toWellFormed(fact.text.trim());
  await sql`
    insert into memory_fact (id, scope, agent_name, text, session_id, turn_id, created_by)
    select ${newId()}, ${fact.scope}, ${fact.agentName}, ${text}, ${fact.sessionId ?? null}::uuid, ${fact.turnId ?? null}::uuid,
           ${fact.createdBy ?? null}
    where not exists (
      select 1 from memory_fact where scope = ${fact.scope} and text = ${text} and forgotten_at is null)
  `.execute(db);
}

/** Facts of a scope that share words with the query, best first; an empty query gives the newest. */
export async function searchFacts(
  db: Db,
  query: { readonly scope: string; readonly text: string; readonly rowsMax: number },
): Promise<MemoryFact[]> {
  const { rows } = await sql<{ id: string; text: string; created_at: Date }>`
    with wanted as (
      select to_tsquery('simple', coalesce(nullif(string_agg(quote_literal(lexeme) || ':*', ' | '), ''), '')) as q
      from unnest(to_tsvector('simple', ${toWellFormed(query.text)})) as w(lexeme)
    )
    select f.id, f.text, f.created_at from memory_fact f, wanted
    where f.scope = ${query.scope} and f.forgotten_at is null
      and (numnode(wanted.q) = 0 or f.words @@ wanted.q)
    order by ts_rank(f.words, wanted.q) desc, f.created_at desc
    limit ${query.rowsMax}
  `.execute(db);
  return rows.map((row) => ({ id: row.id, text: row.text, createdAt: row.created_at }));
}
