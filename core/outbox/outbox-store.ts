import { sql } from 'kysely';
import type { Db, Tx } from '../kit/database.ts';
import type { Conversation } from '../sessions/origin.ts';
import { type Importance, type OutboundBody, outboundBodySchema } from './outbound.ts';

/** An outbox row leased for one delivery. */
export interface Delivery {
  readonly id: string;
  readonly key: string;
  readonly threadKey: string;
  readonly conversation: Conversation;
  readonly importance: Importance;
  readonly body: OutboundBody;
  readonly revision: number;
  /** Platform ids of the message as last delivered; undefined for one that was never sent. */
  readonly platformIds: readonly string[] | undefined;
  readonly attempts: number;
  /** Since the message was written first, in milliseconds. */
  readonly ageMs: number;
  readonly sessionId: string | undefined;
  readonly turnId: string | undefined;
}

interface DeliveryRow {
  id: string;
  key: string;
  thread_key: string;
  conversation: Conversation;
  importance: Importance;
  body: unknown;
  revision: number;
  platform_ids: string[] | null;
  attempts: number;
  age_ms: number;
  session_id: string | null;
  turn_id: string | null;
}

/**
 * Leases what is due, at most one message per thread: the head of each thread's order. Pacing lives in the query, so
 * that every worker shares it: a thread that was written to less than its interval ago is left alone.
 */
export async function claimDeliveries(
  db: Db,
  options: {
    readonly channel: string;
    readonly account: string;
    readonly owner: string;
    readonly rowsMax: number;
    /** Shortest time between two messages of one thread, by kind of conversation. */
    readonly intervalsMs: Readonly<Record<Conversation['kind'], number>>;
  },
): Promise<Delivery[]> {
  const prefix = `${options.channel}:${options.account}:`;
  const { rows } = await sql<DeliveryRow>`
    with head as (
      select distinct on (thread_key) id, thread_key, conversation, not_before from outbox
      where state = 'pending' and starts_with(thread_key, ${prefix})
      order by thread_key, created_at, id
    ), due as (
      select o.id from head h join outbox o on o.id = h.id
      where h.not_before <= clock_timestamp() and o.state = 'pending'
        and not exists (select 1 from outbox s where s.thread_key = h.thread_key and s.state = 'sending')
        and not exists (
          select 1 from outbox s where s.thread_key = h.thread_key and s.sent_at > clock_timestamp() - make_interval(
            secs => (case h.conversation ->> 'kind' when 'dm' then ${options.intervalsMs.dm}::float
                     when 'group' then ${options.intervalsMs.group} else ${options.intervalsMs.channel} end) / 1000))
      limit ${options.rowsMax}
      for update of o skip locked
    )
    update outbox o set state = 'sending', owner = ${options.owner}, sending_since = clock_timestamp(),
      attempts = o.attempts + 1
    from due where o.id = due.id
    returning o.id, o.key, o.thread_key, o.conversation, o.importance, o.body, o.revision, o.platform_ids, o.attempts,
              (extract(epoch from clock_timestamp() - o.created_at) * 1000)::float8 as age_ms, o.session_id, o.turn_id
  `.execute(db);
  const deliveries: Delivery[] = [];
  const unreadable: DeliveryResult[] = [];
  for (const row of rows) {
    const body = outboundBodySchema.safeParse(row.body);
    if (body.success) deliveries.push(toDelivery(row, body.data));
    else {
      const outcome = { state: 'dead', reason: `its body cannot be read: ${body.error.message}` } as const;
      unreadable.push({ id: row.id, revision: row.revision, outcome });
    }
  }
  // Set aside at once: one that is tried again and again would hold up everyone else.
  if (unreadable.length > 0) await recordDeliveries(db, options.owner, unreadable);
  return deliveries;
}

function toDelivery(row: DeliveryRow, body: OutboundBody): Delivery {
  return {
    id: row.id,
    key: row.key,
    threadKey: row.thread_key,
    conversation: row.conversation,
    importance: row.importance,
    body,
    revision: row.revision,
    platformIds: row.platform_ids ?? undefined,
    attempts: row.attempts,
    ageMs: row.age_ms,
    sessionId: row.session_id ?? undefined,
    turnId: row.turn_id ?? undefined,
  };
}

/**
 * Gives back what an owner leased and does not know of, because the answer to its claim got lost: never begun, so simply
 * due again.
 */
export async function releaseDeliveries(
  db: Db,
  options: {
    readonly channel: string;
    readonly account: string;
    readonly owner: string;
    readonly inFlight: readonly string[];
  },
): Promise<void> {
  await sql`
    update outbox set state = 'pending', owner = null, sending_since = null
    where state = 'sending' and owner = ${options.owner}
      and starts_with(thread_key, ${`${options.channel}:${options.account}:`})
      and id <> all (${[...options.inFlight]}::uuid[])
  `.execute(db);
}

/** Milliseconds until the next pending row of an account may be due; undefined when nothing is pending. */
export async function nextDueMs(db: Db, channel: string, account: string): Promise<number | undefined> {
  const { rows } = await sql<{ due_ms: number | null }>`
    select greatest(0, extract(epoch from min(not_before) - clock_timestamp()) * 1000)::int as due_ms
    from outbox where state = 'pending' and starts_with(thread_key, ${`${channel}:${account}:`})
  `.execute(db);
  return rows[0]?.due_ms ?? undefined;
}

