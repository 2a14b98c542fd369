import type { AuditRecord } from '../audit/audit.ts';
import { findExternalId } from '../broadcast/find-person.ts';
import { findPrivatePlaces } from '../broadcast/find-private-places.ts';
import type { Tx } from '../kit/database.ts';
import { AppError } from '../kit/errors.ts';
import { newId, newToken, sha256 } from '../kit/ids.ts';
import { putMessages } from '../outbox/put-messages.ts';
import { threadKey } from '../sessions/origin.ts';
import { type Question, questionCardKey } from './question.ts';
import { questionCard, questionNote } from './question-card.ts';
import {
  insertQuestion,
  insertQuestionButtons,
  insertQuestionCards,
  type NewQuestion,
  type QuestionCard,
  selectQuestionOfCall,
} from './question-store.ts';

/** What an agent wants to know; a turn asks once for one call. */
export type QuestionRequest = Omit<NewQuestion, 'id'>;

export interface AskedQuestion {
  readonly question: Question;
  /** To be appended at the end of the caller's transaction; undefined when it was asked before. */
  readonly audit: AuditRecord | undefined;
}

/**
 * Writes a question and its cards in the caller's transaction. Repeated for the same call it gives the question as it
 * stands now, so that a turn that is taken up again finds its answer.
 * @throws AppError `person.unreachable` when whoever is asked cannot be written to anywhere.
 */
export async function askQuestion(tx: Tx, request: QuestionRequest): Promise<AskedQuestion> {
  const question = await insertQuestion(tx, { ...request, id: newId() });
  if (question === undefined) {
    const known = await selectQuestionOfCall(tx, request.turnId, request.callId);
    if (known === undefined) throw new AppError('invariant.broken', 'A question that was asked before is gone.');
    return { question: known, audit: undefined };
  }
  const cards = await cardsOf(tx, question);
  await insertQuestionCards(tx, cards);
  for (const card of cards) {
    if (card.kind === 'note') {
      await putMessages(tx, [questionNote(question, card)]);
      continue;
    }
    const tokens = { choices: question.choices.map(() => newToken()), words: newToken() };
    const key = threadKey(card.conversation);
    await insertQuestionButtons(tx, [
      ...tokens.choices.map((token, choice) => ({
        hash: hashQuestionToken(token),
        questionId: question.id,
        choice,
        threadKey: key,
      })),
      { hash: hashQuestionToken(tokens.words), questionId: question.id, choice: undefined, threadKey: key },
    ]);
    const asked = question.askedId ?? question.requesterId;
    const mention =
      asked === undefined || card.conversation.kind === 'dm'
        ? undefined
        : await findExternalId(tx, asked, card.conversation);
    await putMessages(tx, [questionCard(question, card, tokens, mention)]);
  }
  return { question, audit: askedRecord(question) };
}

/** The form a button's token is kept in. */
export function hashQuestionToken(token: string): string {
  return sha256(`question-token:${token}`);
}

/** Whoever else is asked is written to in private where they can be reached, and otherwise where the work is. */
async function cardsOf(tx: Tx, question: Question): Promise<QuestionCard[]> {
  const here: QuestionCard = {
    messageKey: questionCardKey(question.id),
    questionId: question.id,
    kind: 'ask',
    conversation: question.conversation,
  };
  const { askedId } = question;
  if (askedId === undefined || askedId === question.requesterId) return [here];
  const reaches = await findPrivatePlaces(tx, askedId);
  if (reaches.length === 0) {
    if (question.conversation.kind !== 'dm') return [here];
    throw new AppError('person.unreachable', `${question.askedName ?? 'This person'} cannot be written to.`, {
      mend: 'They have to write to the bot in private once, so that it may answer.',
    });
  }
  const origin = threadKey(question.conversation);
  if (reaches.some(({ conversation }) => threadKey(conversation) === origin)) return [here];
  return [
    { ...here, kind: 'note' },
    ...reaches.map(({ conversation }): QuestionCard => {
      return { ...here, messageKey: questionCardKey(question.id, threadKey(conversation)), conversation };
    }),
  ];
}

function askedRecord(question: Question): AuditRecord {
  return {
    kind: 'question.asked',
    chainKey: question.sessionId,
    sessionId: question.sessionId,
    body: {
      questionId: question.id,
      turnId: question.turnId,
      callId: question.callId,
      agentName: question.agentName,
      askedId: question.askedId,
      requesterId: question.requesterId,
      expiresAt: question.expiresAt.toISOString(),
    },
  };
}
