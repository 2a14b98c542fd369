import { answerApproval } from '../approvals/answer-approval.ts';
import { decideBatch } from '../approvals/decide-batch.ts';
import { findApprovals } from '../approvals/list-approvals.ts';
import { confirmList } from '../approvals/list-in-chat.ts';
import { type ReadPress, readPress } from '../approvals/read-press.ts';
import { type ApprovalAnswer, checkAnswer, describeOutcome } from '../approvals/settle-approval.ts';
import { approvableFromList } from '../approvals/visible-approvals.ts';
import { endEvent } from '../inbox/end-event.ts';
import type { KnownEvent } from '../inbox/known-event.ts';
import { openPrompt } from '../questions/prompt-person.ts';
import { askForWords } from './ask-for-words.ts';
import type { CommandDeps } from './command-deps.ts';
import type { PressHandler } from './press.ts';

const reasonCharsMax = 500;

/**
 * The buttons of requests and of lists of them. The platform shows the outcome at the button itself, to the one who
 * pressed it; everybody else sees the card change.
 */
export function approvalPress(deps: CommandDeps): PressHandler {
  return async (known, token) => {
    const press = await deps.db.transaction().execute(async (tx) => await readPress(tx, token, known.thread.threadKey));
    switch (press?.kind) {
      case undefined:
        return false;
      case 'decision':
      case 'other_chat':
        await decide(deps, known, token);
        return true;
      case 'reason':
        await askReason(deps, known, press.approvalId);
        return true;
      case 'list':
        await pressList(deps, known, press);
        return true;
    }
  };
}

/** Answers for a token that nobody knows, and puts it on the audit; the last handler. */
export function strayPress(deps: CommandDeps): PressHandler {
  return async (known, token) => {
    await decide(deps, known, token);
    return true;
  };
}

async function decide(deps: CommandDeps, known: KnownEvent, token: string): Promise<void> {
  const answer: ApprovalAnswer = {
    personId: known.person.id,
    token,
    threadKey: known.thread.threadKey,
    via: 'button',
  };
  const answered = await deps.db.transaction().execute(async (tx) => {
    return (await endEvent(tx, known.inboxId, 'routed')) ? await answerApproval(tx, answer) : undefined;
  });
  if (answered === undefined) return;
  await deps.ring(answered.wakes);
  await deps.acknowledge(known.event, describeOutcome(answered.outcome), answered.outcome.kind !== 'settled');
}

async function askReason(deps: CommandDeps, known: KnownEvent, approvalId: string): Promise<void> {
  const personId = known.person.id;
  const asked = await deps.db.transaction().execute(async (tx) => {
    if (!(await endEvent(tx, known.inboxId, 'routed'))) return undefined;
    const hindrance = await checkAnswer(tx, { approvalId, decision: 'deny', personId, via: 'button' });
    if (hindrance !== undefined) return { hindrance };
    const { threadKey } = known.thread;
    return { prompt: await openPrompt(tx, { personId, threadKey, subject: { approvalId } }) };
  });
  if (asked === undefined) return;
  if ('hindrance' in asked) return await deps.acknowledge(known.event, describeOutcome(asked.hindrance), true);
  await askForWords(deps, known, asked.prompt, {
    title: 'Deny',
    submitLabel: 'Deny',
    label: 'Why? The agent reads it.',
    charsMax: reasonCharsMax,
    isRequired: false,
    line: 'Why do you deny it? Reply to this message with your reason; the agent reads it.',
  });
}

async function pressList(
  deps: CommandDeps,
  known: KnownEvent,
  { list, action }: Extract<ReadPress, { kind: 'list' }>,
): Promise<void> {
  // The list was made for one person: what they may approve is not what anybody else in the room may.
  if (list.personId !== known.person.id) {
    await deps.db.transaction().execute(async (tx) => await endEvent(tx, known.inboxId, 'routed'));
    return await deps.acknowledge(known.event, 'This list is somebody else’s. Send /approvals for your own.', true);
  }
  let text = '';
  if (action === 'approve_all') {
    const listed = await findApprovals(deps.db, list.approvalIds);
    const approvable = approvableFromList(
      listed.filter((approval) => approval.state === 'pending'),
      known.person,
    );
    const outcomes = await decideBatch(deps, {
      approvalIds: approvable.map(({ id }) => id),
      decision: 'approve',
      personId: known.person.id,
      reason: undefined,
      via: 'button',
    });
    const count = [...outcomes.values()].filter((outcome) => outcome.kind === 'settled').length;
    text =
      count === outcomes.size ? `Approved ${count}.` : `Approved ${count} of ${outcomes.size}; the list shows why.`;
  }
  await deps.db.transaction().execute(async (tx) => {
    if (await endEvent(tx, known.inboxId, 'routed')) await confirmList(tx, list.messageKey, action === 'ask_all');
  });
  await deps.acknowledge(known.event, text, false);
}
