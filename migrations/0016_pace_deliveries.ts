import { type Kysely, sql } from 'kysely';

/**
 * Pace, pauses and call budgets shared by every worker; what is known of a message that was delivered in parts, late, or
 * not at all.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql.raw(tables).execute(db);
  await sql.raw(budgets).execute(db);
  await sql.raw(put).execute(db);
  await sql.raw(claim).execute(db);
}

const tables = /* sql */ `
  alter table outbox
    add column account_key text not null
      generated always as ((conversation ->> 'channel') || ':' || (conversation ->> 'account')) stored,
    add column room_key text not null
      generated always as ((conversation ->> 'channel') || ':' || (conversation ->> 'account') || ':' || (conversation ->> 'room')) stored,
    -- When what it says was said last.
    add column revised_at timestamptz not null default clock_timestamp(),
    -- Platform messages of a post that has not ended yet, and the revision they show.
    add column posted_ids text[] not null default '{}',
    add column posted_revision integer,
    -- Of the body as last delivered: the same again costs no call.
    add column sent_hash text,
    -- Since when the platform may have it without our knowing.
    add column unsure_since timestamptz,
    add column first_failed_at timestamptz,
    -- It fails again and again while others do not: those behind it in its thread need not wait any more.
    add column may_be_overtaken boolean not null default false,
    -- An operator has seen that it did not arrive and wants to hear no more of it.
    add column dismissed_at timestamptz;
  create index outbox_due on outbox (account_key, not_before) where state = 'pending';
  create index outbox_sending on outbox (account_key) where state = 'sending';
  create index outbox_undelivered on outbox (created_at) where state in ('unknown', 'dead') and dismissed_at is null;
  create index outbox_previews on outbox (turn_id) where not is_final and state = 'sent';

  -- One row per account, per room and per thread that was written to of late.
  create table delivery_pace (
    pace_key text primary key,
    last_at timestamptz,
    paused_until timestamptz,
    -- Multiplies the interval; doubled by every refusal, back to 1 within five minutes.
    slowdown real not null default 1,
    slowed_at timestamptz,
    -- Of an account: when the platform took something last.
    accepted_at timestamptz
  ) with (fillfactor = 70);

  -- When the calls of one kind were made by an account, as far back as they count.
  create table delivery_budget (
    budget_key text primary key,
    called_at timestamptz[] not null
  ) with (fillfactor = 70);
`;

const budgets = /* sql */ `
  -- Calls left in a window that ends now; the row is locked until the end of the transaction. The window is taken a
  -- little longer than the platform's, because calls arrive there later than they are counted here.
  create function delivery_budget_left(p_key text, p_count integer, p_per_ms double precision)
  returns integer language plpgsql as $$
  declare v_called integer;
  begin
    insert into delivery_budget (budget_key, called_at) values (p_key, '{}')
      on conflict (budget_key) do update set called_at = array(
        select t from unnest(delivery_budget.called_at) t
        where t > clock_timestamp() - make_interval(secs => p_per_ms * 1.02 / 1000))
      returning cardinality(called_at) into v_called;
    return greatest(0, p_count - v_called);
  end $$;

  -- Takes up to p_wanted calls of what is left beyond p_kept. Returns how many were granted.
  create function delivery_budget_grant(p_key text, p_count integer, p_per_ms double precision, p_wanted integer,
    p_kept integer) returns integer language plpgsql as $$
  declare v_granted integer := greatest(0, least(p_wanted, delivery_budget_left(p_key, p_count, p_per_ms) - p_kept));
  begin
    perform delivery_budget_take(p_key, v_granted);
    return v_granted;
  end $$;

  -- Counts calls that are about to be made.
  create function delivery_budget_take(p_key text, p_calls integer) returns void language sql as $$
    update delivery_budget set called_at = called_at || array_fill(clock_timestamp(), array[p_calls])
    where budget_key = p_key and p_calls > 0
  $$;

  -- How much longer than usual an interval is at present.
  create function delivery_slowdown(p_slowdown real, p_slowed_at timestamptz) returns double precision language sql stable as $$
    select case when p_slowed_at is null then 1
      else greatest(1, p_slowdown * (1 - extract(epoch from clock_timestamp() - p_slowed_at) / 300)) end
  $$;
`;

