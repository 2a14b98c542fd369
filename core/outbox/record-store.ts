import { sql } from 'kysely';
import type { Db } from '../kit/database.ts';

/** What became of a delivery. */
export type DeliveryOutcome =
  | { readonly state: 'sent'; readonly platformIds: readonly string[]; readonly hash: string }
  | {
      readonly state: 'retry';
      readonly afterMs: number;
      readonly reason: string;
      /** Asked to wait, so that the try does not count as failed. */
      readonly isThrottled?: boolean;
      /** Nothing of the message is left: the next try posts it anew. */
      readonly forgetIds?: boolean;
      /** The platform may have it all the same. */
      readonly isUnsure?: boolean;
      /** Where the room is now. */
      readonly newRoom?: string;
    }
  | { readonly state: 'unknown' | 'dead'; readonly reason: string };

export interface DeliveryResult {
  readonly id: string;
  /** The revision that was delivered; a newer one written meanwhile keeps the row pending. */
  readonly revision: number;
  readonly outcome: DeliveryOutcome;
  /** Whose interval begins anew; undefined when the platform was not called. */
  readonly paceKey: string | undefined;
}

/** A message fails so often, for so long, before those behind it may overtake it. */
const overtakeTries = 5;
const overtakeSeconds = 120;
/** Overtaking needs proof that the platform works for others, unless it went on for this long. */
const overtakeAnywaySeconds = 600;

/**
 * Records what became of leased deliveries, in one statement. Someone who was taken for dead and was not may still say
 * that a message of unknown outcome was sent.
 * @returns whether something else may be due in their threads now.
 */
export async function recordDeliveries(db: Db, owner: string, results: readonly DeliveryResult[]): Promise<boolean> {
  const items = results.map(({ id, revision, outcome, paceKey }) => ({
    id,
    revision,
    state: outcome.state,
    ids: outcome.state === 'sent' ? outcome.platformIds : null,
    hash: outcome.state === 'sent' ? outcome.hash : null,
    after_ms: outcome.state === 'retry' ? outcome.afterMs : 0,
    throttled: outcome.state === 'retry' && outcome.isThrottled === true,
    forget: outcome.state === 'retry' && outcome.forgetIds === true,
    unsure: outcome.state === 'retry' && outcome.isUnsure === true,
    room: outcome.state === 'retry' ? (outcome.newRoom ?? null) : null,
    reason: outcome.state === 'sent' ? null : outcome.reason.slice(0, 500),
    pace_key: paceKey ?? null,
  }));
  const json = JSON.stringify(items);
  const { rows } = await sql<{ has_more: boolean }>`
    with result as (
      select * from jsonb_to_recordset(${json}::jsonb) as r(id uuid, revision int, state text, ids jsonb, hash text,
        after_ms float8, throttled boolean, forget boolean, unsure boolean, room text, reason text, pace_key text)
    ), recorded as (
    update outbox o set
      state = case
        when r.state = 'retry' then 'pending'
        when r.state = 'sent' and o.revision > r.revision then 'pending'
        else r.state end,
      platform_ids = case when r.state = 'sent' then array(select jsonb_array_elements_text(r.ids))
                          when r.forget then null else o.platform_ids end,
      posted_ids = case when r.state = 'sent' or r.forget then '{}' else o.posted_ids end,
      posted_revision = case when r.state = 'sent' or r.forget then null else o.posted_revision end,
      sent_hash = case when r.state = 'sent' then r.hash when r.forget then null else o.sent_hash end,
      sent_revision = case when r.state = 'sent' then r.revision else o.sent_revision end,
      sent_at = case when r.state = 'sent' then clock_timestamp() else o.sent_at end,
      unsure_since = case when r.state = 'sent' or r.forget then null
                          when r.unsure then coalesce(o.unsure_since, clock_timestamp()) else o.unsure_since end,
      attempts = case when r.state = 'sent' then 0 when r.throttled then o.attempts - 1 else o.attempts end,
      first_failed_at = case when r.state = 'sent' then null when r.state = 'retry' and not r.throttled
                        then coalesce(o.first_failed_at, clock_timestamp()) else o.first_failed_at end,
      may_be_overtaken = r.state = 'retry' and o.attempts >= ${overtakeTries}
        and o.first_failed_at < clock_timestamp() - make_interval(secs => ${overtakeSeconds})
        and (o.first_failed_at < clock_timestamp() - make_interval(secs => ${overtakeAnywaySeconds}) or exists (
          select 1 from delivery_pace p where p.pace_key = o.account_key
            and p.accepted_at > clock_timestamp() - make_interval(secs => ${overtakeSeconds}))),
      conversation = case when r.room is null then o.conversation
                          else jsonb_set(o.conversation, '{room}', to_jsonb(r.room)) end,
      thread_key = case when r.room is null then o.thread_key
        else concat_ws(':', o.account_key, r.room, coalesce(o.conversation ->> 'thread', '-')) end,
      not_before = clock_timestamp() + make_interval(secs => r.after_ms / 1000),
      last_error = r.reason, owner = null, sending_since = null
    from result r
    where o.id = r.id
      and ((o.owner = ${owner} and o.state = 'sending') or (r.state = 'sent' and o.state = 'unknown'))
    returning o.thread_key, o.account_key, o.state, r.state = 'sent' as is_accepted
    ), paced as (
      -- From the end of the call: intervals that begin with it could come out shorter at the platform.
      insert into delivery_pace (pace_key, last_at)
      select distinct r.pace_key, clock_timestamp() from result r where r.pace_key is not null order by 1
      on conflict (pace_key) do update set last_at = excluded.last_at
    )
    select exists (select 1 from recorded where state = 'pending')
        or exists (select 1 from outbox p join recorded d on d.thread_key = p.thread_key where p.state = 'pending')
      as has_more
  `.execute(db);
  return rows[0]?.has_more ?? false;
}

/** Remembers a platform message of a post or edit that is still under way. */
export async function recordPosted(
  db: Db,
  owner: string,
  posted: readonly { readonly id: string; readonly revision: number; readonly platformId: string }[],
): Promise<void> {
  await sql`
    update outbox o set posted_ids = o.posted_ids || p.ids, posted_revision = p.revision
    from (
      select i.id, max(i.revision) as revision, array_agg(i."platformId" order by i.ord) as ids
      from (
        select r.*, e.ord from jsonb_array_elements(${JSON.stringify(posted)}::jsonb) with ordinality e (item, ord),
          jsonb_to_record(e.item) as r(id uuid, revision int, "platformId" text)
      ) i group by i.id
    ) p
    where o.id = p.id and o.owner = ${owner} and o.state = 'sending'
  `.execute(db);
}

/** Remembers that the platform takes what an account sends. */
export async function recordAccepted(db: Db, accountKey: string): Promise<void> {
  await sql`
    insert into delivery_pace (pace_key, accepted_at) values (${accountKey}, clock_timestamp())
    on conflict (pace_key) do update set accepted_at = excluded.accepted_at
  `.execute(db);
}
