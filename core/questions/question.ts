import type { PersonRole } from '../people/person.ts';
import { isAdministrator } from '../people/person.ts';
import type { Conversation } from '../sessions/origin.ts';

type QuestionState = 'pending' | 'answered' | 'expired' | 'cancelled';

/** Most choices one question may offer: more do not fit on a card of any platform. */
export const choicesMax = 10;
/** Longest choice, in UTF-16 units; platforms cut longer labels. */
export const choiceCharsMax = 60;
/** Longest answer that is handed to the agent, in UTF-16 units. */
export const answerCharsMax = 4_000;

/** Something an agent wants to know from a person; its turn waits for the answer. */
export interface Question {
  readonly id: string;
  readonly sessionId: string;
  readonly turnId: string;
  readonly callId: string;
  readonly agentName: string;
  readonly text: string;
  readonly choices: readonly string[];
  /** Whoever the work is for. */
  readonly requesterId: string | undefined;
  /** The only one who may answer; absent when it is a question to whoever the work is for. */
  readonly askedId: string | undefined;
  readonly askedName: string | undefined;
  /** Where the work is. */
  readonly conversation: Conversation;
  readonly state: QuestionState;
  readonly answer: string | undefined;
  readonly answeredBy: string | undefined;
  readonly answeredByName: string | undefined;
  readonly createdAt: Date;
  readonly expiresAt: Date;
  readonly closedAt: Date | undefined;
}

/**
 * Why this person may not answer, or undefined when they may. A question to one person is theirs alone; any other is
 * for whoever the work is for, and owners and administrators may help out.
 */
export function answerRefusal(
  question: Pick<Question, 'askedId' | 'askedName' | 'requesterId'>,
  who: { readonly personId: string; readonly role: PersonRole | undefined },
): string | undefined {
  if (who.role === undefined) return 'we do not know you';
  if (question.askedId !== undefined) {
    return question.askedId === who.personId
      ? undefined
      : `it is a question to ${question.askedName ?? 'somebody else'}`;
  }
  if (question.requesterId === who.personId || isAdministrator(who.role)) return undefined;
  return 'it is a question to whoever asked for this work';
}

/** The outbox key of a question's card. */
export function questionCardKey(questionId: string, name?: string): string {
  return name === undefined ? `question:${questionId}` : `question:${questionId}:${name}`;
}
