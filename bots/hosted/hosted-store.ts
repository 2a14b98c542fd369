import { sql } from 'kysely';
import type { Db } from '#core/kit/database.ts';
import { toStorableJson } from '#core/kit/json.ts';
import { type OutboundBody, outboundBodySchema } from '#core/outbox/outbound.ts';
import { type HostedMessage, type HostedNote, hostedNotifications } from './hosted-event.ts';

interface MessageRow {
  id: number;
  change: number;
  message_id: string;
  direction: 'in' | 'out';
  author: string | null;
  body: unknown;
  revision: number;
  created_at: Date;
  deleted_at: Date | null;
}

export interface PutMessage {
  readonly threadKey: string;
  readonly messageId: string;
  readonly direction: 'in' | 'out';
  readonly author?: string;
  readonly body: OutboundBody;
}

/**
 * Posts a message; the same `messageId` again makes the existing one equal to `body`, so that a repeated send is
 * harmless. Followers are notified at commit, and only when something changed.
 * @returns whether anything changed: false for a repetition.
 */
export async function putMessage(db: Db, message: PutMessage): Promise<boolean> {
  const { rows } = await sql`
    with place as (
      insert into console_thread (thread_key, last_change) values (${message.threadKey}, 1)
      on conflict (thread_key) do update set last_change = console_thread.last_change + 1
      returning last_change
    ), put as (
      insert into console_message (thread_key, message_id, direction, author, body, change)
      select ${message.threadKey}, ${message.messageId}, ${message.direction}, ${message.author ?? null},
             ${toStorableJson(message.body)}::jsonb, last_change
      from place
      on conflict (thread_key, message_id) do update
        set body = excluded.body, change = excluded.change, revision = console_message.revision + 1, deleted_at = null
        -- What a person wrote never changes under its key; taken back because it was refused, it may be said again.
        where case when excluded.direction = 'in' then console_message.deleted_at is not null
                   else console_message.deleted_at is null and console_message.body is distinct from excluded.body end
      returning change
    )
    select ${notifyChange(message.threadKey)} from put
  `.execute(db);
  return rows.length > 0;
}

/** Makes a posted message equal to `body`. @returns false when there is no such message any more. */
export async function editMessage(db: Db, threadKey: string, messageId: string, body: OutboundBody): Promise<boolean> {
  const { rows } = await sql`
    with place as (
      update console_thread set last_change = last_change + 1 where thread_key = ${threadKey} returning last_change
    ), changed as (
      update console_message m set body = ${toStorableJson(body)}::jsonb, change = place.last_change,
        revision = m.revision + 1
      from place
      where m.thread_key = ${threadKey} and m.message_id = ${messageId} and m.deleted_at is null
      returning m.change
    )
    select ${notifyChange(threadKey)} from changed
  `.execute(db);
  return rows.length > 0;
}

/** Takes messages back. What was said is forgotten, that something was said is not. Twice is harmless. */
export async function deleteMessages(db: Db, threadKey: string, messageIds: readonly string[]): Promise<void> {
  await sql`
    with place as (
      update console_thread set last_change = last_change + 1 where thread_key = ${threadKey} returning last_change
    ), changed as (
      update console_message m set body = '{"parts":[]}', change = place.last_change, revision = m.revision + 1,
        deleted_at = clock_timestamp()
      from place
      where m.thread_key = ${threadKey} and m.message_id = any(${[...messageIds]}::text[]) and m.deleted_at is null
      returning m.change
    )
    select ${notifyChange(threadKey)} from changed limit 1
  `.execute(db);
}

/** Tells followers something that is not kept. Postgres refuses payloads of 8,000 bytes and more. */
export async function notifyFollowers(db: Db, note: HostedNote): Promise<void> {
  await sql`select pg_notify(${hostedNotifications}, ${JSON.stringify(note)})`.execute(db);
}

/** The newest messages, or those before `beforeId`, oldest first; deleted ones are left out. */
export async function readHistory(
  db: Db,
  threadKey: string,
  options: { readonly rowsMax: number; readonly beforeId?: number | undefined },
): Promise<{ readonly messages: HostedMessage[]; readonly change: number }> {
  // The cursor is read first: a message that comes between the two reads is then seen twice rather than never.
  const head = await sql<{ last_change: number }>`
    select last_change from console_thread where thread_key = ${threadKey}
  `.execute(db);
  const { rows } = await sql<MessageRow>`
    select * from console_message
    where thread_key = ${threadKey} and deleted_at is null and id < ${options.beforeId ?? 2 ** 31 - 1}
    order by id desc limit ${options.rowsMax}
  `.execute(db);
  return { messages: rows.reverse().map(toMessage), change: head.rows[0]?.last_change ?? 0 };
}

/** Messages that were posted, edited or deleted after a change number, in the order of their newest change. */
export async function readChanges(db: Db, threadKey: string, since: number, rowsMax: number): Promise<HostedMessage[]> {
  const { rows } = await sql<MessageRow>`
    select * from console_message where thread_key = ${threadKey} and change > ${since}
    order by change, id limit ${rowsMax}
  `.execute(db);
  return rows.map(toMessage);
}

/** A conversation in a list. */
export interface ThreadLine {
  readonly threadKey: string;
  /** The beginning of what was said first. */
  readonly title: string;
  /** When something was said last. */
  readonly at: Date;
}

/** The conversations whose key begins with `prefix`, the one that was active last first. */
export async function listThreads(db: Db, prefix: string, rowsMax: number): Promise<ThreadLine[]> {
  const { rows } = await sql<{ thread_key: string; title: string | null; at: Date }>`
    select t.thread_key, last.created_at as at, (
        select left(part ->> 'markdown', 120) from console_message m, jsonb_array_elements(m.body -> 'parts') part
        where m.thread_key = t.thread_key and m.direction = 'in' and m.deleted_at is null
          and part ->> 'type' = 'markdown'
        order by m.id limit 1) as title
    from console_thread t cross join lateral (
      select id, created_at from console_message m
      where m.thread_key = t.thread_key and m.deleted_at is null order by m.id desc limit 1) last
    where t.thread_key like ${`${prefix.replaceAll(/[\\%_]/g, '\\$&')}%`}
    order by last.id desc limit ${rowsMax}
  `.execute(db);
  return rows.map((row) => ({ threadKey: row.thread_key, title: row.title ?? '', at: row.at }));
}

/** One message, for the files in it. */
export async function findMessage(db: Db, threadKey: string, messageId: string): Promise<HostedMessage | undefined> {
  const { rows } = await sql<MessageRow>`
    select * from console_message
    where thread_key = ${threadKey} and message_id = ${messageId} and deleted_at is null
  `.execute(db);
  return rows[0] === undefined ? undefined : toMessage(rows[0]);
}

function notifyChange(threadKey: string) {
  return sql`pg_notify(${hostedNotifications}, json_build_object('kind', 'message', 'threadKey', ${threadKey}::text,
    'change', change)::text)`;
}

function toMessage(row: MessageRow): HostedMessage {
  return {
    id: row.id,
    change: row.change,
    messageId: row.message_id,
    direction: row.direction,
    author: row.author ?? undefined,
    body: outboundBodySchema.parse(row.body),
    revision: row.revision,
    createdAt: row.created_at,
    isDeleted: row.deleted_at !== null,
  };
}
