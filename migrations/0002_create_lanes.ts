import { type Kysely, sql } from 'kysely';

/**
 * Lanes: one serial queue per session, its turns, its events, and the outbox. The functions are the state machine:
 * every step locks its lane rows first (several in session_id order, or with skip locked), so a lane's order is the
 * order in which its lock was taken, and everything a step causes commits with it.
 *
 * `no key update` is the weakest lock that serialises lane steps; foreign key checks on the lane do not wait for it.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql.raw(tables).execute(db);
  await sql.raw(writers).execute(db);
  await sql.raw(accept).execute(db);
  await sql.raw(claim).execute(db);
  await sql.raw(boundary).execute(db);
  await sql.raw(finish).execute(db);
  await sql.raw(resumeAndCancel).execute(db);
  await sql.raw(sweep).execute(db);
}

const tables = /* sql */ `
  create table worker (
    id uuid primary key,
    host text not null,
    -- Second key of the session advisory lock (77, lock_key) that a living worker holds.
    lock_key integer not null generated always as identity unique,
    started_at timestamptz not null default clock_timestamp(),
    beat_at timestamptz not null default clock_timestamp()
  ) with (fillfactor = 50);

  create table lane (
    session_id uuid primary key references session (id),
    state text not null default 'idle' check (state in ('idle', 'ready', 'running', 'parked')),
    next_seq integer not null default 1,
    next_event_seq integer not null default 1,
    head_seq integer,
    -- Raised whenever the right to run the lane changes hands; a write under an older fence is refused.
    fence integer not null default 0,
    -- Raised whenever a wake is owed; names the wake.
    generation integer not null default 0,
    owner uuid references worker (id),
    -- When the last wake was owed.
    ready_at timestamptz,
    -- Not to be claimed earlier (collect waits for more messages).
    run_at timestamptz,
    -- When the lane became ready; bounds how long collect may put off.
    first_at timestamptz,
    -- A cancel was asked for the turn with this seq.
    cancel_seq integer not null default 0,
    -- A resume arrived while the turn with this seq was still running: it must not park.
    resume_seq integer not null default 0,
    check ((state in ('running', 'parked')) = (head_seq is not null)),
    check ((state = 'running') = (owner is not null)),
    check ((state = 'ready') = (run_at is not null and ready_at is not null and first_at is not null))
  ) with (fillfactor = 70);
  create index lane_ready on lane (ready_at) where state = 'ready';
  create index lane_owner on lane (owner) where state = 'running';

  create table turn (
    id uuid primary key,
    session_id uuid not null references lane (session_id),
    seq integer not null,
    event_key text not null unique,
    mode text not null check (mode in ('followup', 'steer', 'collect', 'interrupt')),
    kind text not null check (kind in ('message', 'task')),
    state text not null default 'queued'
      check (state in ('queued', 'running', 'waiting', 'done', 'failed', 'cancelled', 'absorbed')),
    waiting_for text check (waiting_for in ('approval', 'timer', 'child', 'budget', 'person')),
    into_seq integer,
    agent_name text not null,
    agent_version text not null,
    origin jsonb not null,
    payload jsonb not null,
    attempts integer not null default 0,
    -- Workers that died while they ran it; a turn that kills every worker must not be tried for ever.
    crashes integer not null default 0,
    fence integer,
    created_at timestamptz not null default clock_timestamp(),
    started_at timestamptz,
    finished_at timestamptz,
    result jsonb,
    error_code text,
    unique (session_id, seq),
    check ((state = 'waiting') = (waiting_for is not null)),
    check ((state = 'absorbed') = (into_seq is not null)),
    check (into_seq < seq),
    check ((state in ('done', 'failed', 'cancelled', 'absorbed')) = (finished_at is not null))
  ) with (fillfactor = 70);
  create unique index turn_one_live on turn (session_id) where state in ('running', 'waiting');
  create index turn_queued on turn (session_id, seq) where state = 'queued';
  create index turn_absorbed on turn (session_id, into_seq) where state = 'absorbed';
  create index turn_finished on turn (finished_at) where finished_at is not null;

  create table event (
    session_id uuid not null references lane (session_id),
    seq integer not null,
    turn_id uuid references turn (id),
    kind text not null,
    payload jsonb not null,
    created_at timestamptz not null default clock_timestamp(),
    primary key (session_id, seq)
  );
  create index event_by_turn on event (turn_id);

  create function event_refuse_change() returns trigger language plpgsql as $$
  begin
    -- Retention may delete, and only by saying so in its own transaction.
    if tg_op = 'DELETE' and current_setting('switchyard.prune', true) = 'on' then return old; end if;
    raise exception 'events are append-only' using errcode = 'restrict_violation';
  end $$;
  create trigger event_append_only before update or delete on event for each row execute function event_refuse_change();

  create table outbox (
    id uuid primary key,
    key text not null unique,
    session_id uuid references session (id),
    turn_id uuid references turn (id),
    conversation jsonb not null,
    thread_key text not null,
    importance text not null,
    body jsonb not null,
    revision integer not null default 1,
    sent_revision integer not null default 0,
    is_final boolean not null default true,
    state text not null default 'pending' check (state in ('pending', 'sending', 'sent', 'unknown', 'dead')),
    attempts integer not null default 0,
    not_before timestamptz not null default clock_timestamp(),
    expires_at timestamptz,
    platform_ids text[],
    owner uuid,
    sending_since timestamptz,
    last_error text,
    created_at timestamptz not null default clock_timestamp(),
    sent_at timestamptz,
    check ((state = 'sending') = (owner is not null)),
    check ((state = 'sending') = (sending_since is not null)),
    check (sent_revision <= revision)
  ) with (fillfactor = 70);
  create unique index outbox_one_sending on outbox (thread_key) where state = 'sending';
  create index outbox_pending on outbox (thread_key, created_at, id) where state = 'pending';
  create index outbox_sent on outbox (thread_key, sent_at) where sent_at is not null;
  create index outbox_by_turn on outbox (turn_id);
`;

