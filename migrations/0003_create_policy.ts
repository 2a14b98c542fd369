import { type Kysely, sql } from 'kysely';

/** Approvals, remembered grants, budgets with their ledger, and the hash-chained audit. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await createApprovals(db);
  await createBudgets(db);
  await createBudgetFunctions(db);
  await createAudit(db);
}

async function createApprovals(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table approval (
      id uuid primary key,
      session_id uuid not null references session (id),
      -- No foreign key: a finished turn may be pruned before the record of who approved what.
      turn_id uuid not null,
      call_id text not null,
      agent_name text not null,
      kind text not null check (kind in ('tool')),
      action jsonb not null,
      action_digest text not null check (action_digest ~ '^[0-9a-f]{64}$'),
      summary text not null,
      risk text not null check (risk in ('low', 'medium', 'high')),
      cost_micros bigint check (cost_micros >= 0),
      requester_id uuid references person (id),
      -- A list of lists: the one who decides must satisfy one rule of every inner list.
      approvers jsonb not null check (jsonb_typeof(approvers) = 'array' and jsonb_array_length(approvers) > 0),
      requester_may_approve boolean not null,
      conversation jsonb not null,
      state text not null default 'pending' check (state in ('pending', 'approved', 'denied', 'expired', 'cancelled')),
      created_at timestamptz not null default clock_timestamp(),
      expires_at timestamptz not null,
      decided_at timestamptz,
      decided_by uuid references person (id),
      reason text,
      consumed_at timestamptz,
      check (expires_at > created_at),
      check ((state = 'pending') = (decided_at is null)),
      check ((state in ('approved', 'denied')) = (decided_by is not null)),
      check (consumed_at is null or state = 'approved')
    );
    create unique index approval_one_pending on approval (turn_id, call_id) where state = 'pending';
    create index approval_due on approval (expires_at) where state = 'pending';
    create index approval_by_session on approval (session_id, created_at);
    create index approval_by_turn on approval (turn_id);

    create function approval_guard() returns trigger language plpgsql as $$
    begin
      if old.state <> 'pending' and new.state <> old.state then
        raise exception 'approval % is % and stays so', old.id, old.state using errcode = 'check_violation';
      end if;
      if new.action <> old.action or new.action_digest <> old.action_digest then
        raise exception 'the action of approval % cannot change', old.id using errcode = 'check_violation';
      end if;
      return new;
    end $$;
    create trigger approval_guard before update on approval for each row execute function approval_guard();

    create table approval_verdict (
      id uuid primary key,
      approval_id uuid not null references approval (id),
      person_id uuid not null references person (id),
      verdict text not null check (verdict in ('approve', 'deny')),
      remembered text not null check (remembered in ('once', 'session', 'agent')),
      reason text,
      via text not null,
      created_at timestamptz not null default clock_timestamp(),
      unique (approval_id, person_id),
      check (verdict = 'approve' or remembered = 'once')
    );

    create table action_token (
      token_hash text primary key,
      approval_id uuid not null references approval (id) on delete cascade,
      decision text not null check (decision in ('approve', 'deny', 'always_session', 'always_agent')),
      thread_key text not null,
      unique (approval_id, decision)
    );

    create table grant_rule (
      id uuid primary key,
      effect text not null check (effect in ('allow')),
      subject_kind text not null check (subject_kind in ('agent', 'session')),
      subject text not null,
      action text not null,
      resource text not null,
      working_directory text,
      created_by uuid not null references person (id),
      approval_id uuid references approval (id),
      created_at timestamptz not null default clock_timestamp(),
      revoked_at timestamptz,
      revoked_by uuid references person (id),
      check ((revoked_at is null) = (revoked_by is null))
    );
    -- Hashed, because a command line may be longer than an index entry.
    create unique index grant_rule_live on grant_rule
      (subject_kind, subject, action, md5(resource), coalesce(working_directory, '')) where revoked_at is null;
  `.execute(db);
}

async function createBudgets(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table budget_limit (
      scope text not null,
      period text not null check (period in ('daily', 'monthly')),
      limit_micros bigint not null check (limit_micros >= 0),
      primary key (scope, period)
    );

    -- One row per scope and calendar period (UTC); a new period is a new row, so nothing has to be reset.
    create table budget (
      id integer generated always as identity primary key,
      scope text not null,
      period text not null check (period in ('daily', 'monthly')),
      starts_at timestamptz not null,
      ends_at timestamptz not null,
      limit_micros bigint not null check (limit_micros >= 0),
      held_micros bigint not null default 0 check (held_micros >= 0),
      spent_micros bigint not null default 0 check (spent_micros >= 0),
      -- What is booked above the limit: real cost above its hold, or a limit that was lowered. Reserving never adds to it.
      overrun_micros bigint not null default 0 check (overrun_micros >= 0),
      warned_at timestamptz,
      unique (scope, period, starts_at),
      check (ends_at > starts_at),
      constraint budget_within_limit check (held_micros + spent_micros - overrun_micros <= limit_micros)
    ) with (fillfactor = 50);

    create table hold (
      id uuid primary key,
      key text not null unique,
      budget_ids integer[] not null check (cardinality(budget_ids) > 0),
      amount_micros bigint not null check (amount_micros >= 0),
      state text not null default 'open' check (state in ('open', 'settled', 'released', 'expired')),
      actual_micros bigint check (actual_micros >= 0),
      created_at timestamptz not null default clock_timestamp(),
      expires_at timestamptz not null,
      closed_at timestamptz,
      check ((state = 'open') = (closed_at is null)),
      check ((state = 'settled') = (actual_micros is not null))
    );
    create index hold_due on hold (expires_at) where state = 'open';

    create table ledger (
      id uuid primary key,
      key text not null unique,
      kind text not null check (kind in ('charge', 'estimate')),
      agent_name text not null,
      person_id uuid,
      session_id uuid,
      turn_id uuid,
      model text not null,
      input_tokens integer not null check (input_tokens >= 0),
      cache_read_tokens integer not null check (cache_read_tokens >= 0),
      cache_write_tokens integer not null check (cache_write_tokens >= 0),
      output_tokens integer not null check (output_tokens >= 0),
      reasoning_tokens integer not null check (reasoning_tokens >= 0),
      cost_micros bigint not null check (cost_micros >= 0),
      price jsonb,
      hold_id uuid unique references hold (id),
      created_at timestamptz not null default clock_timestamp()
    );
    create index ledger_by_time on ledger (created_at);
    create index ledger_by_agent on ledger (agent_name, created_at);

    create function refuse_change() returns trigger language plpgsql as $$
    begin
      raise exception '% is append-only', tg_table_name using errcode = 'restrict_violation';
    end $$;
    create trigger ledger_append_only before update or delete or truncate on ledger
      for each statement execute function refuse_change();
  `.execute(db);
}

/**
 * Lock order of every function: hold rows by id, then budget rows by id. Whoever takes them in another order deadlocks
 * under load.
 */
