import { sql } from 'kysely';
import { z } from 'zod';
import type { Db, Tx } from '../kit/database.ts';
import { type Conversation, conversationSchema, threadKey } from '../sessions/origin.ts';
import type { ApprovalPress } from './approval.ts';

/** A message that shows one request. */
export interface ApprovalCard {
  /** Its outbox key. */
  readonly messageKey: string;
  readonly approvalId: string;
  readonly kind: 'origin' | 'copy' | 'reminder' | 'escalation';
  readonly conversation: Conversation;
}

const cardSchema = z.object({
  message_key: z.string(),
  approval_id: z.string(),
  kind: z.enum(['origin', 'copy', 'reminder', 'escalation']),
  conversation: conversationSchema,
});

/** Remembers cards; one that is known stays where it is. */
export async function insertCards(tx: Tx, cards: readonly ApprovalCard[]): Promise<void> {
  const items = cards.map((card) => ({ ...card, threadKey: threadKey(card.conversation) }));
  await sql`
    insert into approval_card (message_key, approval_id, kind, conversation, thread_key)
    select item ->> 'messageKey', (item ->> 'approvalId')::uuid, item ->> 'kind', item -> 'conversation', item ->> 'threadKey'
    from jsonb_array_elements(${JSON.stringify(items)}::jsonb) item
    on conflict (message_key) do nothing
  `.execute(tx);
}

/** The cards of some requests, the first shown first. */
export async function selectCards(db: Db | Tx, approvalIds: readonly string[]): Promise<ApprovalCard[]> {
  const { rows } = await sql`
    select message_key, approval_id, kind, conversation from approval_card
    where approval_id = any (${[...approvalIds]}::uuid[]) order by created_at, message_key
  `.execute(db);
  return rows.map((raw) => {
    const row = cardSchema.parse(raw);
    return {
      messageKey: row.message_key,
      approvalId: row.approval_id,
      kind: row.kind,
      conversation: row.conversation,
    };
  });
}

export async function insertTokens(
  tx: Tx,
  approvalId: string,
  key: string,
  tokens: readonly { readonly hash: string; readonly press: ApprovalPress }[],
): Promise<void> {
  await sql`
    insert into action_token (token_hash, approval_id, decision, thread_key)
    select item ->> 'hash', ${approvalId}::uuid, item ->> 'press', ${key}
    from jsonb_array_elements(${JSON.stringify(tokens)}::jsonb) item
  `.execute(tx);
}

/** Makes every button of a request worthless. */
export async function deleteTokens(tx: Tx, approvalId: string): Promise<void> {
  await sql`delete from action_token where approval_id = ${approvalId}`.execute(tx);
}

export async function findToken(
  db: Db | Tx,
  tokenHash: string,
): Promise<{ readonly approvalId: string; readonly press: ApprovalPress; readonly threadKey: string } | undefined> {
  const { rows } = await sql<{ approval_id: string; decision: ApprovalPress; thread_key: string }>`
    select approval_id, decision, thread_key from action_token where token_hash = ${tokenHash}
  `.execute(db);
  const row = rows[0];
  return row === undefined
    ? undefined
    : { approvalId: row.approval_id, press: row.decision, threadKey: row.thread_key };
}

/** A message that lists several requests for one person. */
export interface ApprovalList {
  readonly messageKey: string;
  readonly personId: string;
  readonly conversation: Conversation;
  /** In the order shown. */
  readonly approvalIds: readonly string[];
  /** How many more wait than fit on it. */
  readonly moreCount: number;
  readonly isConfirming: boolean;
}

/** What a button of a list does: asks whether all are meant, approves them all, or thinks better of it. */
export type ListAction = 'ask_all' | 'approve_all' | 'keep';

const listSchema = z.object({
  message_key: z.string(),
  person_id: z.string(),
  conversation: conversationSchema,
  approval_ids: z.array(z.string()),
  more_count: z.number(),
  is_confirming: z.boolean(),
});

export async function insertList(tx: Tx, list: ApprovalList): Promise<void> {
  await sql`
    insert into approval_list (message_key, person_id, conversation, thread_key, approval_ids, more_count)
    values (${list.messageKey}, ${list.personId}, ${JSON.stringify(list.conversation)}::jsonb,
      ${threadKey(list.conversation)}, ${[...list.approvalIds]}::uuid[], ${list.moreCount})
  `.execute(tx);
}

/** The lists that show some requests, newest first; older ones than a day have scrolled away. */
export async function selectLists(db: Db | Tx, approvalIds: readonly string[]): Promise<ApprovalList[]> {
  const { rows } = await sql`
    select message_key, person_id, conversation, approval_ids, more_count, is_confirming from approval_list
    where approval_ids && ${[...approvalIds]}::uuid[] and created_at > clock_timestamp() - interval '1 day'
    order by created_at desc limit 20
  `.execute(db);
  return rows.map(toList);
}

export async function selectList(db: Db | Tx, messageKey: string): Promise<ApprovalList | undefined> {
  const { rows } = await sql`
    select message_key, person_id, conversation, approval_ids, more_count, is_confirming from approval_list
    where message_key = ${messageKey}
  `.execute(db);
  return rows[0] === undefined ? undefined : toList(rows[0]);
}

export async function setConfirming(tx: Tx, messageKey: string, isConfirming: boolean): Promise<void> {
  await sql`update approval_list set is_confirming = ${isConfirming} where message_key = ${messageKey}`.execute(tx);
}

export async function insertListButtons(
  tx: Tx,
  list: Pick<ApprovalList, 'messageKey' | 'conversation'>,
  buttons: readonly { readonly hash: string; readonly action: ListAction }[],
): Promise<void> {
  await sql`
    insert into approval_list_button (token_hash, message_key, action, thread_key)
    select item ->> 'hash', ${list.messageKey}, item ->> 'action', ${threadKey(list.conversation)}
    from jsonb_array_elements(${JSON.stringify(buttons)}::jsonb) item
  `.execute(tx);
}

export async function findListButton(
  db: Db | Tx,
  tokenHash: string,
): Promise<{ readonly messageKey: string; readonly action: ListAction; readonly threadKey: string } | undefined> {
  const { rows } = await sql<{ message_key: string; action: ListAction; thread_key: string }>`
    select message_key, action, thread_key from approval_list_button where token_hash = ${tokenHash}
  `.execute(db);
  const row = rows[0];
  return row === undefined ? undefined : { messageKey: row.message_key, action: row.action, threadKey: row.thread_key };
}

/** Forgets lists that have scrolled away. */
export async function pruneLists(db: Db): Promise<void> {
  await sql`delete from approval_list where created_at < clock_timestamp() - interval '2 days'`.execute(db);
}

function toList(raw: unknown): ApprovalList {
  const row = listSchema.parse(raw);
  return {
    messageKey: row.message_key,
    personId: row.person_id,
    conversation: row.conversation,
    approvalIds: row.approval_ids,
    moreCount: row.more_count,
    isConfirming: row.is_confirming,
  };
}
