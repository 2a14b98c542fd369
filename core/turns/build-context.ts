import type { ModelMessage, Part, ToolCallPart } from '../models/model-port.ts';
import { nativeSchema, partSchema } from '../models/part-schema.ts';
import type { SessionEvent } from '../sessions/session.ts';
import { type TurnEvent, turnEventSchema } from './turn-event.ts';

/** An event of the session with its place and turn. */
export interface PlacedEvent {
  readonly seq: number;
  readonly turnId: string | undefined;
  readonly event: TurnEvent;
}

/** Reads stored rows as turn events; kinds of a newer version are skipped, so that a rollback still runs. */
export function placeEvents(rows: readonly SessionEvent[]): PlacedEvent[] {
  const placed: PlacedEvent[] = [];
  for (const row of rows) {
    const parsed = turnEventSchema.safeParse({ ...(row.payload as object), kind: row.kind });
    if (parsed.success) placed.push({ seq: row.seq, turnId: row.turnId, event: parsed.data });
  }
  return placed;
}

/**
 * The messages of a session as a model reads them. Every tool call gets exactly one result: providers refuse a history
 * with an open call, which a cancelled or crashed turn leaves behind.
 */
export function buildMessages(events: readonly TurnEvent[]): ModelMessage[] {
  const messages: ModelMessage[] = [];
  for (const [index, event] of events.entries()) {
    switch (event.kind) {
      case 'user_message':
        messages.push({ role: 'user', parts: [{ type: 'text', text: describeMessage(event) }] });
        break;
      case 'assistant_message': {
        const message = toAssistantMessage(event);
        messages.push(message);
        const calls = toolCalls(message);
        if (calls.length > 0) {
          const results = resultsAfter(events, index);
          messages.push({ role: 'tool', parts: calls.map((call) => resultOf(call, results)) });
        }
        break;
      }
      case 'notice':
      case 'tool_started':
      case 'tool_finished':
      case 'approval_requested':
      case 'turn_ended':
        break;
    }
  }
  return messages;
}

function describeMessage(event: Extract<TurnEvent, { kind: 'user_message' }>): string {
  const files = (event.files ?? []).map((file) => `[attached file: ${file.name}]`);
  return [event.text, ...files].join('\n');
}

/** A stored answer as a model message again. */
export function toAssistantMessage(event: Extract<TurnEvent, { kind: 'assistant_message' }>): ModelMessage {
  const parts = event.parts.flatMap((part): Part[] => {
    const parsed = partSchema.safeParse(part);
    return parsed.success ? [parsed.data] : [];
  });
  const native = nativeSchema.safeParse(event.native);
  return { role: 'assistant', parts, ...(native.success ? { native: native.data } : {}) };
}

export function toolCalls(message: ModelMessage): ToolCallPart[] {
  return message.parts.filter((part) => part.type === 'tool_call');
}

type FinishedEvent = Extract<TurnEvent, { kind: 'tool_finished' }>;

/** The results of one answer stand before the next answer; looking no further keeps reused call ids apart. */
function resultsAfter(events: readonly TurnEvent[], answerIndex: number): Map<string, FinishedEvent> {
  const results = new Map<string, FinishedEvent>();
  for (let index = answerIndex + 1; index < events.length; index += 1) {
    const event = events[index];
    if (event === undefined || event.kind === 'assistant_message') break;
    if (event.kind === 'tool_finished') results.set(event.callId, event);
  }
  return results;
}

function resultOf(call: ToolCallPart, results: ReadonlyMap<string, FinishedEvent>): Part {
  const result = results.get(call.id);
  return {
    type: 'tool_result',
    callId: call.id,
    text: result?.text ?? 'This call was not carried out: the turn ended before it.',
    isError: result?.isError ?? true,
  };
}