const put = /* sql */ `
  -- As before, and notes when a message was revised. A message that was dismissed and is said anew counts again.
  create or replace function outbox_put(items jsonb) returns void language plpgsql as $$
  declare changed integer;
  begin
    insert into outbox (id, key, session_id, turn_id, conversation, thread_key, importance, body, is_final, expires_at)
    select i.id, i.key, i."sessionId", i."turnId", i.conversation, i."threadKey", i.importance, i.body,
           coalesce(i."isFinal", true), i."expiresAt"
    from (
      select distinct on (e.item ->> 'key') r.*, e.ord
      from jsonb_array_elements(items) with ordinality e (item, ord),
        jsonb_to_record(e.item) as r(id uuid, key text, "sessionId" uuid, "turnId" uuid, conversation jsonb,
          "threadKey" text, importance text, body jsonb, "isFinal" boolean, "expiresAt" timestamptz)
      order by e.item ->> 'key', e.ord desc
    ) i order by i.ord
    on conflict (key) do update set
      body = excluded.body, is_final = excluded.is_final, importance = excluded.importance,
      expires_at = excluded.expires_at, revision = outbox.revision + 1, revised_at = clock_timestamp(),
      -- What is newly said has its own tries.
      attempts = case when outbox.state = 'sending' then outbox.attempts else 0 end,
      first_failed_at = case when outbox.state = 'sending' then outbox.first_failed_at end,
      dismissed_at = null,
      -- A preview that was given up does not take the words with it that it stood for.
      state = case when outbox.state = 'sending' or (outbox.state = 'dead' and (outbox.is_final or not excluded.is_final))
                   then outbox.state else 'pending' end,
      may_be_overtaken = false
    -- A preview never takes the place of the words that ended it, however late it comes.
    where (outbox.body is distinct from excluded.body or outbox.is_final is distinct from excluded.is_final)
      and (excluded.is_final or not outbox.is_final);
    get diagnostics changed = row_count;
    if changed > 0 then
      -- One bell per account, so that only its deliverers look.
      perform pg_notify('outbox', k.account) from (
        select distinct (item -> 'conversation' ->> 'channel') || ':' || (item -> 'conversation' ->> 'account') as account
        from jsonb_array_elements(items) item) k;
    end if;
  end $$;
`;

/*
 * What is due, and in which order. `rules`: {kinds: {<kind>: {sendMs, editMs, perRoom}}, budgets: {<kind>: {count, perMs}}}.
 *
 * First posts of a thread keep their order, but final words do not wait for a preview that nobody has seen; edits change what already stands there and need none. Of one pace (a room or
 * a thread) at most one message is due at a time, final words before previews.
 */
