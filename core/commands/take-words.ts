import { answerApproval } from '../approvals/answer-approval.ts';
import { describeOutcome } from '../approvals/settle-approval.ts';
import { endEvent } from '../inbox/end-event.ts';
import type { KnownEvent } from '../inbox/known-event.ts';
import type { Tx } from '../kit/database.ts';
import type { LaneWake } from '../lanes/lane.ts';
import { putMessages } from '../outbox/put-messages.ts';
import { answerQuestion, describeAnswer } from '../questions/answer-question.ts';
import type { PromptSubject } from '../questions/prompt.ts';
import { useForm, useLine } from '../questions/prompt-person.ts';
import { wordsField } from './ask-for-words.ts';
import { awaitedBy } from './awaited-by.ts';
import { replyMessage } from './command.ts';
import type { CommandDeps } from './command-deps.ts';
import { keepIfSecret } from './take-secret.ts';

interface Taken {
  readonly text: string;
  readonly isDone: boolean;
  readonly wakes: readonly LaneWake[];
}

const gone: Taken = { text: 'That is not asked any more.', isDone: false, wakes: [] };

/** Takes a submitted form: the reason of a denial or the answer to a question. */
export function createTakeForm(deps: CommandDeps): (known: KnownEvent) => Promise<void> {
  return async (known) => {
    const { event } = known;
    if (event.type !== 'form') return;
    const taken = await deps.db.transaction().execute(async (tx) => {
      if (!(await endEvent(tx, known.inboxId, 'routed'))) return undefined;
      const prompt = await useForm(tx, event.token, known.person.id);
      const words = (event.values[wordsField] ?? '').trim();
      const result = prompt === undefined ? gone : await settle(tx, known, prompt.subject, words, 'form');
      // A refusal must be seen although the form is closed; what was done shows on the card.
      if (!result.isDone && event.interactionToken === undefined) {
        await putMessages(tx, [replyMessage(known, { markdown: result.text, level: 'warn' })]);
      }
      return result;
    });
    if (taken === undefined) return;
    await deps.ring(taken.wakes);
    await deps.acknowledge(event, taken.text, !taken.isDone);
  };
}

/**
 * Takes a message that answers something: a reply to the line or card that asks, or, where only the two talk, the next
 * message. `approve` or `deny` with a reason in reply to a request decides it.
 */
export function createTakeAnswer(deps: CommandDeps): (known: KnownEvent) => Promise<boolean> {
  return async (known) => {
    const { event, person } = known;
    if (event.type !== 'message') return false;
    const words = event.text.trim();
    if (words === '') return false;
    const awaited = await awaitedBy(deps.db, known);
    if (awaited === undefined) return false;
    if (awaited.kind === 'ended') return true;
    if (awaited.kind === 'prompt' && (await keepIfSecret(deps, known, awaited))) return true;
    const verdict = awaited.kind === 'approval' ? readVerdict(words) : undefined;
    if (awaited.kind === 'approval' && verdict === undefined) return false;
    const taken = await deps.db.transaction().execute(async (tx) => {
      if (!(await endEvent(tx, known.inboxId, 'routed'))) return undefined;
      const result = await take(tx);
      await putMessages(tx, [replyMessage(known, { markdown: result.text, level: result.isDone ? 'info' : 'warn' })]);
      return result;
    });
    if (taken !== undefined) await deps.ring(taken.wakes);
    return true;

    async function take(tx: Tx): Promise<Taken> {
      if (awaited === undefined) return gone;
      switch (awaited.kind) {
        case 'prompt': {
          const prompt = await useLine(tx, awaited.promptId, person.id);
          return prompt === undefined ? gone : await settle(tx, known, prompt.subject, words, 'reply');
        }
        case 'ended':
          return gone;
        case 'question':
          return await settle(tx, known, { questionId: awaited.questionId }, words, 'reply');
        case 'approval':
          return verdict === undefined
            ? gone
            : await decide(tx, known, awaited.approvalId, verdict.decision, verdict.reason, 'reply');
      }
    }
  };
}

async function settle(tx: Tx, known: KnownEvent, subject: PromptSubject, words: string, via: string): Promise<Taken> {
  // Values of secrets were taken before.
  if ('secret' in subject) return gone;
  if ('approvalId' in subject) return await decide(tx, known, subject.approvalId, 'deny', words, via);
  const { questionId } = subject;
  const { outcome, wakes } = await answerQuestion(tx, { questionId, personId: known.person.id, text: words, via });
  return { text: describeAnswer(outcome), isDone: outcome.kind === 'answered', wakes };
}

async function decide(
  tx: Tx,
  known: KnownEvent,
  approvalId: string,
  decision: 'approve' | 'deny',
  reason: string,
  via: string,
): Promise<Taken> {
  const { outcome, wakes } = await answerApproval(tx, {
    approvalId,
    decision,
    personId: known.person.id,
    via,
    ...(reason === '' ? {} : { reason }),
  });
  return { text: describeOutcome(outcome), isDone: outcome.kind === 'settled', wakes };
}

/** `approve`, `deny: it is Friday`; anything else is no verdict. */
function readVerdict(words: string): { readonly decision: 'approve' | 'deny'; readonly reason: string } | undefined {
  const [, verb, reason = ''] = /^(approved?|deny|denied)\b[\s:,.!-]*([\s\S]*)$/i.exec(words) ?? [];
  if (verb === undefined) return undefined;
  return { decision: verb.toLowerCase().startsWith('a') ? 'approve' : 'deny', reason: reason.trim() };
}
