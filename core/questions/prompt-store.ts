import { sql } from 'kysely';
import type { Db, Tx } from '../kit/database.ts';
import { type Awaited, askedSecretSchema, type Prompt, type PromptSubject } from './prompt.ts';

interface PromptRow {
  id: string;
  person_id: string;
  approval_id: string | null;
  question_id: string | null;
  secret: unknown;
}

export async function insertPrompt(
  tx: Tx,
  prompt: Prompt & { readonly tokenHash: string; readonly threadKey: string; readonly validMs: number },
): Promise<void> {
  const { subject } = prompt;
  await sql`
    insert into answer_prompt (id, token_hash, approval_id, question_id, secret, person_id, thread_key, expires_at)
    values (${prompt.id}, ${prompt.tokenHash}, ${'approvalId' in subject ? subject.approvalId : null},
      ${'questionId' in subject ? subject.questionId : null},
      ${'secret' in subject ? JSON.stringify(subject.secret) : null}::jsonb, ${prompt.personId}, ${prompt.threadKey},
      clock_timestamp() + make_interval(secs => ${prompt.validMs / 1000}))
  `.execute(tx);
}

/** From now on a message answers the prompt too, for as long as this. */
export async function setPromptLine(tx: Tx, id: string, messageKey: string, validMs: number): Promise<void> {
  await sql`
    update answer_prompt set message_key = ${messageKey},
      expires_at = clock_timestamp() + make_interval(secs => ${validMs / 1000})
    where id = ${id}
  `.execute(tx);
}

/** Uses a prompt once. @returns undefined when it is used, expired or somebody else's. */
export async function usePrompt(
  tx: Tx,
  which: { readonly tokenHash: string } | { readonly id: string },
  personId: string,
): Promise<Prompt | undefined> {
  const { rows } = await sql<PromptRow>`
    update answer_prompt set used_at = clock_timestamp()
    where (token_hash = ${'tokenHash' in which ? which.tokenHash : null} or id = ${'id' in which ? which.id : null})
      and person_id = ${personId} and used_at is null and expires_at > clock_timestamp()
    returning id, person_id, approval_id, question_id, secret
  `.execute(tx);
  const row = rows[0];
  if (row === undefined) return undefined;
  return { id: row.id, personId: row.person_id, subject: subjectOf(row) };
}

function subjectOf(row: PromptRow): PromptSubject {
  if (row.approval_id !== null) return { approvalId: row.approval_id };
  if (row.question_id !== null) return { questionId: row.question_id };
  return { secret: askedSecretSchema.parse(row.secret) };
}

/** Whether a prompt asks for the value of a secret, used or not: such words are never read as anything else. */
export async function isSecretPrompt(
  db: Db | Tx,
  which: { readonly tokenHash: string } | { readonly id: string },
): Promise<boolean> {
  const { rows } = await sql`
    select from answer_prompt
    where (token_hash = ${'tokenHash' in which ? which.tokenHash : null} or id = ${'id' in which ? which.id : null})
      and secret is not null
  `.execute(db);
  return rows.length > 0;
}

/**
 * What is asked that a message of this person answers. A reply names what it answers, also one that opens a thread below
 * it; a message that replies to nothing of ours counts only where `isAlone` says that the conversation is between the two.
 */
