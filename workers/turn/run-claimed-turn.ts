import type {
  AbsorbedTurn,
  BoundaryRecord,
  BoundaryVerdict,
  ClaimedTurn,
  NewEvent,
  TurnOutcome,
} from '#core/lanes/lane.ts';
import { TurnAbort } from '#core/lanes/lane.ts';
import { toOutboxItem } from '#core/outbox/put-messages.ts';
import { type TurnEvent, turnPayloadSchema } from '#core/turns/turn-event.ts';
import { runTurn } from './run-turn.ts';
import type { TurnDeps, TurnMessage, TurnWork } from './turn-deps.ts';

export interface ClaimedTurnDeps extends TurnDeps {
  readonly reachBoundary: (record: BoundaryRecord) => Promise<BoundaryVerdict>;
}

/** Runs a claimed turn and gives its outcome in the lane's words. Rejects only with a `TurnAbort` when fenced out. */
export async function runClaimedTurn(
  deps: ClaimedTurnDeps,
  turn: ClaimedTurn,
  signal: AbortSignal,
): Promise<TurnOutcome> {
  // A turn that was cancelled before it began still says so, through the same path as any other.
  const stop = turn.isCancelled ? AbortSignal.abort(new TurnAbort('cancelled')) : signal;
  const outcome = await runTurn(deps, toWork(turn), {
    signal: stop,
    boundary: async (events, messages) => {
      const verdict = await deps.reachBoundary({
        lease: turn,
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
