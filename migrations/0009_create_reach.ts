import { type Kysely, sql } from 'kysely';

/** Where people can be reached, how they prove to be the same person on two channels, and who is let into which room. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table identity
      -- The last private conversation with this account; where its person can be reached.
      add column dm_conversation jsonb,
      add column last_seen_at timestamptz,
      -- The entry of the allow list that let this account in; null for one that was paired by a code.
      add column admitted_by text,
      -- Wrong one-time codes of late; forgotten after a quiet hour.
      add column code_failures integer not null default 0,
      add column code_failed_at timestamptz;

    alter table channel_room
      -- Nothing of this room is taken in until then: somebody, most likely another bot, floods it.
      add column muted_until timestamptz;

    -- Proves that two things belong together: an account to a person (link), a thread to a session (continue).
    create table one_time_code (
      code_hash text primary key,
      kind text not null check (kind in ('link', 'continue')),
      person_id uuid not null references person (id),
      identity_id uuid not null references identity (id),
      session_id uuid references session (id),
      created_at timestamptz not null default clock_timestamp(),
      expires_at timestamptz not null,
      used_at timestamptz,
      used_by uuid references identity (id),
      check ((kind = 'continue') = (session_id is not null)),
      check (expires_at > created_at)
    );
    create index one_time_code_open on one_time_code (person_id, kind) where used_at is null;

    -- Something a person may start or refuse by a button: letting somebody in, joining two people, a late command.
    create table offer (
      id uuid primary key,
      kind text not null check (kind in ('admit', 'merge', 'late_command')),
      payload jsonb not null,
      -- The one who may answer; null for every owner and admin.
      person_id uuid references person (id),
      state text not null default 'open' check (state in ('open', 'accepted', 'refused')),
      created_at timestamptz not null default clock_timestamp(),
      expires_at timestamptz not null,
      settled_at timestamptz,
      settled_by uuid references person (id),
      -- The inbox row of the press: routing it again after a crash finishes what it began.
      settled_event uuid,
      check ((state = 'open') = (settled_at is null)),
      check ((state = 'open') = (settled_by is null)),
      check (expires_at > created_at)
    );

    create table offer_button (
      token_hash text primary key,
      offer_id uuid not null references offer (id) on delete cascade,
      is_accepting boolean not null,
      thread_key text not null
    );
    create index offer_button_offer on offer_button (offer_id);

    -- In a room of several people each chooses for themselves.
    create table thread_choice (
      thread_key text not null references thread (thread_key) on update cascade on delete cascade,
      person_id uuid not null references person (id),
      agent_name text not null,
      primary key (thread_key, person_id)
    );

    -- A session that was moved to another place. Its running turn learns of that only when it is claimed again.
    create table session_forward (
      session_id uuid not null references session (id) on delete cascade,
      thread_key text not null,
      conversation jsonb not null,
      to_thread_key text not null,
      primary key (session_id, thread_key)
    );

    -- Approvals stay: their buttons are bound to the place they were asked in.
    create function outbox_forward() returns trigger language plpgsql as $$
    declare target session_forward;
    begin
      select * into target from session_forward f
      where f.session_id = new.session_id and f.thread_key = new.thread_key;
      if found then
        new.conversation := target.conversation;
        new.thread_key := target.to_thread_key;
        -- Both name messages of the other place.
        new.body := new.body - 'replyTo' - 'draftId';
      end if;
      return new;
    end $$;
    create trigger outbox_forward before insert on outbox for each row
      when (new.session_id is not null and new.importance <> 'approval') execute function outbox_forward();

    create index turn_open_message on turn ((payload ->> 'messageId')) where state in ('queued', 'running', 'waiting');
    create index session_by_person on session ((origin ->> 'personId'), created_at) where state = 'active';
  `.execute(db);
}