const writers = /* sql */ `
  -- Says things in chats. The same key again revises the message. A new revision of a message in flight stays with its
  -- sender, which finds the newer revision when it records what it sent; a dead message stays dead.
  create function outbox_put(items jsonb) returns void language plpgsql as $$
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
      expires_at = excluded.expires_at, revision = outbox.revision + 1,
      -- What is newly said has its own tries.
      attempts = case when outbox.state = 'sending' then outbox.attempts else 0 end,
      state = case when outbox.state in ('dead', 'sending') then outbox.state else 'pending' end
    where outbox.body is distinct from excluded.body or outbox.is_final is distinct from excluded.is_final;
    get diagnostics changed = row_count;
    if changed > 0 then
      -- One bell per account, so that only its deliverers look.
      perform pg_notify('outbox', k.account) from (
        select distinct (item -> 'conversation' ->> 'channel') || ':' || (item -> 'conversation' ->> 'account') as account
        from jsonb_array_elements(items) item) k;
    end if;
  end $$;

  -- Appends events in the order given: [{sessionId, turnId, kind, payload}]. The caller holds the lane locks.
  create function event_put(items jsonb) returns void language plpgsql as $$
  begin
    insert into event (session_id, seq, turn_id, kind, payload)
    select i."sessionId", l.next_event_seq + i.place - 1, i."turnId", i.kind, i.payload
    from (
      select r.*, e.ord, row_number() over (partition by r."sessionId" order by e.ord)::integer as place
      from jsonb_array_elements(items) with ordinality e (item, ord),
        jsonb_to_record(e.item) as r("sessionId" uuid, "turnId" uuid, kind text, payload jsonb)
    ) i join lane l on l.session_id = i."sessionId"
    order by i.ord;
    update lane l set next_event_seq = l.next_event_seq + n.count
    from (select (item ->> 'sessionId')::uuid as session_id, count(*)::integer as count
          from jsonb_array_elements(items) item group by 1) n
    where l.session_id = n.session_id;
  end $$;

  create function lane_lock(sessions uuid[]) returns void language plpgsql as $$
  begin
    perform 1 from lane where session_id = any (sessions) order by session_id for no key update;
  end $$;

  -- Facts that no turn causes (a command, a setting): the lane need not have run yet.
  create function append_session_events(items jsonb) returns void language plpgsql as $$
  declare sessions uuid[];
  begin
    select array_agg(distinct (item ->> 'sessionId')::uuid) into sessions from jsonb_array_elements(items) item;
    insert into lane (session_id) select s from unnest(sessions) s order by s on conflict do nothing;
    perform lane_lock(sessions);
    perform event_put(items);
  end $$;
`;

