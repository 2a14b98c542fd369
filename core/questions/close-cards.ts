import type { Tx } from '../kit/database.ts';
import { putMessages } from '../outbox/put-messages.ts';
import type { Question } from './question.ts';
import { closedCard } from './question-card.ts';
import { selectQuestionCards } from './question-store.ts';

/** Makes every card of a question that is over say how it ended. */
export async function closeCards(tx: Tx, question: Question): Promise<void> {
  const cards = await selectQuestionCards(tx, question.id);
  await putMessages(
    tx,
    cards.map((card) => closedCard(question, card)),
  );
}