async function createBudgetFunctions(db: Kysely<unknown>): Promise<void> {
  await sql`
    create function budget_period(p_period text, p_now timestamptz, out starts_at timestamptz, out ends_at timestamptz)
    language sql stable as $$
      select date_trunc(unit, p_now, 'UTC'),
             (date_trunc(unit, p_now at time zone 'UTC') + ('1 ' || unit)::interval) at time zone 'UTC'
      from (select case p_period when 'daily' then 'day' else 'month' end as unit) u
    $$;

    create function reserve_holds(p_scope text, p_items jsonb, p_now timestamptz default clock_timestamp())
    returns table (
      ordinal integer, state text, hold_id uuid, period text,
      limit_micros bigint, used_micros bigint, resets_at timestamptz
    ) language plpgsql as $$
    #variable_conflict use_column
    declare
      v_ids integer[];
      v_free bigint;
      v_total bigint := 0;
      v_item record;
      v_hold hold;
    begin
      -- A row that starts in the middle of its period begins with what the period has already cost.
      insert into budget (scope, period, starts_at, ends_at, limit_micros, spent_micros, overrun_micros)
      select l.scope, l.period, p.starts_at, p.ends_at, l.limit_micros, s.spent,
             greatest(0, s.spent - l.limit_micros)
      from budget_limit l
        cross join lateral budget_period(l.period, p_now) p
        cross join lateral (
          select coalesce(sum(g.cost_micros), 0)::bigint as spent
          from ledger g left join hold h on h.id = g.hold_id
          where g.agent_name = substr(p_scope, 7) and g.created_at >= p.starts_at
            and coalesce(h.created_at, g.created_at) >= p.starts_at
        ) s
      where l.scope = p_scope
        and not exists (
          select from budget b where b.scope = l.scope and b.period = l.period and b.starts_at = p.starts_at)
      order by l.period
      on conflict (scope, period, starts_at) do nothing;

      perform 1 from budget b join budget_limit l on l.scope = b.scope and l.period = b.period
      where b.scope = p_scope and b.starts_at <= p_now and b.ends_at > p_now
      order by b.id for update of b;

      select array_agg(b.id order by b.id) into v_ids
      from budget b join budget_limit l on l.scope = b.scope and l.period = b.period
      where b.scope = p_scope and b.starts_at <= p_now and b.ends_at > p_now;

      if v_ids is null then
        return query
          select i.ord::integer, 'unlimited'::text, null::uuid, null::text, null::bigint, null::bigint, null::timestamptz
          from jsonb_array_elements(p_items) with ordinality i(item, ord);
        return;
      end if;

      update budget b set limit_micros = l.limit_micros,
        overrun_micros = greatest(0, b.held_micros + b.spent_micros - l.limit_micros)
      from budget_limit l
      where b.id = any (v_ids) and l.scope = b.scope and l.period = b.period and l.limit_micros <> b.limit_micros;

      select min(b.limit_micros - b.held_micros - b.spent_micros) into v_free from budget b where b.id = any (v_ids);

      for v_item in
        select i.ord::integer as ord, (i.item ->> 'id')::uuid as id, i.item ->> 'key' as key,
               (i.item ->> 'amountMicros')::bigint as amount, (i.item ->> 'validMs')::double precision as valid_ms
        from jsonb_array_elements(p_items) with ordinality i(item, ord)
      loop
        ordinal := v_item.ord;
        hold_id := null; period := null; limit_micros := null; used_micros := null; resets_at := null;
        select * into v_hold from hold h where h.key = v_item.key;
        if found then
          -- The same call asked twice: it has its money already, or used it up.
          state := case when v_hold.state = 'open' then 'granted' else 'used' end;
          hold_id := v_hold.id;
        elsif v_item.amount = 0 or v_item.amount <= v_free then
          insert into hold (id, key, budget_ids, amount_micros, created_at, expires_at)
          values (v_item.id, v_item.key, v_ids, v_item.amount, p_now,
                  clock_timestamp() + make_interval(secs => v_item.valid_ms / 1000));
          v_free := v_free - v_item.amount;
          v_total := v_total + v_item.amount;
          state := 'granted';
          hold_id := v_item.id;
        else
          state := 'refused';
          select b.period, b.limit_micros, b.held_micros + b.spent_micros + v_total, b.ends_at
            into period, limit_micros, used_micros, resets_at
          from budget b where b.id = any (v_ids)
          order by b.limit_micros - b.held_micros - b.spent_micros, b.ends_at desc limit 1;
        end if;
        return next;
      end loop;

      if v_total > 0 then
        update budget b set held_micros = b.held_micros + v_total where b.id = any (v_ids);
      end if;
    end $$;

    create function settle_holds(p_items jsonb)
    returns table (ordinal integer, state text, is_warning_due boolean) language plpgsql as $$
    #variable_conflict use_column
    declare
      v_hold_ids uuid[] := array(select distinct (i ->> 'holdId')::uuid from jsonb_array_elements(p_items) i);
      v_budget_ids integer[];
    begin
      perform 1 from hold h where h.id = any (v_hold_ids) order by h.id for update;
      v_budget_ids := array(select distinct unnest(h.budget_ids) from hold h where h.id = any (v_hold_ids));
      perform 1 from budget b where b.id = any (v_budget_ids) order by b.id for update;

      return query
      with item as (
        select i.ord::integer as ord, i.item, (i.item ->> 'holdId')::uuid as hold_id,
               (i.item ->> 'costMicros')::bigint as cost,
               row_number() over (partition by i.item ->> 'holdId' order by i.ord) as nth
        from jsonb_array_elements(p_items) with ordinality i(item, ord)
      ), target as (
        select item.*, h.state as hold_state, h.key, h.amount_micros, h.budget_ids
        from item join hold h on h.id = item.hold_id
        where item.nth = 1 and h.state <> 'settled'
      ), closed as (
        update hold h set state = 'settled', actual_micros = t.cost, closed_at = clock_timestamp()
        from target t where h.id = t.hold_id
      ), delta as (
        select b.id, sum(case when t.hold_state = 'open' then t.amount_micros else 0 end)::bigint as held,
               sum(t.cost)::bigint as spent
        from target t cross join lateral unnest(t.budget_ids) b(id) group by b.id
      ), booked as (
        update budget b set held_micros = b.held_micros - d.held, spent_micros = b.spent_micros + d.spent,
          overrun_micros = greatest(0, b.held_micros - d.held + b.spent_micros + d.spent - b.limit_micros)
        from delta d where b.id = d.id
        returning b.id, b.warned_at is null and b.spent_micros * 5 >= b.limit_micros * 4 as is_warning_due
      ), recorded as (
        insert into ledger (id, key, kind, agent_name, person_id, session_id, turn_id, model, input_tokens,
          cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost_micros, price, hold_id)
        select (item ->> 'id')::uuid, t.key, item ->> 'kind', item ->> 'agentName', (item ->> 'personId')::uuid,
          (item ->> 'sessionId')::uuid, (item ->> 'turnId')::uuid, item ->> 'model', (item ->> 'input')::integer,
          (item ->> 'cacheRead')::integer, (item ->> 'cacheWrite')::integer, (item ->> 'output')::integer,
          (item ->> 'reasoning')::integer, t.cost, nullif(item -> 'price', 'null'::jsonb), t.hold_id
        from target t
      )
      select item.ord,
        case when t.hold_id is not null and t.hold_state = 'open' then 'settled'
             when t.hold_id is not null then 'late'
             when exists (select from hold h where h.id = item.hold_id) then 'duplicate'
             else 'unknown' end,
        coalesce((select bool_or(k.is_warning_due) from booked k where k.id = any (t.budget_ids)), false)
      from item left join target t on t.ord = item.ord
      order by item.ord;
    end $$;

    -- Closes open holds without a charge and gives their money back. The caller has locked the hold rows.
    create function close_holds(p_ids uuid[], p_state text) returns integer language plpgsql as $$
    declare
      v_budget_ids integer[] := array(
        select distinct unnest(h.budget_ids) from hold h where h.id = any (p_ids) and h.state = 'open');
      v_count integer;
    begin
      perform 1 from budget b where b.id = any (v_budget_ids) order by b.id for update;
      with closed as (
        update hold h set state = p_state, closed_at = clock_timestamp()
        where h.id = any (p_ids) and h.state = 'open'
        returning h.amount_micros, h.budget_ids
      ), delta as (
        select b.id, sum(c.amount_micros)::bigint as held
        from closed c cross join lateral unnest(c.budget_ids) b(id) group by b.id
      ), booked as (
        update budget b set held_micros = b.held_micros - d.held,
          overrun_micros = greatest(0, b.held_micros - d.held + b.spent_micros - b.limit_micros)
        from delta d where b.id = d.id
      )
      select count(*)::integer into v_count from closed;
      return v_count;
    end $$;

    create function release_holds(p_ids uuid[]) returns integer language plpgsql as $$
    begin
      perform 1 from hold h where h.id = any (p_ids) order by h.id for update;
      return close_holds(p_ids, 'released');
    end $$;

    create function expire_holds(p_max integer) returns integer language plpgsql as $$
    declare
      v_ids uuid[] := array(
        select h.id from hold h where h.state = 'open' and h.expires_at <= clock_timestamp()
        order by h.id limit p_max for update skip locked);
    begin
      return close_holds(v_ids, 'expired');
    end $$;

    -- Returns the holds that are still open; a caller whose hold is missing here has lost its reservation.
    create function extend_holds(p_ids uuid[], p_valid_ms double precision) returns setof uuid language plpgsql as $$
    begin
      perform 1 from hold h where h.id = any (p_ids) order by h.id for update;
      return query
        update hold h set
          expires_at = greatest(h.expires_at, clock_timestamp() + make_interval(secs => p_valid_ms / 1000))
        where h.id = any (p_ids) and h.state = 'open' returning h.id;
    end $$;
  `.execute(db);
}

