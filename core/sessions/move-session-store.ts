import { sql } from 'kysely';
import type { Db, Tx } from '../kit/database.ts';
import { newId } from '../kit/ids.ts';
import { type Conversation, conversationSchema, type Origin, threadKey } from './origin.ts';

/** A session somebody began and may take elsewhere. */
export interface MovableSession {
  readonly id: string;
  readonly agentName: string;
  readonly conversation: Conversation;
  /** The last thing that was asked in it. */
  readonly lastText: string;
  readonly updatedAt: Date;
}

/** The active sessions a person began in other threads, the latest first. */
export async function selectMovable(
  db: Db | Tx,
  options: { readonly personId: string; readonly exceptThread: string; readonly rowsMax: number },
): Promise<MovableSession[]> {
  const { rows } = await sql<{
    id: string;
    agent_name: string;
    conversation: unknown;
    last_text: string | null;
    updated_at: Date;
  }>`
    select s.id, s.agent_name, h.conversation, t.payload ->> 'text' as last_text,
           coalesce(t.created_at, s.created_at) as updated_at
    from session s join thread h on h.thread_key = s.thread_key
      left join lateral (
        select payload, created_at from turn where session_id = s.id order by seq desc limit 1) t on true
    where s.state = 'active' and s.origin ->> 'personId' = ${options.personId}
      and s.thread_key <> ${options.exceptThread}
    order by updated_at desc, s.id limit ${options.rowsMax}
  `.execute(db);
  return rows.map((row) => ({
    id: row.id,
    agentName: row.agent_name,
    conversation: conversationSchema.parse(row.conversation),
    lastText: row.last_text ?? '',
    updatedAt: row.updated_at,
  }));
}

/** A session that is about to move, its lane locked. */
export interface MovingSession {
  readonly id: string;
  readonly threadKey: string;
  readonly agentName: string;
  readonly conversation: Conversation;
  readonly isActive: boolean;
  readonly isRunning: boolean;
}

/**
 * Locks what waits for people in a session, then its lane, then itself: the order everything that answers such a
 * question takes.
 */
export async function lockMoving(tx: Tx, sessionId: string): Promise<MovingSession | undefined> {
  await sql`
    select id from approval where session_id = ${sessionId} and state = 'pending' order by id for update
  `.execute(tx);
  await sql`
    select id from question where session_id = ${sessionId} and state = 'pending' order by id for update
  `.execute(tx);
  await sql`select lane_lock(array[${sessionId}::uuid])`.execute(tx);
  const { rows } = await sql<{
    id: string;
    thread_key: string;
    agent_name: string;
    conversation: unknown;
    is_active: boolean;
    is_running: boolean;
  }>`
    select s.id, s.thread_key, s.agent_name, h.conversation, s.state = 'active' as is_active,
           exists (select from turn t where t.session_id = s.id and t.state = 'running') as is_running
    from session s join thread h on h.thread_key = s.thread_key where s.id = ${sessionId} for update of s
  `.execute(tx);
  const row = rows[0];
  if (row === undefined) return undefined;
  return {
    id: row.id,
    threadKey: row.thread_key,
    agentName: row.agent_name,
    conversation: conversationSchema.parse(row.conversation),
    isActive: row.is_active,
    isRunning: row.is_running,
  };
}

/** Ends what an agent does in a thread, so that another session can take its place there. @returns false if it works. */
export async function endIdleSession(tx: Tx, key: string, agentName: string): Promise<boolean> {
  const { rows } = await sql<{ id: string; is_busy: boolean }>`
    select s.id, exists (
      select from turn t where t.session_id = s.id and t.state in ('queued', 'running', 'waiting')) as is_busy
    from session s where s.thread_key = ${key} and s.agent_name = ${agentName} and s.state = 'active' for update
  `.execute(tx);
  if (rows.some((row) => row.is_busy)) return false;
  await sql`
    update session set state = 'ended', ended_at = clock_timestamp()
    where id = any (${rows.map((row) => row.id)}::uuid[])
  `.execute(tx);
  return true;
}

/**
 * Makes another thread a session's own: unfinished turns answer there, and whatever a turn that runs right now still says
 * for the first time goes there too.
 */
