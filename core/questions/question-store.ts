import { sql } from 'kysely';
import { z } from 'zod';
import type { Db, Tx } from '../kit/database.ts';
import { toWellFormed } from '../kit/json.ts';
import { type Conversation, conversationSchema, threadKey } from '../sessions/origin.ts';
import { answerCharsMax, type Question } from './question.ts';

const rowSchema = z.object({
  id: z.string(),
  session_id: z.string(),
  turn_id: z.string(),
  call_id: z.string(),
  agent_name: z.string(),
  text: z.string(),
  choices: z.array(z.string()),
  requester_id: z.string().nullable(),
  asked_id: z.string().nullable(),
  asked_name: z.string().nullable(),
  conversation: conversationSchema,
  state: z.enum(['pending', 'answered', 'expired', 'cancelled']),
  answer: z.string().nullable(),
  answered_by: z.string().nullable(),
  answered_by_name: z.string().nullable(),
  created_at: z.date(),
  expires_at: z.date(),
  closed_at: z.date().nullable(),
});

const columns = sql`
  q.id, q.session_id, q.turn_id, q.call_id, q.agent_name, q.text, q.choices, q.requester_id, q.asked_id,
  (select p.display_name from person p where p.id = q.asked_id) as asked_name, q.conversation, q.state, q.answer,
  q.answered_by, (select p.display_name from person p where p.id = q.answered_by) as answered_by_name, q.created_at,
  q.expires_at, q.closed_at`;

export type NewQuestion = Pick<
  Question,
  | 'id'
  | 'sessionId'
  | 'turnId'
  | 'callId'
  | 'agentName'
  | 'text'
  | 'choices'
  | 'requesterId'
  | 'askedId'
  | 'conversation'
> & { readonly validMs: number };

/** @returns undefined when the same call has asked before. */
export async function insertQuestion(tx: Tx, question: NewQuestion): Promise<Question | undefined> {
  const { rows } = await sql`
    insert into question as q (id, session_id, turn_id, call_id, agent_name, text, choices, requester_id, asked_id,
      conversation, expires_at)
    values (${question.id}, ${question.sessionId}, ${question.turnId}, ${question.callId}, ${question.agentName},
      ${toWellFormed(question.text)}, ${JSON.stringify(question.choices.map(toWellFormed))}::jsonb,
      ${question.requesterId ?? null}, ${question.askedId ?? null}, ${JSON.stringify(question.conversation)}::jsonb,
      clock_timestamp() + make_interval(secs => ${question.validMs / 1000}))
    on conflict (turn_id, call_id) do nothing
    returning ${columns}
  `.execute(tx);
  return rows[0] === undefined ? undefined : toQuestion(rows[0]);
}

export async function selectQuestionOfCall(db: Db | Tx, turnId: string, callId: string): Promise<Question | undefined> {
  const { rows } = await sql`
    select ${columns} from question q where q.turn_id = ${turnId} and q.call_id = ${callId}
  `.execute(db);
  return rows[0] === undefined ? undefined : toQuestion(rows[0]);
}

/** The row lock makes two answers to one question take turns; the second sees what the first said. */
export async function lockQuestion(
  tx: Tx,
  id: string,
): Promise<{ readonly question: Question; readonly isOverdue: boolean } | undefined> {
  const { rows } = await sql<{ is_overdue: boolean }>`
    select ${columns}, q.expires_at <= clock_timestamp() as is_overdue from question q where q.id = ${id} for update of q
  `.execute(tx);
  const row = rows[0];
  return row === undefined ? undefined : { question: toQuestion(row), isOverdue: row.is_overdue };
}

/** Answers a pending question that has not expired. @returns undefined when it was neither any more. */
export async function markAnswered(
  tx: Tx,
  id: string,
  answer: { readonly text: string; readonly personId: string; readonly via: string },
): Promise<Question | undefined> {
  const { rows } = await sql`
    update question q set state = 'answered', closed_at = clock_timestamp(), answered_by = ${answer.personId},
      via = ${answer.via}, answer = ${toWellFormed(answer.text).slice(0, answerCharsMax)}
    where q.id = ${id} and q.state = 'pending' and q.expires_at > clock_timestamp()
    returning ${columns}
  `.execute(tx);
  return rows[0] === undefined ? undefined : toQuestion(rows[0]);
}

