import { sql } from 'kysely';
import type { Db } from '../kit/database.ts';
import { newId } from '../kit/ids.ts';
import { toStorableJson } from '../kit/json.ts';
import { type Conversation, threadKey } from '../sessions/origin.ts';

/** An answer that is being streamed natively: the platform has a message that no delivery has made. */
export interface StreamedAnswer {
  /** The outbox key its final form will carry. */
  readonly key: string;
  readonly conversation: Conversation;
  readonly sessionId: string;
  readonly turnId: string;
  readonly platformIds: readonly string[];
  /** What it shows so far, so that nothing of it is lost when nobody can go on with it. */
  readonly markdown: string;
}

/**
 * Records the platform messages of streams, so that the final text is an edit of them, whoever delivers it. A final text
 * that is written already stays; one that was posted meanwhile keeps its own messages.
 * @returns of each stream whether its messages are the answer's now; otherwise nobody will ever end it.
 */
export async function recordStreams(db: Db, streams: readonly StreamedAnswer[]): Promise<boolean[]> {
  const items = streams.map((stream) => ({
    id: newId(),
    key: stream.key,
    session_id: stream.sessionId,
    turn_id: stream.turnId,
    conversation: stream.conversation,
    thread_key: threadKey(stream.conversation),
    ids: stream.platformIds,
    body: { parts: [{ type: 'markdown', markdown: stream.markdown }] },
  }));
  const { rows } = await sql<{ key: string; platform_ids: string[] | null }>`
    insert into outbox (id, key, session_id, turn_id, conversation, thread_key, importance, body, is_final, state,
      sent_revision, platform_ids, sent_at)
    select r.id, r.key, r.session_id, r.turn_id, r.conversation, r.thread_key, 'progress', r.body, false, 'sent', 1,
      array(select jsonb_array_elements_text(r.ids)), clock_timestamp()
    from jsonb_to_recordset(${toStorableJson(items)}::jsonb) as r(id uuid, key text, session_id uuid, turn_id uuid,
      conversation jsonb, thread_key text, ids jsonb, body jsonb) order by r.key
    on conflict (key) do update set
      platform_ids = case
        when outbox.platform_ids && excluded.platform_ids or (outbox.platform_ids is null and outbox.state = 'pending')
          then excluded.platform_ids
        else outbox.platform_ids end,
      body = case when outbox.is_final then outbox.body else excluded.body end
    returning key, platform_ids
  `.execute(db);
  const recorded = new Map(rows.map((row) => [row.key, row.platform_ids ?? []]));
  return streams.map(({ key, platformIds }) => platformIds.every((id) => recorded.get(key)?.includes(id) === true));
}

/** Whether a message with this key was begun and not given up, whoever did it. */
export async function isBegun(db: Db, key: string): Promise<boolean> {
  const { rows } = await sql`select 1 from outbox where key = ${key} and state <> 'dead'`.execute(db);
  return rows.length > 0;
}