export async function rewriteSession(tx: Tx, session: MovingSession, to: Origin): Promise<void> {
  const { messageId: _message, personId: _person, identityId: _identity, ...place } = to;
  const key = threadKey(to);
  const { space, thread } = place;
  // Absent keys would otherwise keep the old place's value.
  const target = JSON.stringify({ ...place, space: space ?? null, thread: thread ?? null });
  await sql`
    update turn set origin = jsonb_strip_nulls((origin - 'messageId') || ${target}::jsonb)
    where session_id = ${session.id} and state in ('queued', 'running', 'waiting')
  `.execute(tx);
  await sql`
    update session set thread_key = ${key}, origin = jsonb_strip_nulls((origin - 'messageId') || ${target}::jsonb)
    where id = ${session.id}
  `.execute(tx);
  await sql`delete from session_forward where session_id = ${session.id} and thread_key = ${key}`.execute(tx);
  await sql`
    update session_forward set conversation = ${JSON.stringify(place)}::jsonb, to_thread_key = ${key}
    where session_id = ${session.id}
  `.execute(tx);
  await sql`
    insert into session_forward (session_id, thread_key, conversation, to_thread_key)
    values (${session.id}, ${session.threadKey}, ${JSON.stringify(place)}::jsonb, ${key})
    on conflict (session_id, thread_key) do nothing
  `.execute(tx);
}

/**
 * Takes the open questions of a session along: their cards are posted in the new thread with the same buttons, and the
 * old ones say where they went.
 */
export async function moveCards(tx: Tx, session: MovingSession, to: Conversation, gone: string): Promise<void> {
  const key = threadKey(to);
  const place = JSON.stringify({
    channel: to.channel,
    account: to.account,
    space: to.space,
    room: to.room,
    thread: to.thread,
    kind: to.kind,
  });
  const approvals = sql`(select id from approval where session_id = ${session.id} and state = 'pending')`;
  const questions = sql`(select id from question where session_id = ${session.id} and state = 'pending')`;
  const { rows } = await sql<{ message_key: string }>`
    with moved as (
      update approval_card set conversation = ${place}::jsonb, thread_key = ${key}
      where thread_key = ${session.threadKey} and approval_id in ${approvals} returning message_key
    ), asked as (
      update question_card set conversation = ${place}::jsonb, thread_key = ${key}
      where thread_key = ${session.threadKey} and question_id in ${questions} returning message_key
    )
    select message_key from moved union all select message_key from asked
  `.execute(tx);
  const keys = rows.map((row) => row.message_key);
  await sql`
    update action_token set thread_key = ${key}
    where thread_key = ${session.threadKey} and approval_id in ${approvals}
  `.execute(tx);
  await sql`
    update question_button set thread_key = ${key}
    where thread_key = ${session.threadKey} and question_id in ${questions}
  `.execute(tx);
  await sql`
    update approval set conversation = ${place}::jsonb where session_id = ${session.id} and state = 'pending'
  `.execute(tx);
  await sql`
    update question set conversation = ${place}::jsonb where session_id = ${session.id} and state = 'pending'
  `.execute(tx);
  await leaveTraces(tx, keys, gone);
  await sql`
    update outbox set conversation = ${place}::jsonb, thread_key = ${key}, platform_ids = null, posted_ids = '{}',
      posted_revision = null, sent_hash = null,
      body = body - 'replyTo' - 'interactionToken',
      state = case when state = 'sending' then state else 'pending' end,
      revision = revision + 1, not_before = clock_timestamp()
    where key = any (${keys}) and state in ('pending', 'sent', 'unknown')
  `.execute(tx);
}

/** Rewrites the cards that were shown already: nothing is left to press, and they say where the question went. */
async function leaveTraces(tx: Tx, keys: readonly string[], gone: string): Promise<void> {
  const { rows } = await sql<{ key: string }>`
    select key from outbox where key = any (${[...keys]}) and platform_ids is not null and state in ('sent', 'pending')
  `.execute(tx);
  const body = JSON.stringify({ parts: [{ type: 'notice', level: 'info', markdown: gone }] });
  for (const { key } of rows) {
    await sql`
      insert into outbox (id, key, conversation, thread_key, importance, body, platform_ids)
      select ${newId()}, ${`${key}:moved:`} || o.revision, o.conversation, o.thread_key, 'notice', ${body}::jsonb,
             o.platform_ids
      from outbox o where o.key = ${key}
      on conflict (key) do nothing
    `.execute(tx);
  }
}
