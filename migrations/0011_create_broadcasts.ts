import { type Kysely, sql } from 'kysely';

/** Messages to several places, and calls to the outside (web hooks, e-mail) about what happens here. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create index thread_by_room on thread ((conversation ->> 'room'));

    create table broadcast (
      id uuid primary key,
      markdown text not null,
      level text not null
        check (level in ('info', 'success', 'warn', 'error', 'status', 'question', 'announcement')),
      priority text not null check (priority in ('low', 'normal', 'high', 'urgent')),
      author text not null,
      created_by uuid references person (id),
      -- No foreign key: a finished turn may be pruned before what it said.
      turn_id uuid,
      -- The message that tells its author what became of it, kept up to date until every place is settled.
      report_key text unique,
      report_conversation jsonb,
      is_settled boolean not null default false,
      created_at timestamptz not null default clock_timestamp(),
      check ((report_key is null) = (report_conversation is null))
    );
    create index broadcast_created on broadcast (created_at);
    create index broadcast_unsettled on broadcast (created_at) where report_key is not null and not is_settled;

    create table broadcast_target (
      broadcast_id uuid not null references broadcast (id) on delete cascade,
      ordinal integer not null,
      target text not null,
      -- Of the outbox; null for a target that leads nowhere, with the reason.
      message_key text unique,
      thread_key text,
      problem text,
      primary key (broadcast_id, ordinal),
      check ((message_key is null) = (problem is not null))
    );

    -- Who wants to hear of what. Addresses and secrets stay in the settings: an address may be one.
    create table webhook_endpoint (
      id text primary key,
      host text not null,
      events text[] not null,
      updated_at timestamptz not null default clock_timestamp()
    );

    -- Calls to the outside, each made until it is taken or given up.
    create table outgoing (
      id uuid primary key,
      kind text not null check (kind in ('webhook', 'email')),
      -- The endpoint's id, or the address of an e-mail.
      target text not null,
      event_id text not null,
      event text not null,
      payload jsonb not null,
      state text not null default 'pending' check (state in ('pending', 'delivered', 'dead')),
      attempts integer not null default 0,
      not_before timestamptz not null default clock_timestamp(),
      -- Nobody else tries it before; a worker that died lets it go by itself.
      leased_until timestamptz,
      last_error text,
      created_at timestamptz not null default clock_timestamp(),
      closed_at timestamptz,
      unique (kind, target, event_id),
      check ((state = 'pending') = (closed_at is null))
    );
    create index outgoing_due on outgoing (not_before) where state = 'pending';
    create index outgoing_created on outgoing (created_at);

    -- Written where the change is, so that no way of ending a turn and no crash can lose one.
    create function outgoing_put(p_event text, p_event_id text, p_payload jsonb) returns void language sql as $$
      insert into outgoing (id, kind, target, event_id, event, payload)
      select gen_random_uuid(), 'webhook', e.id, p_event_id, p_event, p_payload
      from webhook_endpoint e where p_event = any (e.events)
      on conflict (kind, target, event_id) do nothing
    $$;

    create function turn_tell_outside() returns trigger language plpgsql as $$
    begin
      if exists (select from webhook_endpoint) then
        perform outgoing_put('turn.' || new.state, 'turn.' || new.state || ':' || new.id, jsonb_build_object(
          'turnId', new.id, 'sessionId', new.session_id, 'agent', new.agent_name, 'kind', new.kind,
          'state', new.state, 'errorCode', new.error_code, 'acceptedAt', new.created_at, 'startedAt', new.started_at,
          'finishedAt', new.finished_at, 'channel', new.origin ->> 'channel', 'room', new.origin ->> 'room',
          'thread', new.origin ->> 'thread', 'personId', new.origin ->> 'personId'));
      end if;
      return null;
    end $$;
    create trigger turn_tell_outside after update of state on turn for each row
      when (old.state is distinct from new.state and new.state in ('done', 'failed', 'cancelled'))
      execute function turn_tell_outside();

    create function approval_tell_outside() returns trigger language plpgsql as $$
    declare
      event text := case when new.state = 'pending' then 'approval.requested' else 'approval.decided' end;
    begin
      if exists (select from webhook_endpoint) then
        -- Neither the action nor its summary: command lines hold secrets more often than one would think.
        perform outgoing_put(event, event || ':' || new.id, jsonb_build_object(
          'approvalId', new.id, 'turnId', new.turn_id, 'sessionId', new.session_id, 'agent', new.agent_name,
          'tool', new.action ->> 'tool', 'permission', new.action ->> 'permission', 'risk', new.risk,
          'state', new.state, 'requesterId', new.requester_id, 'decidedBy', new.decided_by,
          'requestedAt', new.created_at, 'decidedAt', new.decided_at, 'expiresAt', new.expires_at,
          'channel', new.conversation ->> 'channel', 'room', new.conversation ->> 'room',
          'thread', new.conversation ->> 'thread'));
      end if;
      return null;
    end $$;
    create trigger approval_asked_tell_outside after insert on approval for each row
      execute function approval_tell_outside();
    create trigger approval_decided_tell_outside after update of state on approval for each row
      when (old.state is distinct from new.state)
      execute function approval_tell_outside();
  `.execute(db);
}
