import { sql } from 'kysely';
import { z } from 'zod';
import type { Db, Tx } from '../kit/database.ts';
import { newId } from '../kit/ids.ts';
import { toStorableJson, toWellFormed } from '../kit/json.ts';

/** A stored platform event that waits to be routed. */
export interface InboxRow {
  readonly id: string;
  readonly channel: string;
  readonly account: string;
  readonly dedupKey: string;
  readonly raw: unknown;
  readonly attempts: number;
}

const storedSchema = z.object({ id: z.string(), dedup_key: z.string() });

interface RawEvent {
  readonly dedupKey: string;
  readonly raw: unknown;
}

/**
 * Stores raw events; a key that is already there is left alone. Returns the rows that are new, in their given order.
 * Hostile input must not block the events behind it: NUL and lone surrogates, which jsonb refuses, are replaced, and of
 * an event that cannot be stored at all (nested too deep, too long) only the reason is kept.
 */
export async function insertRawEvents(
  db: Db,
  source: { readonly channel: string; readonly account: string },
  events: readonly RawEvent[],
): Promise<InboxRow[]> {
  if (events.length === 0) return [];
  try {
    return await insertBatch(db, source, events);
  } catch (err) {
    if (!isUnstorable(err)) throw err;
    const [first, ...others] = events;
    if (first === undefined) return [];
    if (others.length === 0) {
      return await insertBatch(db, source, [{ dedupKey: first.dedupKey, raw: { unstorable: String(err) } }]);
    }
    const rows: InboxRow[] = [];
    for (const event of events) rows.push(...(await insertRawEvents(db, source, [event])));
    return rows;
  }
}

async function insertBatch(
  db: Db,
  source: { readonly channel: string; readonly account: string },
  events: readonly RawEvent[],
): Promise<InboxRow[]> {
  const items = events.map((event) => {
    const text = toStorableJson(event.raw);
    return { id: newId(), key: toWellFormed(event.dedupKey), text, raw: JSON.parse(text) as unknown };
  });
  // Put together as text: events are large, and each was written as JSON once already.
  const json = items.map(({ id, key, text }) => `{"id":"${id}","key":${JSON.stringify(key)},"raw":${text}}`).join();
  const { rows } = await sql`
    insert into inbox (id, channel, account, dedup_key, raw)
    select (item ->> 'id')::uuid, ${source.channel}, ${source.account}, item ->> 'key', item -> 'raw'
    from jsonb_array_elements(${`[${json}]`}::jsonb) item
    on conflict (channel, account, dedup_key) do nothing
    returning id::text, dedup_key
  `.execute(db);
  const stored = new Set(rows.map((row) => storedSchema.parse(row).id));
  return items
    .filter((item) => stored.has(item.id))
    .map((item) => ({ id: item.id, ...source, dedupKey: item.key, raw: item.raw, attempts: 0 }));
}

/** Whether an event itself is at fault: our serialiser ran out of stack, or Postgres refused data or its size. */
function isUnstorable(err: unknown): boolean {
  if (err instanceof RangeError) return true;
  const code = err instanceof Error && 'code' in err ? err.code : undefined;
  return typeof code === 'string' && /^(22|54)/.test(code);
}

/**
 * Events nobody routed: left by a crash between the commit and the routing, or failed before. Oldest first; `afterId`
 * goes on behind a page.
 */
export async function findPendingEvents(
  db: Db,
  source: { readonly channel: string; readonly account: string },
  options: {
    readonly olderThanMs: number;
    readonly attemptsMax: number;
    readonly rowsMax: number;
    readonly afterId?: string;
  },
): Promise<InboxRow[]> {
  const { rows } = await sql<{
    id: string;
    channel: string;
    account: string;
    dedup_key: string;
    raw: unknown;
    attempts: number;
  }>`
    select id, channel, account, dedup_key, raw, attempts from inbox
    where state = 'pending' and channel = ${source.channel} and account = ${source.account}
      and received_at < clock_timestamp() - make_interval(secs => ${options.olderThanMs / 1000})
      and attempts < ${options.attemptsMax}
      and (${options.afterId ?? null}::uuid is null or id > ${options.afterId ?? null}::uuid)
    order by id limit ${options.rowsMax}
  `.execute(db);
  return rows.map((row) => ({
    id: row.id,
    channel: row.channel,
    account: row.account,
    dedupKey: row.dedup_key,
    raw: row.raw,
    attempts: row.attempts,
  }));
}

/**
 * Ends an event's way, once: `routed` when it had an effect, `ignored` when it was not for us.
 * @returns false when it had ended before; in a transaction that acts on the event, nothing may follow then.
 */
export async function markEvent(db: Db | Tx, id: string, state: 'routed' | 'ignored'): Promise<boolean> {
  const result = await sql`
    update inbox set state = ${state}, routed_at = clock_timestamp() where id = ${id} and state = 'pending'
  `.execute(db);
  return result.numAffectedRows === 1n;
}

/** Ends events that are not for us, in one statement. */
export async function markIgnored(db: Db, ids: readonly string[]): Promise<void> {
  await sql`
    update inbox set state = 'ignored', routed_at = clock_timestamp()
    where id = any (${[...ids]}::uuid[]) and state = 'pending'
  `.execute(db);
}

/**
 * Counts a failed try; the last one allowed makes the event `failed`, for an operator to look at.
 * @returns false when there is nothing more to try: given up, or ended by someone else.
 */
export async function markAttemptFailed(db: Db, id: string, error: string, attemptsMax: number): Promise<boolean> {
  const { rows } = await sql<{ state: string }>`
    update inbox set attempts = attempts + 1, error = ${toWellFormed(error).slice(0, 500)},
      state = case when attempts + 1 >= ${attemptsMax} then 'failed' else state end
    where id = ${id} and state = 'pending' returning state
  `.execute(db);
  return rows[0]?.state === 'pending';
}

/** Forgets what an event said and keeps that it was there. */
export async function forgetRaw(tx: Db | Tx, id: string): Promise<void> {
  await sql`update inbox set raw = '{"withheld": true}'::jsonb where id = ${id}`.execute(tx);
}
