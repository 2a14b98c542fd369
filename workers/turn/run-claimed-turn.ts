import { isDatabaseAway } from '#core/kit/database-away.ts';
import { type AbsorbedTurn, type ClaimedTurn, type NewEvent, TurnAbort, type TurnOutcome } from '#core/lanes/lane.ts';
import { toOutboxItem } from '#core/outbox/put-messages.ts';
import { type TurnEvent, turnPayloadSchema } from '#core/turns/turn-event.ts';
import type { TurnContext } from '../lane/lane-runner.ts';
import { runTurn } from './run-turn.ts';
import type { PassOutcome, TurnDeps, TurnMessage, TurnWork } from './turn-deps.ts';

/** Keeps a database that refuses connections from being asked in a hot loop. */
const awayPauseMs = 500;

/**
 * Runs a claimed turn and gives its outcome in the lane's words. Rejects only with a `TurnAbort` when fenced out. A turn
 * that the database left in the lurch is handed back: its next pass goes on from what was stored.
 */
export async function runClaimedTurn(deps: TurnDeps, turn: ClaimedTurn, context: TurnContext): Promise<TurnOutcome> {
  // A turn that was cancelled before it began still says so, through the same path as any other.
  const signal = turn.isCancelled ? AbortSignal.abort(new TurnAbort('cancelled')) : context.signal;
  const pass = runTurn(deps, toWork(turn), {
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
  let outcome: PassOutcome;
  try {
    outcome = await pass;
  } catch (err) {
    if (!isDatabaseAway(err)) throw err;
    deps.log.warn({ err, turnId: turn.id, sessionId: turn.sessionId }, 'turn is handed back: the database was away');
    await deps.clock.sleep(awayPauseMs);
    return { state: 'released' };
  }
  const events = outcome.events.map(toNewEvent);
  return {
    state: outcome.state,
    ...(outcome.state === 'waiting' ? { waitingFor: outcome.waitingFor ?? ('approval' as const) } : {}),
    ...(outcome.errorCode === undefined ? {} : { errorCode: outcome.errorCode }),
    events,
    outbox: outcome.messages.map(toOutboxItem),
    // What happened stays on record even when a cancel overtakes the answer.
    cancelledEvents: events,
    cancelledOutbox: outcome.messagesIfCancelled.map(toOutboxItem),
  };
}

/** A claimed turn in the words of the loop. */
export function toWork(turn: ClaimedTurn): TurnWork {
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