/** Ends one pending question whose time is over, passing by those that somebody is answering right now. */
export async function expireOne(tx: Tx): Promise<Question | undefined> {
  const { rows } = await sql`
    update question q set state = 'expired', closed_at = clock_timestamp()
    where q.id = (
      select id from question where state = 'pending' and expires_at <= clock_timestamp()
      order by expires_at limit 1 for update skip locked)
    returning ${columns}
  `.execute(tx);
  return rows[0] === undefined ? undefined : toQuestion(rows[0]);
}

export async function cancelPendingQuestions(
  tx: Tx,
  filter: { readonly turnId?: string; readonly sessionId?: string },
): Promise<Question[]> {
  const { rows } = await sql`
    update question q set state = 'cancelled', closed_at = clock_timestamp()
    where q.id in (
      select id from question
      where state = 'pending' and (turn_id = ${filter.turnId ?? null} or session_id = ${filter.sessionId ?? null})
      order by id for update)
    returning ${columns}
  `.execute(tx);
  return rows.map(toQuestion);
}

/** Turns that have ended although a question of theirs is still open: another message interrupted them. */
export async function selectTurnsWithOpenQuestions(db: Db, rowsMax: number): Promise<string[]> {
  const { rows } = await sql<{ turn_id: string }>`
    select distinct q.turn_id from question q join turn t on t.id = q.turn_id
    where q.state = 'pending' and t.state in ('done', 'failed', 'cancelled') limit ${rowsMax}
  `.execute(db);
  return rows.map((row) => row.turn_id);
}

/** A message that shows a question. */
export interface QuestionCard {
  readonly messageKey: string;
  readonly questionId: string;
  readonly kind: 'ask' | 'note';
  readonly conversation: Conversation;
}

export async function insertQuestionCards(tx: Tx, cards: readonly QuestionCard[]): Promise<void> {
  const items = cards.map((card) => ({ ...card, threadKey: threadKey(card.conversation) }));
  await sql`
    insert into question_card (message_key, question_id, kind, conversation, thread_key)
    select item ->> 'messageKey', (item ->> 'questionId')::uuid, item ->> 'kind', item -> 'conversation',
      item ->> 'threadKey'
    from jsonb_array_elements(${JSON.stringify(items)}::jsonb) item
  `.execute(tx);
}

const cardSchema = z.object({
  message_key: z.string(),
  question_id: z.string(),
  kind: z.enum(['ask', 'note']),
  conversation: conversationSchema,
});

export async function selectQuestionCards(db: Db | Tx, questionId: string): Promise<QuestionCard[]> {
  const { rows } = await sql`
    select message_key, question_id, kind, conversation from question_card where question_id = ${questionId}
    order by message_key
  `.execute(db);
  return rows.map((raw) => {
    const row = cardSchema.parse(raw);
    return {
      messageKey: row.message_key,
      questionId: row.question_id,
      kind: row.kind,
      conversation: row.conversation,
    };
  });
}

/** A button of a card: one of the choices, or a form for an answer in words. */
export interface QuestionButton {
  readonly questionId: string;
  readonly choice: number | undefined;
  readonly threadKey: string;
}

export async function insertQuestionButtons(
  tx: Tx,
  buttons: readonly (QuestionButton & { readonly hash: string })[],
): Promise<void> {
  await sql`
    insert into question_button (token_hash, question_id, choice, thread_key)
    select item ->> 'hash', (item ->> 'questionId')::uuid, (item ->> 'choice')::integer, item ->> 'threadKey'
    from jsonb_array_elements(${JSON.stringify(buttons)}::jsonb) item
  `.execute(tx);
}

export async function findQuestionButton(db: Db | Tx, tokenHash: string): Promise<QuestionButton | undefined> {
  const { rows } = await sql<{ question_id: string; choice: number | null; thread_key: string }>`
    select question_id, choice, thread_key from question_button where token_hash = ${tokenHash}
  `.execute(db);
  const row = rows[0];
  return row === undefined
    ? undefined
    : { questionId: row.question_id, choice: row.choice ?? undefined, threadKey: row.thread_key };
}

function toQuestion(raw: unknown): Question {
  const row = rowSchema.parse(raw);
  return {
    id: row.id,
    sessionId: row.session_id,
    turnId: row.turn_id,
    callId: row.call_id,
    agentName: row.agent_name,
    text: row.text,
    choices: row.choices,
    requesterId: row.requester_id ?? undefined,
    askedId: row.asked_id ?? undefined,
    askedName: row.asked_name ?? undefined,
    conversation: row.conversation,
    state: row.state,
    answer: row.answer ?? undefined,
    answeredBy: row.answered_by ?? undefined,
    answeredByName: row.answered_by_name ?? undefined,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    closedAt: row.closed_at ?? undefined,
  };
}
