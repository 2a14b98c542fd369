import { createLiveAnswer, type LiveAnswer } from '../delivery/live-answer.ts';
import { openProgressCard, type ProgressCard } from '../delivery/progress-card.ts';
import { openTurnSign, type TurnSign } from '../delivery/turn-sign.ts';
import type { PassOutcome, TurnDeps, TurnWork } from './turn-deps.ts';
import type { TurnLog } from './turn-log.ts';
import { draftIdOf } from './turn-setup.ts';

/** What a thread sees of a turn before it is over; all of it best effort. */
export interface TurnView {
  readonly live: LiveAnswer;
  readonly card: ProgressCard;
  readonly sign: TurnSign;
}

/** Opens the views of one pass over a turn; a later pass goes on with what an earlier one has shown. */
export function openTurnView(
  deps: Pick<TurnDeps, 'liveStage' | 'findSender'>,
  work: TurnWork,
  log: Pick<TurnLog, 'closedCalls'>,
): TurnView {
  const isResumed = work.attempts > 1 || work.crashes > 0;
  const { messageId } = work.origin;
  const context = {
    stage: deps.liveStage,
    sender: deps.findSender(work.origin.channel, work.origin.account),
    conversation: work.origin,
    sessionId: work.sessionId,
    turnId: work.turnId,
    isResumed,
  };
  const recipient = work.messages[0]?.payload.authorId;
  return {
    live: createLiveAnswer({
      ...context,
      draftId: draftIdOf(work.turnId),
      ...(recipient === undefined ? {} : { recipient }),
    }),
    card: openProgressCard({
      ...context,
      earlier: log.closedCalls().map((call, index) => ({ id: `earlier:${index}`, title: call.name })),
    }),
    sign: openTurnSign({ ...context, messageId, mayStand: isResumed }),
  };
}

/** The end of a pass with the last words of its progress card; the sign under the question follows. */
export function withLastView(outcome: PassOutcome, card: ProgressCard, sign: TurnSign): PassOutcome {
  const { state } = outcome;
  if (state === 'released') return outcome;
  sign.end(state === 'failed' ? 'failed' : 'done');
  const messagesIfCancelled = [...card.last('cancelled'), ...outcome.messagesIfCancelled];
  if (state === 'waiting') return { ...outcome, messagesIfCancelled };
  return { ...outcome, messages: [...card.last(state), ...outcome.messages], messagesIfCancelled };
}