const accept = /* sql */ `
  -- Items of one session are taken in rounds: the first of every session together, then the second, and so on.
  create function lane_accept(items jsonb) returns table (
    ord integer, turn_id uuid, seq integer, generation integer, delay_ms integer, signal text, is_duplicate boolean
  ) language plpgsql as $$
  #variable_conflict use_column
  declare
    sessions uuid[];
    rounds integer;
    now_at timestamptz;
  begin
    select array_agg(s.id), max(s.items) into sessions, rounds from (
      select (item ->> 'sessionId')::uuid as id, count(*)::integer as items from jsonb_array_elements(items) item group by 1
    ) s;
    insert into lane (session_id) select s from unnest(sessions) s order by s on conflict do nothing;
    perform lane_lock(sessions);
    now_at := clock_timestamp();
    for round in 1 .. rounds loop
      return query
      with item as (
        select * from (
          select r.*, e.ord::integer as ord, row_number() over (partition by r."sessionId" order by e.ord) as place
          from jsonb_array_elements(items) with ordinality e (item, ord),
            jsonb_to_record(e.item) as r("turnId" uuid, "sessionId" uuid, "eventKey" text, mode text, kind text,
              "agentName" text, "agentVersion" text, origin jsonb, payload jsonb, "debounceMs" integer,
              "maxWaitMs" integer, "inboxId" uuid)
        ) placed where place = round
      ), known as (
        select i.ord, t.id, t.seq from item i join turn t on t.event_key = i."eventKey"
      ), fresh as (
        select i.*, l.state as was, l.next_seq, l.head_seq, l.run_at,
          now_at + case when i.mode = 'collect' then make_interval(secs => i."debounceMs" / 1000.0)
                        else interval '0' end as due_at,
          l.state = 'idle' or (l.state = 'parked' and i.mode = 'interrupt') as starts,
          l.state = 'ready' and l.run_at > now_at as is_put_off
        from item i join lane l on l.session_id = i."sessionId"
        where not exists (select 1 from known k where k.ord = i.ord)
      ), interrupted as (
        -- What waits behind or is parked is dropped; what runs is asked to end by cancel_seq.
        update turn t set state = 'cancelled', waiting_for = null, finished_at = now_at, error_code = 'turn.cancelled'
        from fresh f
        where f.mode = 'interrupt' and t.session_id = f."sessionId" and t.state in ('queued', 'waiting')
      ), added as (
        insert into turn (id, session_id, seq, event_key, mode, kind, agent_name, agent_version, origin, payload)
        select f."turnId", f."sessionId", f.next_seq, f."eventKey", f.mode, f.kind, f."agentName", f."agentVersion",
               f.origin, f.payload
        from fresh f
      ), routed as (
        update inbox b set state = 'routed', routed_at = now_at from item i
        where b.id = i."inboxId" and b.state = 'pending'
      ), moved as (
        update lane l set
          next_seq = l.next_seq + 1,
          state = case when f.starts then 'ready' else l.state end,
          head_seq = case when f.starts then null else l.head_seq end,
          generation = l.generation + case when f.starts or (f.is_put_off and f.mode <> 'collect') then 1 else 0 end,
          first_at = case when f.starts then now_at else l.first_at end,
          ready_at = case when f.starts or f.is_put_off then now_at else l.ready_at end,
          run_at = case
            when f.starts then f.due_at
            when f.is_put_off and f.mode = 'collect'
              then greatest(l.run_at, least(f.due_at, l.first_at + make_interval(secs => f."maxWaitMs" / 1000.0)))
            when f.is_put_off then now_at
            else l.run_at end,
          cancel_seq = case when l.state = 'running' and f.mode = 'interrupt' then l.head_seq else l.cancel_seq end
        from fresh f where l.session_id = f."sessionId"
        returning f.ord, f."turnId" as id, f.next_seq as seq,
          case when f.starts or (f.is_put_off and f.mode <> 'collect') then l.generation end as generation,
          case when f.starts then ceil(extract(epoch from f.due_at - now_at) * 1000)::integer else 0 end as delay_ms,
          case when f.was = 'running' and f.mode = 'interrupt' then 'cancel'
               when f.was = 'running' and f.mode = 'steer' then 'steer'
               when f.was = 'parked' and f.mode <> 'interrupt' then 'waits' end as signal,
          l.session_id, l.head_seq
      ), signalled as (
        select count(pg_notify('lane_ctl', json_build_object(
          'sessionId', m.session_id, 'seq', m.head_seq, 'signal', m.signal)::text)) as sent
        from moved m where m.signal = 'cancel'
      )
      select m.ord, m.id, m.seq, m.generation, m.delay_ms, m.signal, false from moved m, signalled
      union all
      select k.ord, k.id, k.seq, null, 0, null, true from known k;
    end loop;
  end $$;
`;

