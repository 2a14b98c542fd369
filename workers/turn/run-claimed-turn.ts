import { type AbsorbedTurn, type ClaimedTurn, type NewEvent, TurnAbort, type TurnOutcome } from '#core/lanes/lane.ts';
import { toOutboxItem } from '#core/outbox/put-messages.ts';
import { type TurnEvent, turnPayloadSchema } from '#core/turns/turn-event.ts';
import type { TurnContext } from '../lane/lane-runner.ts';
import { runTurn } from './run-turn.ts';
import type { TurnDeps, TurnMessage, TurnWork } from './turn-deps.ts';

/** Runs a claimed turn and gives its outcome in the lane's words. Rejects only with a `TurnAbort` when fenced out. */
export async function runClaimedTurn(deps: TurnDeps, turn: ClaimedTurn, context: TurnContext): Promise<TurnOutcome> {
  // A turn that was cancelled before it began still says so, through the same path as any other.
  const signal = turn.isCancelled ? AbortSignal.abort(new TurnAbort('cancelled')) : context.signal;
  const outcome = await runTurn(deps, toWork(turn), {
    signal,
    stopping: context.stopping,
    boundary: async (events, messages) => {
      const verdict = await context.reachBoundary({
        events: events.map(toNewEvent),
        outbox: messages.map(toOutboxItem),
      });
      return verdict.state === 'go' ? { state: 'go', steered: verdict.steered.map(toMessage) } : verdict;
    },
  });
  const events = outcome.events.map(toNewEvent);
  return {
    state: outcome.state,
    ...(outcome.state === 'waiting' ? { waitingFor: 'approval' as const } : {}),
    ...(outcome.errorCode === undefined ? {} : { errorCode: outcome.errorCode }),
    events,
    outbox: outcome.messages.map(toOutboxItem),
    // What happened stays on record even when a cancel overtakes the answer.
    cancelledEvents: events,
    cancelledOutbox: outcome.messagesIfCancelled.map(toOutboxItem),
  };
}

function toWork(turn: ClaimedTurn): TurnWork {
  return {
    turnId: turn.id,
    sessionId: turn.sessionId,
    kind: turn.kind,
    agentName: turn.agentName,
    agentVersion: turn.agentVersion,
    origin: turn.origin,
    attempts: turn.attempts,
    crashes: turn.crashes,
    messages: [{ turnId: turn.id, payload: turnPayloadSchema.parse(turn.payload) }, ...turn.absorbed.map(toMessage)],
  };
}

function toMessage(turn: AbsorbedTurn): TurnMessage {
  return { turnId: turn.id, payload: turnPayloadSchema.parse(turn.payload) };
}

function toNewEvent(event: TurnEvent): NewEvent {
  const { kind, ...payload } = event;
  return { kind, payload };
}
