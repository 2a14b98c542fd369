import { sql } from 'kysely';
import { z } from 'zod';
import type { Db, Tx } from '../kit/database.ts';
import { toWellFormed } from '../kit/json.ts';
import { type Conversation, conversationSchema, threadKey } from '../sessions/origin.ts';
import { type Broadcast, broadcastLevels, broadcastPriorities } from './broadcast.ts';
import type { Place } from './resolve-target.ts';

export interface NewBroadcast {
  readonly id: string;
  readonly markdown: string;
  readonly level: Broadcast['level'];
  readonly priority: Broadcast['priority'];
  readonly author: string;
  readonly createdBy: string | undefined;
  readonly turnId: string | undefined;
  /** The message that tells the author what became of it. */
  readonly report: { readonly key: string; readonly conversation: Conversation } | undefined;
}

/** @returns false when it was said before under this id. */
export async function insertBroadcast(tx: Tx, broadcast: NewBroadcast): Promise<boolean> {
  const result = await sql`
    insert into broadcast (id, markdown, level, priority, author, created_by, turn_id, report_key, report_conversation)
    values (${broadcast.id}, ${toWellFormed(broadcast.markdown)}, ${broadcast.level}, ${broadcast.priority},
      ${toWellFormed(broadcast.author)}, ${broadcast.createdBy ?? null}, ${broadcast.turnId ?? null},
      ${broadcast.report?.key ?? null}, ${broadcast.report === undefined ? null : JSON.stringify(broadcast.report.conversation)}::jsonb)
    on conflict (id) do nothing
  `.execute(tx);
  return (result.numAffectedRows ?? 0n) > 0n;
}

/** Remembers where a broadcast goes; a target without a key says why it goes nowhere. */
export async function insertTargets(
  tx: Tx,
  broadcastId: string,
  targets: readonly (
    | { readonly place: Place; readonly messageKey: string }
    | { readonly target: string; readonly reason: string }
  )[],
): Promise<void> {
  const items = targets.map((item, ordinal) =>
    'place' in item
      ? {
          ordinal,
          target: item.place.target,
          messageKey: item.messageKey,
          threadKey: threadKey(item.place.conversation),
          problem: null,
        }
      : { ordinal, target: item.target, messageKey: null, threadKey: null, problem: item.reason },
  );
  await sql`
    insert into broadcast_target (broadcast_id, ordinal, target, message_key, thread_key, problem)
    select ${broadcastId}::uuid, (item ->> 'ordinal')::integer, item ->> 'target', item ->> 'messageKey',
      item ->> 'threadKey', item ->> 'problem'
    from jsonb_array_elements(${JSON.stringify(items)}::jsonb) item
  `.execute(tx);
}

const resultSchema = z.object({
  target: z.string(),
  thread_key: z.string().nullable(),
  problem: z.string().nullable(),
  state: z.string().nullable(),
  last_error: z.string().nullable(),
  sent_at: z.coerce.date().nullable(),
});

const rowSchema = z.object({
  id: z.string(),
  markdown: z.string(),
  level: z.enum(broadcastLevels),
  priority: z.enum(broadcastPriorities),
  author: z.string(),
  created_at: z.date(),
  results: z.array(resultSchema),
});

const reportSchema = z.object({ id: z.string(), report_key: z.string(), report_conversation: conversationSchema });

/** Broadcasts whose author is still to be told how they ended; a day later nobody reads it any more. */
export async function selectUnsettled(
  db: Db,
): Promise<{ readonly id: string; readonly key: string; readonly conversation: Conversation }[]> {
  const { rows } = await sql`
    select id, report_key, report_conversation from broadcast
    where report_key is not null and not is_settled and created_at > clock_timestamp() - interval '1 day'
    order by created_at limit 50
  `.execute(db);
  return rows.map((raw) => {
    const row = reportSchema.parse(raw);
    return { id: row.id, key: row.report_key, conversation: row.report_conversation };
  });
}

export async function markSettled(tx: Tx, id: string): Promise<void> {
  await sql`update broadcast set is_settled = true where id = ${id}`.execute(tx);
}

/** Broadcasts with what became of them, newest first. */
export async function selectBroadcasts(
  db: Db | Tx,
  filter: { readonly id?: string; readonly rowsMax: number },
): Promise<Broadcast[]> {
  const { rows } = await sql`
    select b.id, b.markdown, b.level, b.priority, b.author, b.created_at,
      coalesce((
        select jsonb_agg(jsonb_build_object('target', t.target, 'thread_key', t.thread_key, 'problem', t.problem,
          'state', case when h.id is null then o.state else 'sent' end, 'last_error', o.last_error,
          'sent_at', coalesce(h.created_at, o.sent_at)) order by t.ordinal)
        from broadcast_target t
          left join outbox o on o.key = t.message_key
          -- What an agent gets is a turn and no message.
          left join turn h on h.event_key = t.message_key
        where t.broadcast_id = b.id), '[]'::jsonb) as results
    from broadcast b
    where (${filter.id ?? null}::uuid is null or b.id = ${filter.id ?? null})
    order by b.created_at desc, b.id desc limit ${filter.rowsMax}
  `.execute(db);
  return rows.map((raw) => {
    const row = rowSchema.parse(raw);
    return {
      id: row.id,
      markdown: row.markdown,
      level: row.level,
      priority: row.priority,
      author: row.author,
      createdAt: row.created_at,
      results: row.results.map((result) => ({
        target: result.target,
        threadKey: result.thread_key ?? undefined,
        ...outcomeOf(result),
        deliveredAt: result.sent_at ?? undefined,
      })),
    };
  });
}

/** Forgets broadcasts of long ago. */
export async function pruneBroadcasts(db: Db): Promise<void> {
  await sql`delete from broadcast where created_at < clock_timestamp() - interval '90 days'`.execute(db);
}

function outcomeOf(row: z.infer<typeof resultSchema>): Pick<Broadcast['results'][number], 'state' | 'reason'> {
  if (row.problem !== null) return { state: 'failed', reason: row.problem };
  switch (row.state) {
    case 'sent':
      return { state: 'delivered', reason: undefined };
    case 'dead':
      return { state: 'failed', reason: row.last_error ?? 'it could not be delivered' };
    case 'unknown':
      return { state: 'unknown', reason: row.last_error ?? undefined };
    case null:
      // Delivered messages are pruned before their broadcast is.
      return { state: 'unknown', reason: 'the message is not kept any more' };
    default:
      return { state: 'waiting', reason: row.last_error ?? undefined };
  }
}