const claim = /* sql */ `
  -- Starts the first queued turn of each of these lanes, whose locks the caller holds and of which it knows that they
  -- may start. A lane without a queued turn becomes idle. owner_id null keeps the owner.
  create function lane_start(sessions uuid[], owner_id uuid) returns table (session_id uuid, turn jsonb)
  language sql as $$
    with head as (
      select l.session_id, l.fence + 1 as fence, l.cancel_seq, h.id, h.seq, h.mode
      from lane l cross join lateral (
        select t.id, t.seq, t.mode from turn t
        where t.session_id = l.session_id and t.state = 'queued' order by t.seq limit 1
      ) h where l.session_id = any (sessions)
    ), collected as (
      -- A collect message takes the unbroken run of collect messages behind it along.
      update turn t set state = 'absorbed', into_seq = h.seq, finished_at = clock_timestamp()
      from head h
      where h.mode = 'collect' and t.session_id = h.session_id and t.state = 'queued' and t.mode = 'collect'
        and t.seq > h.seq and not exists (
          select 1 from turn x where x.session_id = h.session_id and x.state = 'queued' and x.mode <> 'collect'
            and x.seq > h.seq and x.seq < t.seq)
      returning t.session_id, t.seq, t.id, t.payload, t.origin
    ), started as (
      update turn t set state = 'running', fence = h.fence, attempts = t.attempts + 1,
        started_at = coalesce(t.started_at, clock_timestamp())
      from head h where t.id = h.id
      returning t.*, h.cancel_seq
    ), moved as (
      update lane l set state = 'running', owner = coalesce(owner_id, l.owner), fence = h.fence, head_seq = h.seq,
        resume_seq = 0, ready_at = null, run_at = null, first_at = null
      from head h where l.session_id = h.session_id
    ), emptied as (
      update lane l set state = 'idle', owner = null, head_seq = null, ready_at = null, run_at = null, first_at = null
      where l.session_id = any (sessions) and not exists (select 1 from head h where h.session_id = l.session_id)
    )
    select s.session_id, jsonb_build_object(
      'id', s.id, 'sessionId', s.session_id, 'seq', s.seq, 'fence', s.fence, 'eventKey', s.event_key, 'mode', s.mode,
      'kind', s.kind, 'agentName', s.agent_name, 'agentVersion', s.agent_version, 'origin', s.origin,
      'payload', s.payload, 'attempts', s.attempts, 'crashes', s.crashes, 'isCancelled', s.cancel_seq >= s.seq,
      'acceptedAtMs', floor(extract(epoch from s.created_at) * 1000),
      'absorbed', coalesce((
        select jsonb_agg(jsonb_build_object('id', a.id, 'payload', a.payload, 'origin', a.origin) order by a.seq)
        from (
          select c.seq, c.id, c.payload, c.origin from collected c where c.session_id = s.session_id
          union all
          -- Absorbed in an earlier try of this turn.
          select t.seq, t.id, t.payload, t.origin from turn t
          where t.session_id = s.session_id and t.state = 'absorbed' and t.into_seq = s.seq
        ) a), '[]'::jsonb))
    from started s;
  $$;

  -- Rows only for lanes that could be claimed (turn) or that are not due yet (wait_ms): no row means that the wake was
  -- stale or doubled.
  create function lane_claim(sessions uuid[], owner_id uuid)
  returns table (session_id uuid, wait_ms integer, turn jsonb) language plpgsql as $$
  #variable_conflict use_column
  declare due uuid[];
  begin
    perform lane_lock(sessions);
    return query
      select l.session_id, ceil(extract(epoch from l.run_at - clock_timestamp()) * 1000)::integer, null::jsonb
      from lane l where l.session_id = any (sessions) and l.state = 'ready' and l.run_at > clock_timestamp();
    select array_agg(l.session_id) into due
      from lane l where l.session_id = any (sessions) and l.state = 'ready' and l.run_at <= clock_timestamp();
    if due is null then return; end if;
    return query select s.session_id, null::integer, s.turn from lane_start(due, owner_id) s;
  end $$;
`;

