import { type Kysely, sql } from 'kysely';

/** Requests for approval in several places at once, and questions of agents to people. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table approval
      add column reminded_at timestamptz,
      add column escalated_at timestamptz;
    create index approval_waiting on approval (created_at) where state = 'pending';

    -- Every message that shows one request: the card where it was asked, its copies where approvers are, reminders.
    create table approval_card (
      message_key text primary key,
      approval_id uuid not null references approval (id) on delete cascade,
      kind text not null check (kind in ('origin', 'copy', 'reminder', 'escalation')),
      conversation jsonb not null,
      thread_key text not null,
      created_at timestamptz not null default clock_timestamp()
    );
    create index approval_card_approval on approval_card (approval_id);
    create index approval_card_thread on approval_card (thread_key);
    insert into approval_card (message_key, approval_id, kind, conversation, thread_key)
    select 'approval:' || a.id, a.id, 'origin', a.conversation,
      concat_ws(':', a.conversation ->> 'channel', a.conversation ->> 'account', a.conversation ->> 'room',
        coalesce(a.conversation ->> 'thread', '-'))
    from approval a where a.state = 'pending';

    -- A card is shown in several threads, and again with new tokens when it changes; the old ones stay good meanwhile.
    alter table action_token
      drop constraint action_token_approval_id_decision_key,
      drop constraint action_token_decision_check,
      add constraint action_token_decision_check
        check (decision in ('approve', 'deny', 'deny_reason', 'always_session', 'always_agent'));
    create index action_token_approval on action_token (approval_id);

    -- A message that lists several requests, for one person.
    create table approval_list (
      message_key text primary key,
      person_id uuid not null references person (id),
      conversation jsonb not null,
      thread_key text not null,
      approval_ids uuid[] not null,
      -- How many more wait than fit on it.
      more_count integer not null default 0,
      -- Whether it asks right now if all of them are meant.
      is_confirming boolean not null default false,
      created_at timestamptz not null default clock_timestamp()
    );
    create index approval_list_ids on approval_list using gin (approval_ids);
    create table approval_list_button (
      token_hash text primary key,
      message_key text not null references approval_list (message_key) on delete cascade,
      action text not null check (action in ('ask_all', 'approve_all', 'keep')),
      thread_key text not null
    );
    create index approval_list_button_list on approval_list_button (message_key);

    create table question (
      id uuid primary key,
      session_id uuid not null references session (id),
      -- No foreign key: a finished turn may be pruned before the record of what was asked.
      turn_id uuid not null,
      call_id text not null,
      agent_name text not null,
      text text not null,
      choices jsonb not null check (jsonb_typeof(choices) = 'array'),
      requester_id uuid references person (id),
      -- The only one who may answer; null when it is a question to whoever the work is for.
      asked_id uuid references person (id),
      conversation jsonb not null,
      state text not null default 'pending' check (state in ('pending', 'answered', 'expired', 'cancelled')),
      answer text,
      answered_by uuid references person (id),
      via text,
      created_at timestamptz not null default clock_timestamp(),
      expires_at timestamptz not null,
      closed_at timestamptz,
      unique (turn_id, call_id),
      check (expires_at > created_at),
      check ((state = 'pending') = (closed_at is null)),
      check ((state = 'answered') = (answer is not null)),
      check ((state = 'answered') = (answered_by is not null))
    );
    create index question_due on question (expires_at) where state = 'pending';
    create index question_by_session on question (session_id, created_at);

    create table question_card (
      message_key text primary key,
      question_id uuid not null references question (id) on delete cascade,
      -- A note only says in the asker's thread that somebody else was asked elsewhere.
      kind text not null check (kind in ('ask', 'note')),
      conversation jsonb not null,
      thread_key text not null
    );
    create index question_card_question on question_card (question_id);
    create index question_card_thread on question_card (thread_key);

    create table question_button (
      token_hash text primary key,
      question_id uuid not null references question (id) on delete cascade,
      -- Place of the choice in the list; null opens a form for an answer in words.
      choice integer check (choice >= 0),
      thread_key text not null
    );
    create index question_button_question on question_button (question_id);

    -- Words that are asked of one person: by a form, or by a line that is answered with a message.
    create table answer_prompt (
      id uuid primary key,
      token_hash text not null unique,
      approval_id uuid references approval (id) on delete cascade,
      question_id uuid references question (id) on delete cascade,
      person_id uuid not null references person (id),
      thread_key text not null,
      -- Of the line that asks; null as long as only a form does.
      message_key text unique,
      created_at timestamptz not null default clock_timestamp(),
      expires_at timestamptz not null,
      used_at timestamptz,
      check ((approval_id is null) <> (question_id is null)),
      check (expires_at > created_at)
    );
    create index answer_prompt_open on answer_prompt (thread_key, person_id)
      where used_at is null and message_key is not null;
  `.execute(db);
}
