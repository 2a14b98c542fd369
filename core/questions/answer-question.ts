import { appendAudit } from '../audit/append-audit.ts';
import type { Tx } from '../kit/database.ts';
import type { LaneWake } from '../lanes/lane.ts';
import { resumeTurns } from '../lanes/resume-turns.ts';
import { roleOf } from '../people/identify.ts';
import { hashQuestionToken } from './ask-question.ts';
import { closeCards } from './close-cards.ts';
import { answerRefusal, type Question } from './question.ts';
import { findQuestionButton, lockQuestion, markAnswered } from './question-store.ts';

/** An answer in words to a question that is known. */
export interface QuestionAnswer {
  readonly questionId: string;
  readonly personId: string;
  readonly text: string;
  /** How it came: `button`, `form`, `reply`. */
  readonly via: string;
}

/** Every way an answer can end. Only `answered` changed something. */
export type AnswerOutcome =
  | { readonly kind: 'answered' | 'already' | 'expired'; readonly question: Question }
  | { readonly kind: 'not_allowed'; readonly question: Question; readonly why: string }
  | { readonly kind: 'unknown' };

/** What a pressed button of a question means. */
export type QuestionPress =
  | { readonly kind: 'choice'; readonly questionId: string; readonly choice: number }
  | { readonly kind: 'words'; readonly questionId: string }
  /** It was shown in another chat. */
  | { readonly kind: 'other_chat' };

/** Reads a button's token. @returns undefined when it is no button of a question. */
export async function readQuestionPress(tx: Tx, token: string, threadKey: string): Promise<QuestionPress | undefined> {
  const button = await findQuestionButton(tx, hashQuestionToken(token));
  if (button === undefined) return undefined;
  if (button.threadKey !== threadKey) return { kind: 'other_chat' };
  const { questionId, choice } = button;
  return choice === undefined ? { kind: 'words', questionId } : { kind: 'choice', questionId, choice };
}

/**
 * Answers a question once and lets its turn go on, in one transaction: two answers at the same time, one counts and the
 * other is told who was first. A choice is given by its place.
 * @returns the outcome and the wakes to ring after the commit.
 */
export async function answerQuestion(
  tx: Tx,
  answer: Omit<QuestionAnswer, 'text'> & ({ readonly text: string } | { readonly choice: number }),
): Promise<{ readonly outcome: AnswerOutcome; readonly wakes: readonly LaneWake[] }> {
  const hindrance = await checkQuestion(tx, answer);
  if ('outcome' in hindrance) return { outcome: hindrance.outcome, wakes: [] };
  const { question } = hindrance;
  const text = 'text' in answer ? answer.text : question.choices[answer.choice];
  if (text === undefined) return { outcome: { kind: 'unknown' }, wakes: [] };
  const answered = await markAnswered(tx, question.id, { text, personId: answer.personId, via: answer.via });
  if (answered === undefined) return { outcome: { kind: 'expired', question }, wakes: [] };
  const wakes = await resumeTurns(tx, [answered.turnId]);
  await closeCards(tx, answered);
  await appendAudit(tx, [
    {
      kind: 'question.answered',
      chainKey: answered.sessionId,
      sessionId: answered.sessionId,
      body: { questionId: answered.id, turnId: answered.turnId, personId: answer.personId, via: answer.via },
    },
  ]);
  return { outcome: { kind: 'answered', question: answered }, wakes };
}

/** Whether this person could answer now; a refusal is on the audit. */
export async function checkQuestion(
  tx: Tx,
  answer: Pick<QuestionAnswer, 'questionId' | 'personId' | 'via'>,
): Promise<{ readonly question: Question } | { readonly outcome: AnswerOutcome }> {
  const locked = await lockQuestion(tx, answer.questionId);
  if (locked === undefined) return { outcome: { kind: 'unknown' } };
  const { question, isOverdue } = locked;
  const why = answerRefusal(question, { personId: answer.personId, role: await roleOf(tx, answer.personId) });
  if (why !== undefined) {
    await appendAudit(tx, [
      {
        kind: 'question.refused',
        chainKey: question.sessionId,
        sessionId: question.sessionId,
        body: { questionId: question.id, personId: answer.personId, via: answer.via, why },
      },
    ]);
    return { outcome: { kind: 'not_allowed', question, why } };
  }
  if (question.state === 'expired' || (question.state === 'pending' && isOverdue)) {
    return { outcome: { kind: 'expired', question } };
  }
  return question.state === 'pending' ? { question } : { outcome: { kind: 'already', question } };
}

/** One sentence for whoever answered, for every outcome. */
export function describeAnswer(outcome: AnswerOutcome): string {
  switch (outcome.kind) {
    case 'answered':
      return 'Thank you, I pass it on.';
    case 'already':
      return alreadyText(outcome.question);
    case 'expired':
      return 'This question has expired; nobody answered in time.';
    case 'not_allowed':
      return `You cannot answer this: ${outcome.why}.`;
    case 'unknown':
      return 'This question is not known any more.';
  }
}

function alreadyText(question: Question): string {
  if (question.state === 'cancelled') return 'This question was cancelled; the answer is not needed any more.';
  const who = question.answeredByName === undefined ? '' : ` by ${question.answeredByName}`;
  const at = question.closedAt === undefined ? '' : ` at ${question.closedAt.toISOString().slice(11, 16)} UTC`;
  return `This was already answered${who}${at}.`;
}