const boundary = /* sql */ `
  -- Items: [{sessionId, turnId, fence, seq, events, outbox}], one per session. Events are facts and are kept even when
  -- the turn is cancelled; a cancelled turn says nothing more.
  create function lane_boundary(items jsonb)
  returns table (ord integer, is_ok boolean, is_cancelled boolean, steered jsonb) language plpgsql as $$
  #variable_conflict use_column
  declare
    verdicts jsonb;
    events jsonb;
    messages jsonb;
  begin
    perform lane_lock(array(select (item ->> 'sessionId')::uuid from jsonb_array_elements(items) item));
    select jsonb_agg(e.item || jsonb_build_object('ord', e.ord,
        'isOk', coalesce(l.state = 'running' and l.fence = (e.item ->> 'fence')::integer
          and l.head_seq = (e.item ->> 'seq')::integer, false),
        'isCancelled', coalesce(l.cancel_seq >= (e.item ->> 'seq')::integer, false)) order by e.ord)
      into verdicts
      from jsonb_array_elements(items) with ordinality e (item, ord)
        left join lane l on l.session_id = (e.item ->> 'sessionId')::uuid;
    select jsonb_agg(jsonb_build_object('sessionId', v -> 'sessionId', 'turnId', coalesce(x.event -> 'turnId', v -> 'turnId'),
        'kind', x.event -> 'kind', 'payload', x.event -> 'payload') order by v -> 'ord', x.ord)
      into events
      from jsonb_array_elements(verdicts) v, jsonb_array_elements(v -> 'events') with ordinality x (event, ord)
      where (v ->> 'isOk')::boolean;
    if events is not null then perform event_put(events); end if;
    select jsonb_agg(m.message order by v -> 'ord', m.ord) into messages
      from jsonb_array_elements(verdicts) v, jsonb_array_elements(v -> 'outbox') with ordinality m (message, ord)
      where (v ->> 'isOk')::boolean and not (v ->> 'isCancelled')::boolean;
    if messages is not null then perform outbox_put(messages); end if;
    return query
    with verdict as (
      select r.* from jsonb_array_elements(verdicts) v,
        jsonb_to_record(v) as r("sessionId" uuid, ord integer, seq integer, "isOk" boolean, "isCancelled" boolean)
    ), absorbed as (
      update turn t set state = 'absorbed', into_seq = v.seq, finished_at = clock_timestamp()
      from verdict v
      where v."isOk" and not v."isCancelled" and t.session_id = v."sessionId" and t.state = 'queued'
        and t.mode = 'steer' and t.seq > v.seq
      returning t.session_id, t.seq, t.id, t.payload, t.origin
    )
    select v.ord, v."isOk", v."isCancelled", coalesce((
      select jsonb_agg(jsonb_build_object('id', a.id, 'payload', a.payload, 'origin', a.origin) order by a.seq)
      from absorbed a where a.session_id = v."sessionId"), '[]'::jsonb)
    from verdict v;
  end $$;
`;

