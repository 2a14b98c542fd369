import { z } from 'zod';
import type { Db } from '#core/kit/database.ts';
import type { ToolCallPart } from '#core/models/model-port.ts';
import { readEvents } from '#core/sessions/session-store.ts';
import { placeEvents, toAssistantMessage, toolCalls } from '#core/turns/build-context.ts';
import type { TurnEvent } from '#core/turns/turn-event.ts';
import type { Trajectory, TrajectoryStep } from '../hooks/hook-news.ts';

/** Steps that are told, the last ones; a task at its limit has about so many. */
const stepsMax = 200;
/** Events of the session that are looked at; what others steered into it stands between those of the turn. */
const eventsMax = 2_000;
const inputCharsMax = 200;

const tokensSchema = z.object({ input: z.number(), output: z.number() });

/** What a turn did, from the session's log: passes of workers that died are in it, and secrets are not. */
export async function readTrajectory(
  db: Db,
  turn: { readonly sessionId: string; readonly turnId: string },
): Promise<Trajectory> {
  const rows = await readEvents(db, turn.sessionId, eventsMax);
  const times = new Map(rows.map((row) => [row.seq, row.createdAt]));
  const steps: TrajectoryStep[] = [];
  const started = new Set<string>();
  let calls: readonly ToolCallPart[] = [];
  for (const { seq, turnId, event } of placeEvents(rows)) {
    const at = times.get(seq);
    if (turnId !== turn.turnId || at === undefined) continue;
    if (event.kind === 'assistant_message') {
      calls = toolCalls(toAssistantMessage(event));
      started.clear();
      steps.push(modelStep(event, at, calls.length));
    } else if (event.kind === 'tool_started') {
      started.add(event.callId);
    } else if (event.kind === 'tool_finished') {
      const call = calls.find(({ id }) => id === event.callId);
      steps.push(toolStep(event, at, { call, wasStarted: started.has(event.callId) }));
    }
  }
  return { steps: steps.slice(-stepsMax), droppedSteps: Math.max(0, steps.length - stepsMax) };
}

function modelStep(
  event: Extract<TurnEvent, { kind: 'assistant_message' }>,
  at: Date,
  callCount: number,
): TrajectoryStep {
  const { input, output } = tokensSchema.safeParse(event.usage).data ?? { input: 0, output: 0 };
  return {
    kind: 'model',
    model: event.model,
    at,
    inputTokens: input,
    outputTokens: output,
    costMicros: /^\d{1,18}$/.test(event.costMicros) ? BigInt(event.costMicros) : 0n,
    calls: callCount,
  };
}

function toolStep(
  event: Extract<TurnEvent, { kind: 'tool_finished' }>,
  at: Date,
  about: { readonly call: ToolCallPart | undefined; readonly wasStarted: boolean },
): TrajectoryStep {
  const { call, wasStarted } = about;
  const input = call === undefined ? '' : call.parsed.ok ? JSON.stringify(call.parsed.arguments) : call.rawArguments;
  return {
    kind: 'tool',
    tool: event.name,
    input: input.length <= inputCharsMax ? input : `${input.slice(0, inputCharsMax - 1).toWellFormed()}…`,
    at,
    outcome: wasStarted ? (event.isError ? 'failed' : 'ok') : event.isError ? 'refused' : 'ok',
    ms: event.ms,
    outputChars: event.text.length,
  };
}