async function createAudit(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table audit_chain (
      chain smallint primary key check (chain between 0 and 63),
      seq integer not null default 0,
      head bytea not null
    ) with (fillfactor = 50);
    insert into audit_chain (chain, head)
    select n, sha256(convert_to('audit chain ' || n, 'UTF8')) from generate_series(0, 63) n;

    create table audit_record (
      chain smallint not null references audit_chain (chain),
      seq integer not null check (seq > 0),
      created_at timestamptz not null,
      body_hash bytea not null,
      hash bytea not null,
      primary key (chain, seq)
    );
    create trigger audit_record_append_only before update or delete or truncate on audit_record
      for each statement execute function refuse_change();

    -- In a table of its own, so that a body can be deleted for privacy while the chain of hashes stays whole. The type
    -- json keeps the text exactly as it was hashed.
    create table audit_body (
      chain smallint not null,
      seq integer not null,
      body json not null,
      primary key (chain, seq),
      foreign key (chain, seq) references audit_record (chain, seq)
    );
    create index audit_body_by_session on audit_body ((body ->> 'sessionId'));
    create trigger audit_body_immutable before update on audit_body
      for each statement execute function refuse_change();

    create function audit_hash(p_prev bytea, p_chain smallint, p_seq integer, p_at timestamptz, p_body_hash bytea)
    returns bytea language sql stable as $$
      select sha256(p_prev || convert_to(
        p_chain || '|' || p_seq || '|' || to_char(p_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '|',
        'UTF8') || p_body_hash)
    $$;

    -- Chains are taken in ascending order. The head stays locked until commit: append last in a transaction.
    create function audit_append(p_items jsonb) returns void language plpgsql as $$
    declare
      v_item record;
      v_chain audit_chain;
      v_at timestamptz;
      v_body_hash bytea;
    begin
      for v_item in
        select (hashtextextended(i.item ->> 'chainKey', 0) & 63)::smallint as chain, i.item ->> 'body' as body
        from jsonb_array_elements(p_items) with ordinality i(item, ord)
        order by 1, i.ord
      loop
        if v_chain.chain is distinct from v_item.chain then
          if v_chain.chain is not null then
            update audit_chain c set seq = v_chain.seq, head = v_chain.head where c.chain = v_chain.chain;
          end if;
          select * into strict v_chain from audit_chain c where c.chain = v_item.chain for update;
        end if;
        v_at := clock_timestamp();
        v_body_hash := sha256(convert_to(v_item.body, 'UTF8'));
        v_chain.seq := v_chain.seq + 1;
        v_chain.head := audit_hash(v_chain.head, v_chain.chain, v_chain.seq, v_at, v_body_hash);
        insert into audit_record (chain, seq, created_at, body_hash, hash)
        values (v_chain.chain, v_chain.seq, v_at, v_body_hash, v_chain.head);
        insert into audit_body (chain, seq, body) values (v_chain.chain, v_chain.seq, v_item.body::json);
      end loop;
      if v_chain.chain is not null then
        update audit_chain c set seq = v_chain.seq, head = v_chain.head where c.chain = v_chain.chain;
      end if;
    end $$;

    create function audit_verify(p_max integer)
    returns table (chain integer, seq integer, problem text) language sql stable as $$
      with linked as (
        select r.*, b.body,
          coalesce(lag(r.hash) over w, sha256(convert_to('audit chain ' || r.chain, 'UTF8'))) as prev,
          coalesce(lag(r.seq) over w, 0) as prev_seq
        from audit_record r left join audit_body b on b.chain = r.chain and b.seq = r.seq
        window w as (partition by r.chain order by r.seq)
      ), found as (
        select l.chain, l.seq, 'gap' as problem from linked l where l.seq <> l.prev_seq + 1
        union all
        select l.chain, l.seq, 'hash' from linked l
        where l.hash <> audit_hash(l.prev, l.chain, l.seq, l.created_at, l.body_hash)
        union all
        select l.chain, l.seq, 'body' from linked l
        where l.body is not null and l.body_hash <> sha256(convert_to(l.body::text, 'UTF8'))
        union all
        select c.chain, c.seq, 'head' from audit_chain c
          left join lateral (
            select r.seq, r.hash from audit_record r where r.chain = c.chain order by r.seq desc limit 1) last on true
        where c.seq <> coalesce(last.seq, 0)
          or c.head <> coalesce(last.hash, sha256(convert_to('audit chain ' || c.chain, 'UTF8')))
      )
      select f.chain::integer, f.seq, f.problem from found f order by 1, 2, 3 limit p_max
    $$;
  `.execute(db);
}