const claim = /* sql */ `
  create function outbox_candidates(p_account_key text, p_rules jsonb)
  returns table (id uuid, pace_key text, is_edit boolean, rank integer, created_at timestamptz, due_at timestamptz)
  language sql stable as $$
    with rule as (
      select k.key as kind, (k.value ->> 'sendMs')::double precision as send_ms,
        (k.value ->> 'editMs')::double precision as edit_ms, (k.value ->> 'perRoom')::boolean as per_room
      from jsonb_each(p_rules -> 'kinds') k
    ), pending as (
      select o.id, o.thread_key, o.created_at, o.not_before, o.platform_ids is not null as is_edit, o.is_final,
        case when r.per_room then o.room_key else o.thread_key end as pace_key,
        -- A preview of what stands there already waits its turn; final words wait only as long as a post must.
        case when o.platform_ids is not null and not o.is_final then r.edit_ms else r.send_ms end as interval_ms,
        case when not o.is_final then case when o.platform_ids is null then 2 else 3 end
             when o.importance = 'progress' then 3 when o.importance = 'digest' then 1 else 0 end as rank
      from outbox o join rule r on r.kind = o.conversation ->> 'kind'
      where o.account_key = p_account_key and o.state = 'pending'
        and (o.platform_ids is not null or not exists (
          select 1 from outbox e where e.thread_key = o.thread_key and e.state = 'pending' and e.platform_ids is null
            and not e.may_be_overtaken and (e.is_final or not o.is_final) and (e.created_at, e.id) < (o.created_at, o.id)))
        and not exists (select 1 from outbox s where s.thread_key = o.thread_key and s.state = 'sending')
    )
    select n.id, n.pace_key, n.is_edit, n.rank, n.created_at, greatest(n.not_before, p.paused_until,
      p.last_at + make_interval(secs => case
        when delivery_slowdown(p.slowdown, p.slowed_at) > 1
          -- A room that is not paced at all would otherwise be slowed down to nothing.
          then greatest(n.interval_ms, 500) * delivery_slowdown(p.slowdown, p.slowed_at)
        else n.interval_ms end / 1000))
    from pending n left join delivery_pace p on p.pace_key = n.pace_key
  $$;

  create function outbox_claim(p_account_key text, p_owner uuid, p_rows_max integer, p_rules jsonb)
  returns setof outbox language plpgsql as $$
  declare
    v_ids uuid[];
    v_edits integer;
    v_posts integer;
    v_budgets jsonb := coalesce(p_rules -> 'budgets', '{}');
    v_any integer;
    v_send integer;
    v_edit integer;
  begin
    insert into delivery_pace (pace_key) values (p_account_key) on conflict do nothing;
    -- One claim of an account at a time: what two find due together would count once against the pace.
    perform 1 from delivery_pace where pace_key = p_account_key
      and (paused_until is null or paused_until <= clock_timestamp()) for update;
    if not found then return; end if;
    -- Switched off by a person: it stays where it is.
    if exists (select 1 from channel_account a where a.channel || ':' || a.account = p_account_key and not a.is_enabled) then
      return;
    end if;
    v_any := case when v_budgets ? 'any' then delivery_budget_left(p_account_key || ':any',
      (v_budgets -> 'any' ->> 'count')::integer, (v_budgets -> 'any' ->> 'perMs')::double precision) else p_rows_max end;
    v_send := case when v_budgets ? 'send' then delivery_budget_left(p_account_key || ':send',
      (v_budgets -> 'send' ->> 'count')::integer, (v_budgets -> 'send' ->> 'perMs')::double precision) else p_rows_max end;
    v_edit := case when v_budgets ? 'edit' then delivery_budget_left(p_account_key || ':edit',
      (v_budgets -> 'edit' ->> 'count')::integer, (v_budgets -> 'edit' ->> 'perMs')::double precision) else p_rows_max end;

    with due as (
      select distinct on (c.pace_key) c.* from outbox_candidates(p_account_key, p_rules) c
      where c.due_at is null or c.due_at <= clock_timestamp()
      order by c.pace_key, c.rank, c.created_at, c.id
    ), counted as (
      select d.*, row_number() over (partition by d.is_edit order by d.rank, d.created_at, d.id) as nth,
        row_number() over (order by d.rank, d.created_at, d.id) as nth_any
      from due d
    ), chosen as (
      select o.id from counted c join outbox o on o.id = c.id
      -- Half of what is counted over a long time is kept for final words: a preview is worth less than an answer.
      where c.nth <= case when c.is_edit then v_edit else v_send end
          - case when c.rank >= 2 then coalesce((v_budgets -> (case when c.is_edit then 'edit' else 'send' end) ->> 'count')::integer, 0) / 2
            else 0 end
        -- Previews of what stands there leave room for what comes new: its first words must not wait for theirs.
        and (c.rank < 3 or c.nth_any <= v_any - coalesce((v_budgets -> 'any' ->> 'count')::integer, 0) * 2 / 5)
        and o.state = 'pending'
      order by c.rank, c.created_at, c.id
      limit least(p_rows_max, v_any)
      for update of o skip locked
    ), leased as (
      update outbox o set state = 'sending', owner = p_owner, sending_since = clock_timestamp(), attempts = o.attempts + 1
      from chosen c where o.id = c.id
      returning o.id, o.platform_ids is not null as is_edit
    )
    select array_agg(l.id), count(*) filter (where l.is_edit), count(*) filter (where not l.is_edit)
      into v_ids, v_edits, v_posts from leased l;
    if v_ids is null then return; end if;

    insert into delivery_pace as p (pace_key, last_at)
      select distinct case when (p_rules -> 'kinds' -> (o.conversation ->> 'kind') ->> 'perRoom')::boolean
        then o.room_key else o.thread_key end as key, clock_timestamp()
      from outbox o where o.id = any (v_ids) order by key
      on conflict (pace_key) do update set last_at = excluded.last_at;
    perform delivery_budget_take(p_account_key || ':any', v_edits + v_posts) where v_budgets ? 'any';
    perform delivery_budget_take(p_account_key || ':send', v_posts) where v_budgets ? 'send';
    perform delivery_budget_take(p_account_key || ':edit', v_edits) where v_budgets ? 'edit';
    return query select o.* from outbox o where o.id = any (v_ids);
  end $$;
`;