const finish = /* sql */ `
  -- Items: [{sessionId, turnId, fence, seq, outcome, waitingFor, result, errorCode, events, outbox, cancelledEvents,
  -- cancelledOutbox, keepRunning}], one per session. A pending cancel wins over every outcome but 'released'.
  -- code: fenced | idle | ready (generation is owed) | parked | running (turn is the next one, already started).
  create function lane_finish(items jsonb)
  returns table (ord integer, code text, outcome text, generation integer, turn jsonb) language plpgsql as $$
  #variable_conflict use_column
  declare
    verdicts jsonb;
    events jsonb;
    messages jsonb;
    now_at timestamptz;
  begin
    perform lane_lock(array(select (item ->> 'sessionId')::uuid from jsonb_array_elements(items) item));
    now_at := clock_timestamp();
    select jsonb_agg(e.item || jsonb_build_object(
        'ord', e.ord, 'isOk', v.is_ok, 'outcome', v.outcome,
        'events', case when v.is_overruled then e.item -> 'cancelledEvents' else e.item -> 'events' end,
        'outbox', case when v.is_overruled then e.item -> 'cancelledOutbox' else e.item -> 'outbox' end,
        'code', case
          when not v.is_ok then 'fenced'
          when v.outcome = 'waiting' then case when l.resume_seq = l.head_seq then 'ready' else 'parked' end
          when v.outcome = 'released' then 'ready'
          when not exists (select 1 from turn q where q.session_id = l.session_id and q.state = 'queued') then 'idle'
          when (e.item ->> 'keepRunning')::boolean then 'running'
          else 'ready' end) order by e.ord)
      into verdicts
      from jsonb_array_elements(items) with ordinality e (item, ord)
        left join lane l on l.session_id = (e.item ->> 'sessionId')::uuid
        cross join lateral (
          select coalesce(l.state = 'running' and l.fence = (e.item ->> 'fence')::integer
              and l.head_seq = (e.item ->> 'seq')::integer, false) as is_ok,
            coalesce(l.cancel_seq >= (e.item ->> 'seq')::integer, false)
              and e.item ->> 'outcome' not in ('cancelled', 'released') as is_overruled,
            case when l.cancel_seq >= (e.item ->> 'seq')::integer and e.item ->> 'outcome' <> 'released'
              then 'cancelled' else e.item ->> 'outcome' end as outcome
        ) v;
    select jsonb_agg(jsonb_build_object('sessionId', v -> 'sessionId', 'turnId', coalesce(x.event -> 'turnId', v -> 'turnId'),
        'kind', x.event -> 'kind', 'payload', x.event -> 'payload') order by v -> 'ord', x.ord)
      into events
      from jsonb_array_elements(verdicts) v, jsonb_array_elements(v -> 'events') with ordinality x (event, ord)
      where (v ->> 'isOk')::boolean;
    if events is not null then perform event_put(events); end if;
    select jsonb_agg(m.message order by v -> 'ord', m.ord) into messages
      from jsonb_array_elements(verdicts) v, jsonb_array_elements(v -> 'outbox') with ordinality m (message, ord)
      where (v ->> 'isOk')::boolean;
    if messages is not null then perform outbox_put(messages); end if;

    -- The live turn ends before the next one may start: one live turn per lane is a unique index.
    with verdict as (
      select r.* from jsonb_array_elements(verdicts) v, jsonb_to_record(v) as r("sessionId" uuid, seq integer,
        "isOk" boolean, outcome text, code text, "waitingFor" text, result jsonb, "errorCode" text)
      where (v ->> 'isOk')::boolean
    ), ended as (
      update turn t set
        state = case when v.outcome = 'released' or (v.outcome = 'waiting' and v.code = 'ready') then 'queued'
                     else v.outcome end,
        waiting_for = case when v.code = 'parked' then v."waitingFor" end,
        result = nullif(v.result, 'null'::jsonb),
        error_code = case when v.outcome = 'cancelled' then coalesce(v."errorCode", 'turn.cancelled') else v."errorCode" end,
        -- A turn that was handed back by a stopping worker has not used up a try.
        attempts = t.attempts - case when v.outcome = 'released' then 1 else 0 end,
        finished_at = case when v.outcome in ('done', 'failed', 'cancelled') then now_at end
      from verdict v where t.session_id = v."sessionId" and t.seq = v.seq
    )
    update lane l set
      state = v.code,
      owner = case when v.code = 'running' then l.owner end,
      head_seq = case when v.code in ('running', 'parked') then l.head_seq end,
      generation = l.generation + case when v.code = 'ready' then 1 else 0 end,
      ready_at = case when v.code = 'ready' then now_at end,
      run_at = case when v.code = 'ready' then now_at end,
      first_at = case when v.code = 'ready' then now_at end
    from verdict v where l.session_id = v."sessionId";

    return query
    with verdict as (
      select r.* from jsonb_array_elements(verdicts) v,
        jsonb_to_record(v) as r("sessionId" uuid, ord integer, code text, outcome text)
    )
    select v.ord, v.code, v.outcome, case when v.code = 'ready' then l.generation end, s.turn
    from verdict v left join lane l on l.session_id = v."sessionId"
      left join lane_start(array(select "sessionId" from verdict where code = 'running'), null) s
        on s.session_id = v."sessionId";
  end $$;
`;