/** What became of a delivery. */
export type DeliveryOutcome =
  | { readonly state: 'sent'; readonly platformIds: readonly string[] }
  | { readonly state: 'retry'; readonly afterMs: number; readonly reason: string; readonly forgetIds?: boolean }
  | { readonly state: 'unknown' | 'dead'; readonly reason: string };

export interface DeliveryResult {
  readonly id: string;
  /** The revision that was delivered; a newer one written meanwhile keeps the row pending. */
  readonly revision: number;
  readonly outcome: DeliveryOutcome;
}

/**
 * Records what became of leased deliveries, in one statement. Someone who was taken for dead and was not may still say
 * that a message of unknown outcome was sent.
 * @returns whether something else is pending in their threads now.
 */
export async function recordDeliveries(db: Db, owner: string, results: readonly DeliveryResult[]): Promise<boolean> {
  const items = results.map(({ id, revision, outcome }) => ({
    id,
    revision,
    state: outcome.state,
    ids: outcome.state === 'sent' ? outcome.platformIds : null,
    after_ms: outcome.state === 'retry' ? outcome.afterMs : 0,
    forget: outcome.state === 'retry' && outcome.forgetIds === true,
    reason: outcome.state === 'sent' ? null : outcome.reason.slice(0, 500),
  }));
  const { rows } = await sql<{ has_more: boolean }>`
    with recorded as (
    update outbox o set
      state = case
        when r.state = 'retry' then 'pending'
        when r.state = 'sent' and o.revision > r.revision then 'pending'
        else r.state end,
      platform_ids = case when r.state = 'sent' then array(select jsonb_array_elements_text(r.ids))
                          when r.forget then null else o.platform_ids end,
      sent_revision = case when r.state = 'sent' then r.revision else o.sent_revision end,
      sent_at = case when r.state = 'sent' then clock_timestamp() else o.sent_at end,
      not_before = clock_timestamp() + make_interval(secs => r.after_ms / 1000.0),
      last_error = r.reason, owner = null, sending_since = null
    from jsonb_to_recordset(${JSON.stringify(items)}::jsonb)
      as r(id uuid, revision int, state text, ids jsonb, after_ms int, forget boolean, reason text)
    where o.id = r.id
      and ((o.owner = ${owner} and o.state = 'sending') or (r.state = 'sent' and o.state = 'unknown'))
    returning o.thread_key, o.state
    )
    select exists (select 1 from recorded where state = 'pending')
        or exists (select 1 from outbox p join recorded d on d.thread_key = p.thread_key where p.state = 'pending')
      as has_more
  `.execute(db);
  return rows[0]?.has_more ?? false;
}

/** A delivery whose sender died: the platform may or may not have the message. */
export interface StrandedDelivery {
  readonly id: string;
  readonly key: string;
  readonly threadKey: string;
  readonly conversation: Conversation;
  readonly importance: Importance;
  readonly hasPlatformIds: boolean;
  readonly sessionId: string | undefined;
}

/**
 * Takes back deliveries whose owner has died; nobody is judged just after the database was away. An edit is simply due
 * again, because it says the same twice. A first post becomes `unknown` unless the platform recognises a repetition.
 * @returns those that became `unknown`.
 */
export async function reclaimDeliveries(
  db: Db | Tx,
  options: { readonly channel: string; readonly account: string; readonly isRepeatSafe: boolean },
): Promise<StrandedDelivery[]> {
  const { rows } = await sql<{
    id: string;
    key: string;
    thread_key: string;
    conversation: Conversation;
    importance: Importance;
    session_id: string | null;
    state: string;
  }>`
    update outbox o set owner = null, sending_since = null, last_error = 'the sender died while sending',
      state = case when o.platform_ids is not null or ${options.isRepeatSafe} then 'pending' else 'unknown' end
    where o.state = 'sending' and starts_with(o.thread_key, ${`${options.channel}:${options.account}:`})
      and not exists (
        select 1 from worker w where w.id = o.owner and w.beat_at > clock_timestamp() - interval '5 seconds')
      and pg_postmaster_start_time() < clock_timestamp() - interval '5 seconds'
    returning id, key, thread_key, conversation, importance, session_id, state
  `.execute(db);
  return rows
    .filter((row) => row.state === 'unknown')
    .map((row) => ({
      id: row.id,
      key: row.key,
      threadKey: row.thread_key,
      conversation: row.conversation,
      importance: row.importance,
      hasPlatformIds: false,
      sessionId: row.session_id ?? undefined,
    }));
}

/** Makes the unknown messages of a thread due again; only a person may ask for that. @returns how many. */
export async function resendUnknown(tx: Tx, threadKey: string): Promise<number> {
  const result = await sql`
    update outbox set state = 'pending', not_before = clock_timestamp()
    where thread_key = ${threadKey} and state = 'unknown'
  `.execute(tx);
  return Number(result.numAffectedRows ?? 0n);
}
