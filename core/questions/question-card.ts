import { utcTime } from '../kit/utc-time.ts';
import type { Button, OutboundPart } from '../outbox/outbound.ts';
import type { NewMessage } from '../outbox/put-messages.ts';
import type { Question } from './question.ts';
import type { QuestionCard } from './question-store.ts';

/** Choices up to this length share a row. */
const shortChoiceChars = 16;
const choicesPerRow = 3;

/** Tokens of a card's buttons: one per choice, and one for an answer in words. */
export interface QuestionTokens {
  readonly choices: readonly string[];
  readonly words: string;
}

/** An open question where it is answered. */
export function questionCard(
  question: Question,
  card: QuestionCard,
  tokens: QuestionTokens,
  /** External id of whoever is asked, where they have one there. */
  mention: string | undefined,
): NewMessage {
  const choices = question.choices.map((label, index): Button => {
    const token = tokens.choices[index];
    return token === undefined ? { label, isDisabled: true } : { label, token, style: 'primary' };
  });
  const perRow = question.choices.every((choice) => choice.length <= shortChoiceChars) ? choicesPerRow : 1;
  const rows: Button[][] = [];
  for (let at = 0; at < choices.length; at += perRow) rows.push(choices.slice(at, at + perRow));
  rows.push([{ label: choices.length === 0 ? 'Answer' : 'Something else', token: tokens.words }]);
  const how =
    card.conversation.kind === 'dm'
      ? 'Press a button, or just write your answer.'
      : 'Press a button, or reply to this message.';
  return message(
    question,
    card,
    [
      { type: 'notice', level: 'question', markdown: `**${question.agentName}** asks: ${question.text}` },
      { type: 'markdown', markdown: `${how} Until ${utcTime(question.expiresAt, question.createdAt)}.` },
      { type: 'buttons', rows },
    ],
    { asksReply: true, ...(mention === undefined ? {} : { mentions: [mention] }) },
  );
}

/** What the asker's thread reads when somebody else is asked elsewhere. */
export function questionNote(question: Question, card: QuestionCard): NewMessage {
  const who = question.askedName ?? 'somebody';
  return message(question, card, [
    { type: 'notice', level: 'question', markdown: `I asked **${who}**: ${question.text}` },
    {
      type: 'markdown',
      markdown: `I go on as soon as there is an answer, at the latest at ${utcTime(question.expiresAt, question.createdAt)}.`,
    },
  ]);
}

/** The same card once it is over: the answer, or that there was none. */
export function closedCard(question: Question, card: QuestionCard): NewMessage {
  const head =
    card.kind === 'note' ? `I asked **${question.askedName ?? 'somebody'}**` : `**${question.agentName}** asked`;
  return message(question, card, [{ type: 'markdown', markdown: `${head}: ${question.text}` }, closing(question)]);
}

function closing(question: Question): OutboundPart {
  const at = utcTime(question.closedAt ?? question.expiresAt, question.createdAt);
  switch (question.state) {
    case 'answered': {
      const who = question.answeredByName === undefined ? '' : ` by ${question.answeredByName}`;
      return { type: 'notice', level: 'success', markdown: `**Answered**${who} at ${at}: ${question.answer ?? ''}` };
    }
    case 'expired':
      return { type: 'notice', level: 'warn', markdown: `**Expired**: nobody answered until ${at}.` };
    case 'cancelled':
      return { type: 'notice', level: 'warn', markdown: `**Cancelled** at ${at}: the answer is not needed any more.` };
    case 'pending':
      return { type: 'notice', level: 'question', markdown: 'Waiting for an answer.' };
  }
}

function message(
  question: Question,
  card: QuestionCard,
  parts: OutboundPart[],
  more: { readonly asksReply?: boolean; readonly mentions?: string[] } = {},
): NewMessage {
  return {
    key: card.messageKey,
    conversation: card.conversation,
    importance: 'approval',
    sessionId: question.sessionId,
    turnId: question.turnId,
    body: { parts, ...more },
  };
}