const resumeAndCancel = /* sql */ `
  -- Goes on with waiting turns. A resume that comes before its turn has parked is kept for the moment it would park;
  -- one for a turn that does not wait is a no-op. Returns the wakes owed.
  create function lane_resume(turns uuid[]) returns table (session_id uuid, generation integer) language plpgsql as $$
  #variable_conflict use_column
  begin
    perform lane_lock(array(select t.session_id from turn t where t.id = any (turns)));
    update lane l set resume_seq = t.seq from turn t
      where t.id = any (turns) and l.session_id = t.session_id and l.state = 'running' and l.head_seq = t.seq;
    return query
    with waiting as (
      select t.id, t.session_id from turn t join lane l on l.session_id = t.session_id
      where t.id = any (turns) and l.state = 'parked' and l.head_seq = t.seq
    ), queued as (
      update turn t set state = 'queued', waiting_for = null from waiting w where t.id = w.id
    )
    update lane l set state = 'ready', head_seq = null, generation = l.generation + 1,
      ready_at = clock_timestamp(), run_at = clock_timestamp(), first_at = clock_timestamp()
    from waiting w where l.session_id = w.session_id
    returning l.session_id, l.generation;
  end $$;

  -- Asks the running turn to end, ends a parked one at once and, when told, everything queued.
  -- running_seq: the turn that was asked. cancelled: [{id, seq, origin, was}] of those that ended here.
  create function lane_cancel(session uuid, with_queued boolean)
  returns table (running_seq integer, cancelled jsonb, generation integer) language plpgsql as $$
  #variable_conflict use_column
  declare
    l lane;
    ended jsonb;
    owed integer;
    has_queued boolean;
  begin
    select * into l from lane where session_id = session for no key update;
    if not found then return; end if;
    with gone as (
      select t.id, t.seq, t.origin, t.state as was from turn t where t.session_id = session
        -- A queued turn that has begun before was resumed or taken from a dead worker: to people it is the running one.
        and (t.state = 'waiting' or (t.state = 'queued' and (with_queued or t.started_at is not null)))
    ), updated as (
      update turn t set state = 'cancelled', waiting_for = null, finished_at = clock_timestamp(),
        error_code = 'turn.cancelled'
      from gone g where t.id = g.id
    )
    select coalesce(jsonb_agg(to_jsonb(g) order by g.seq), '[]'::jsonb) into ended from gone g;
    if l.state = 'running' then
      update lane set cancel_seq = l.head_seq where session_id = session;
      perform pg_notify('lane_ctl', json_build_object('sessionId', session, 'seq', l.head_seq, 'signal', 'cancel')::text);
      return query select l.head_seq, ended, null::integer;
      return;
    end if;
    select exists (select 1 from turn t where t.session_id = session and t.state = 'queued') into has_queued;
    if l.state = 'parked' and has_queued then
      update lane set state = 'ready', head_seq = null, generation = lane.generation + 1, ready_at = clock_timestamp(),
        run_at = clock_timestamp(), first_at = clock_timestamp()
      where session_id = session returning lane.generation into owed;
    elsif not has_queued then
      update lane set state = 'idle', head_seq = null, ready_at = null, run_at = null, first_at = null
      where session_id = session and state <> 'idle';
    end if;
    return query select null::integer, ended, owed;
  end $$;
`;

const sweep = /* sql */ `
  -- Takes running lanes from dead workers. The turn starts again from its events; a pending cancel is kept and is
  -- found by the next claim.
  create function lane_reap(workers uuid[]) returns table (session_id uuid, generation integer) language sql as $$
    with dead as (
      select l.session_id, l.head_seq from lane l where l.state = 'running' and l.owner = any (workers)
      order by l.session_id for no key update skip locked
    ), queued as (
      update turn t set state = 'queued', crashes = t.crashes + 1 from dead d where t.session_id = d.session_id and t.seq = d.head_seq
    )
    update lane l set state = 'ready', owner = null, head_seq = null, fence = l.fence + 1,
      generation = l.generation + 1, ready_at = clock_timestamp(), run_at = clock_timestamp(),
      first_at = clock_timestamp()
    from dead d where l.session_id = d.session_id
    returning l.session_id, l.generation;
  $$;

  -- Owes new wakes for ready lanes whose last one is lost: [{sessionId, generation}]. A lane that moved on is left alone.
  create function lane_rearm(items jsonb) returns table (session_id uuid, generation integer, delay_ms integer)
  language sql as $$
    with stale as (
      select l.session_id from lane l
        join jsonb_to_recordset(items) as i("sessionId" uuid, generation integer)
          on i."sessionId" = l.session_id and i.generation = l.generation
      where l.state = 'ready' order by l.session_id for no key update of l skip locked
    )
    update lane l set generation = l.generation + 1, ready_at = clock_timestamp()
    from stale s where l.session_id = s.session_id
    returning l.session_id, l.generation,
      greatest(0, ceil(extract(epoch from l.run_at - clock_timestamp()) * 1000))::integer;
  $$;
`;
