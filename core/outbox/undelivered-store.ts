import { sql } from 'kysely';
import { z } from 'zod';
import type { Db, Tx } from '../kit/database.ts';
import type { Undelivered } from './undelivered-message.ts';

const rowsMax = 200;
/** Of one message's text; enough to recognise it. */
const textMax = 300;

const rowSchema = z.object({
  id: z.string(),
  thread_key: z.string(),
  importance: z.string(),
  state: z.enum(['unknown', 'dead', 'pending']),
  last_error: z.string().nullable(),
  attempts: z.number(),
  created_at: z.date(),
  text: z.string(),
});

/**
 * Messages that an operator should know of: lost or possibly lost, given up, and those that fail for so long that others
 * overtake them. Newest first.
 */
export async function readUndelivered(db: Db): Promise<Undelivered[]> {
  const { rows } = await sql`
    select id, thread_key, importance, state, last_error, attempts, created_at, left(coalesce((
      select string_agg(coalesce(part ->> 'markdown', part ->> 'text', part ->> 'title', part ->> 'name'), ' ')
      from jsonb_array_elements(case when jsonb_typeof(body -> 'parts') = 'array' then body -> 'parts' else '[]' end) part
    ), ''), ${textMax}) as text
    from outbox
    where (state in ('unknown', 'dead') and dismissed_at is null) or (state = 'pending' and may_be_overtaken)
    order by created_at desc limit ${rowsMax}
  `.execute(db);
  return rows.map((given) => {
    const row = rowSchema.parse(given);
    return {
      id: row.id,
      threadKey: row.thread_key,
      importance: row.importance,
      state: row.state === 'pending' ? 'failing' : row.state,
      reason: row.last_error ?? '',
      attempts: row.attempts,
      createdAt: row.created_at,
      text: row.text,
    };
  });
}

/** Makes one undelivered message due again. @returns false when there is none of this id. */
export async function markDueAgain(db: Db | Tx, id: string): Promise<boolean> {
  const { rows } = await sql<{ account_key: string }>`
    update outbox set state = 'pending', not_before = clock_timestamp(), attempts = 0, first_failed_at = null,
      may_be_overtaken = false, expires_at = null, dismissed_at = null, unsure_since = null, is_final = true
    where id = ${id} and (state in ('unknown', 'dead') or (state = 'pending' and may_be_overtaken))
    returning account_key
  `.execute(db);
  const [row] = rows;
  if (row === undefined) return false;
  await sql`select pg_notify('outbox', ${row.account_key})`.execute(db);
  return true;
}

/** Ends one undelivered message for good. @returns false when there is none of this id. */
export async function markDismissed(db: Db | Tx, id: string): Promise<boolean> {
  const result = await sql`
    update outbox set state = case when state = 'pending' then 'dead' else state end, dismissed_at = clock_timestamp()
    where id = ${id} and dismissed_at is null
      and (state in ('unknown', 'dead') or (state = 'pending' and may_be_overtaken))
  `.execute(db);
  return result.numAffectedRows === 1n;
}

/** Makes the unknown messages of a thread due again; only a person may ask for that. @returns how many. */
export async function resendUnknown(tx: Tx, threadKey: string): Promise<number> {
  const result = await sql`
    update outbox set state = 'pending', not_before = clock_timestamp(), unsure_since = null
    where thread_key = ${threadKey} and state = 'unknown'
  `.execute(tx);
  return Number(result.numAffectedRows ?? 0n);
}