export async function selectAwaited(
  db: Db,
  message: {
    readonly inboxId: string;
    readonly threadKey: string;
    readonly personId: string;
    readonly replyToId: string | undefined;
    /** Of the stream above, and the message there that this thread hangs on. */
    readonly parent: { readonly threadKey: string; readonly messageId: string } | undefined;
    readonly isAlone: boolean;
    /** Beginning of the thread keys of a private chat in which this message opens a thread of its own. */
    readonly privateRoom: string | undefined;
  },
): Promise<Awaited | undefined> {
  const { threadKey, personId, replyToId, parent, isAlone, privateRoom } = message;
  const keys = parent === undefined ? [threadKey] : [threadKey, parent.threadKey];
  const awaiting = sql`
    select c.message_key from approval_card c join approval a on a.id = c.approval_id
      where c.thread_key = any (${keys}::text[]) and a.state = 'pending'
    union all
    select c.message_key from question_card c join question q on q.id = c.question_id
      where c.thread_key = any (${keys}::text[]) and c.kind = 'ask' and q.state = 'pending'
    union all
    select p.message_key from answer_prompt p
      where p.thread_key = any (${keys}::text[]) and p.person_id = ${personId} and p.used_at is null
        and p.message_key is not null and p.expires_at > clock_timestamp()
    union all
    -- A second routing of the message that held a secret must find that it was one.
    select p.message_key from answer_prompt p
      where p.thread_key = any (${keys}::text[]) and p.person_id = ${personId} and p.secret is not null
        and p.used_at > clock_timestamp() - interval '1 hour'`;
  if (privateRoom === undefined) {
    // Asked apart: nearly every message meets nothing that waits, and the rest costs more to plan than this to run.
    const { rows: first } = await sql`select 1 as one from (${awaiting}) w limit 1`.execute(db);
    if (first.length === 0) return undefined;
  }
  const { rows } = await sql<{
    prompt_id: string | null;
    question_id: string | null;
    approval_id: string | null;
    has_ended: boolean | null;
  }>`
    with awaiting as materialized (${awaiting}), replied as materialized (
      select o.key from outbox o
      where ${replyToId ?? null}::text is not null and o.thread_key = ${threadKey}
        and o.platform_ids @> array[${replyToId ?? null}::text]
      union all
      select o.key from outbox o
      where ${parent?.messageId ?? null}::text is not null and o.thread_key = ${parent?.threadKey ?? null}::text
        and o.platform_ids @> array[${parent?.messageId ?? null}::text]
    ), answered as materialized (
      select r.key from replied r join awaiting w on w.message_key = r.key limit 1
    ), loose as (
      select ${isAlone}::boolean and not exists (select from replied) as is_loose
    )
    select
      (select p.id from answer_prompt p, loose
       where p.person_id = ${personId} and p.used_at is null and p.message_key is not null
         and p.expires_at > clock_timestamp()
         and (p.message_key = (select key from answered) or (is_loose and (
           p.thread_key = ${threadKey} or starts_with(p.thread_key, ${privateRoom ?? null}::text))))
       order by p.created_at desc limit 1) as prompt_id,
      (select q.id from question_card c join question q on q.id = c.question_id, loose
       where c.kind = 'ask' and q.state = 'pending'
         and (c.message_key = (select key from answered)
              or (is_loose and c.thread_key = ${threadKey} and coalesce(q.asked_id, q.requester_id) = ${personId})
              -- What they ask for themselves there is a conversation of its own; what they are asked is not.
              or (is_loose and q.asked_id = ${personId} and starts_with(c.thread_key, ${privateRoom ?? null}::text)))
       order by q.created_at desc limit 1) as question_id,
      (select c.approval_id from approval_card c where c.message_key = (select key from answered)) as approval_id,
      (select i.state <> 'pending' from inbox i where i.id = ${message.inboxId} and exists (
         select from answer_prompt p
         where p.person_id = ${personId} and p.secret is not null and p.used_at > clock_timestamp() - interval '1 hour'
           and (p.thread_key = any (${keys}::text[]) or starts_with(p.thread_key, ${privateRoom ?? null}::text))
       )) as has_ended
  `.execute(db);
  const row = rows[0];
  if (row === undefined) return undefined;
  if (row.has_ended === true) return { kind: 'ended' };
  if (row.prompt_id !== null) return { kind: 'prompt', promptId: row.prompt_id };
  if (row.question_id !== null) return { kind: 'question', questionId: row.question_id };
  return row.approval_id === null ? undefined : { kind: 'approval', approvalId: row.approval_id };
}

/** Asks a person for no secret any more. */
export async function expireSecretPrompts(tx: Tx, personId: string): Promise<void> {
  await sql`
    update answer_prompt set expires_at = clock_timestamp()
    where person_id = ${personId} and secret is not null and used_at is null and expires_at > clock_timestamp()
  `.execute(tx);
}

/** Forgets prompts that can be answered no more. */
export async function prunePrompts(db: Db): Promise<void> {
  await sql`delete from answer_prompt where expires_at < clock_timestamp() - interval '1 day'`.execute(db);
}
