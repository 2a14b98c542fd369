import type { ModelMessage, ModelRequest, ToolCallPart } from './model-port.ts';

/**
 * Makes a history acceptable to every vendor: each tool call is followed by exactly one result (vendors answer 400 to a
 * call without one), results without a call are dropped, and messages without content disappear. History that was cut by
 * a crash or a compaction would otherwise block a session for good.
 */
export function prepareMessages(messages: ModelRequest['messages']): ModelMessage[] {
  const prepared: ModelMessage[] = [];
  for (let index = 0; index < messages.length; index += 1) {
    const message = messages[index];
    if (message === undefined || message.role === 'tool') continue;
    const calls = message.parts.filter((part) => part.type === 'tool_call');
    if (message.parts.length > 0 || message.native !== undefined) prepared.push(message);
    if (calls.length > 0) prepared.push(resultsFor(calls, messages, index + 1));
  }
  return prepared;
}

/** Results may be spread over several messages, up to the next thing the assistant said. */
function resultsFor(calls: readonly ToolCallPart[], messages: ModelRequest['messages'], start: number): ModelMessage {
  const found = new Map<string, ModelMessage['parts'][number]>();
  for (let index = start; index < messages.length; index += 1) {
    const message = messages[index];
    if (message === undefined || message.role === 'assistant') break;
    if (message.role !== 'tool') continue;
    for (const part of message.parts) if (part.type === 'tool_result') found.set(part.callId, part);
  }
  const lost = 'No result was recorded for this call; its outcome is unknown.';
  return {
    role: 'tool',
    parts: calls.map(
      (call) => found.get(call.id) ?? { type: 'tool_result', callId: call.id, text: lost, isError: true },
    ),
  };
}
