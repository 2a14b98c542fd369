import { sql } from 'kysely';
import type { Tx } from '../kit/database.ts';
import type { RoomPlace } from './room.ts';

/** Notes that a room has a new id. @returns whether that is news; two at once take turns at the row. */
export async function markMigrated(tx: Tx, from: RoomPlace, newRoom: string): Promise<boolean> {
  const { rows } = await sql<{ room: string }>`
    insert into channel_room (channel, account, room, state, reason, migrated_to)
    values (${from.channel}, ${from.account}, ${from.room}, 'migrated', 'it has a new id', ${newRoom})
    on conflict (channel, account, room) do update set
      state = 'migrated', reason = excluded.reason, migrated_to = excluded.migrated_to, updated_at = clock_timestamp()
    where channel_room.state <> 'migrated'
    returning room
  `.execute(tx);
  return rows.length > 0;
}

/**
 * Rewrites what names the old room: threads with their settings, sessions, unfinished turns, open questions with their
 * buttons, and where a person is reached. A conversation that was begun in the new room already keeps its session unless
 * nothing goes on in it.
 */
export async function rewriteKeys(tx: Tx, from: RoomPlace, newRoom: string): Promise<void> {
  const before = prefixOf(from);
  const after = prefixOf({ ...from, room: newRoom });
  await lockOpenWork(tx, from, before);
  const isOld = sql`starts_with(thread_key, ${before})`;
  const newKey = sql`${after} || substr(thread_key, ${before.length + 1})`;
  const room = sql`to_jsonb(${newRoom}::text)`;
  await sql`
    insert into thread (thread_key, conversation, agent_name, queue_mode)
    select ${newKey}, jsonb_set(conversation, '{room}', ${room}), agent_name, queue_mode from thread where ${isOld}
    on conflict (thread_key) do nothing
  `.execute(tx);
  await sql`
    update thread_choice set thread_key = ${newKey} where ${isOld} and not exists (
      select from thread_choice c where c.thread_key = ${after} || substr(thread_choice.thread_key, ${before.length + 1})
        and c.person_id = thread_choice.person_id)
  `.execute(tx);
  // Of two active sessions of one thread and agent the idle newcomer ends, and else the one that moves in.
  await sql`
    update session n set state = 'ended', ended_at = clock_timestamp() from session o
    where starts_with(o.thread_key, ${before}) and o.state = 'active' and n.state = 'active'
      and n.thread_key = ${after} || substr(o.thread_key, ${before.length + 1}) and n.agent_name = o.agent_name
      and not exists (select from turn t where t.session_id = n.id and t.state in ('queued', 'running', 'waiting'))
  `.execute(tx);
  await sql`
    update session o set state = 'ended', ended_at = clock_timestamp() from session n
    where starts_with(o.thread_key, ${before}) and o.state = 'active' and n.state = 'active'
      and n.thread_key = ${after} || substr(o.thread_key, ${before.length + 1}) and n.agent_name = o.agent_name
  `.execute(tx);
  await sql`
    update turn set origin = jsonb_set(origin, '{room}', ${room})
    where state in ('queued', 'running', 'waiting')
      and session_id in (select id from session where ${isOld})
      and origin ->> 'channel' = ${from.channel} and origin ->> 'account' = ${from.account}
      and origin ->> 'room' = ${from.room}
  `.execute(tx);
  await sql`
    update session set thread_key = ${newKey}, origin = jsonb_set(origin, '{room}', ${room}) where ${isOld}
  `.execute(tx);
  for (const asked of ['approval', 'question']) {
    await sql`
      update ${sql.table(asked)} set conversation = jsonb_set(conversation, '{room}', ${room})
      where state = 'pending' and conversation ->> 'channel' = ${from.channel}
        and conversation ->> 'account' = ${from.account} and conversation ->> 'room' = ${from.room}
    `.execute(tx);
  }
  for (const shown of ['approval_card', 'approval_list', 'question_card']) {
    await sql`
      update ${sql.table(shown)} set thread_key = ${newKey}, conversation = jsonb_set(conversation, '{room}', ${room})
      where ${isOld}
    `.execute(tx);
  }
  for (const pressed of ['action_token', 'approval_list_button', 'question_button', 'answer_prompt', 'offer_button']) {
    await sql`update ${sql.table(pressed)} set thread_key = ${newKey} where ${isOld}`.execute(tx);
  }
  await sql`
    update identity set dm_conversation = jsonb_set(dm_conversation, '{room}', ${room})
    where channel = ${from.channel} and account = ${from.account} and dm_conversation ->> 'room' = ${from.room}
  `.execute(tx);
}

/** Questions, then lanes: the order everybody takes who answers a question, so that nobody waits in a circle. */
async function lockOpenWork(tx: Tx, from: RoomPlace, prefix: string): Promise<void> {
  for (const asked of ['approval', 'question']) {
    await sql`
      select id from ${sql.table(asked)}
      where state = 'pending' and conversation ->> 'channel' = ${from.channel}
        and conversation ->> 'account' = ${from.account} and conversation ->> 'room' = ${from.room}
      order by id for update
    `.execute(tx);
  }
  await sql`
    select lane_lock(array(select id from session where starts_with(thread_key, ${prefix})))
  `.execute(tx);
}

/**
 * Sends what is still to be said to the new room. A message that waits for a press is posted there again; of others
 * only a new revision is, because the old room's message ids mean nothing in the new one.
 */
export async function redirectOutbox(tx: Tx, from: RoomPlace, newRoom: string): Promise<void> {
  const before = prefixOf(from);
  await sql`
    update outbox o set
      thread_key = ${prefixOf({ ...from, room: newRoom })} || substr(o.thread_key, ${before.length + 1}),
      conversation = jsonb_set(o.conversation, '{room}', to_jsonb(${newRoom}::text)),
      platform_ids = null, posted_ids = '{}', posted_revision = null, sent_hash = null,
      state = case when o.state = 'sent' and jsonb_path_exists(o.body, '$.parts[*].rows[*][*].token') then 'pending'
                   else o.state end,
      revision = case when o.state = 'sent' and jsonb_path_exists(o.body, '$.parts[*].rows[*][*].token')
                      then o.revision + 1 else o.revision end,
      not_before = clock_timestamp()
    where starts_with(o.thread_key, ${before}) and o.state in ('pending', 'sent', 'unknown')
  `.execute(tx);
}

function prefixOf(place: RoomPlace): string {
  return `${place.channel}:${place.account}:${place.room}:`;
}
