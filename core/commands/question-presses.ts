import { appendAudit } from '../audit/append-audit.ts';
import { endEvent } from '../inbox/end-event.ts';
import type { KnownEvent } from '../inbox/known-event.ts';
import {
  answerQuestion,
  checkQuestion,
  describeAnswer,
  type QuestionPress,
  readQuestionPress,
} from '../questions/answer-question.ts';
import { openPrompt } from '../questions/prompt-person.ts';
import { answerCharsMax } from '../questions/question.ts';
import { askForWords } from './ask-for-words.ts';
import type { CommandDeps } from './command-deps.ts';
import type { PressHandler } from './press.ts';

/** Platforms show forms of this length at most. */
const formCharsMax = Math.min(answerCharsMax, 3_000);

/** The buttons of questions: one of the choices, or words of one's own. */
export function questionPress(deps: CommandDeps): PressHandler {
  return async (known, token) => {
    const press = await deps.db
      .transaction()
      .execute(async (tx) => await readQuestionPress(tx, token, known.thread.threadKey));
    switch (press?.kind) {
      case undefined:
        return false;
      case 'other_chat':
        await refuseElsewhere(deps, known);
        return true;
      case 'choice':
        await choose(deps, known, press);
        return true;
      case 'words':
        await askAnswer(deps, known, press.questionId);
        return true;
    }
  };
}

async function refuseElsewhere(deps: CommandDeps, known: KnownEvent): Promise<void> {
  const personId = known.person.id;
  await deps.db.transaction().execute(async (tx) => {
    if (!(await endEvent(tx, known.inboxId, 'routed'))) return;
    const body = { personId, threadKey: known.thread.threadKey, why: 'other_chat', via: 'button' };
    await appendAudit(tx, [{ kind: 'question.stray_press', chainKey: personId, body }]);
  });
  await deps.acknowledge(known.event, 'This button belongs to another chat.', true);
}

async function choose(
  deps: CommandDeps,
  known: KnownEvent,
  { questionId, choice }: Extract<QuestionPress, { kind: 'choice' }>,
): Promise<void> {
  const answered = await deps.db.transaction().execute(async (tx) => {
    if (!(await endEvent(tx, known.inboxId, 'routed'))) return undefined;
    return await answerQuestion(tx, { questionId, choice, personId: known.person.id, via: 'button' });
  });
  if (answered === undefined) return;
  await deps.ring(answered.wakes);
  await deps.acknowledge(known.event, describeAnswer(answered.outcome), answered.outcome.kind !== 'answered');
}

async function askAnswer(deps: CommandDeps, known: KnownEvent, questionId: string): Promise<void> {
  const personId = known.person.id;
  const asked = await deps.db.transaction().execute(async (tx) => {
    if (!(await endEvent(tx, known.inboxId, 'routed'))) return undefined;
    const checked = await checkQuestion(tx, { questionId, personId, via: 'button' });
    if ('outcome' in checked) return { refusal: describeAnswer(checked.outcome) };
    const { threadKey } = known.thread;
    return { prompt: await openPrompt(tx, { personId, threadKey, subject: { questionId } }), checked };
  });
  if (asked === undefined) return;
  if ('refusal' in asked) return await deps.acknowledge(known.event, asked.refusal, true);
  const { question } = asked.checked;
  await askForWords(deps, known, asked.prompt, {
    title: `Answer ${question.agentName}`.slice(0, 45),
    submitLabel: 'Answer',
    label: question.text.length > 45 ? 'Your answer' : question.text,
    charsMax: formCharsMax,
    isRequired: true,
    line: 'Reply to this message with your answer.',
  });
}
