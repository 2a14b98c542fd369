import type { ModelMessage, Part, ToolCallPart } from '#core/models/model-port.ts';
import type { Redactor } from '#core/redaction/redactor.ts';
import type { AskModel } from './turn-deps.ts';

/**
 * The same model, to which no secret is shown and from which none is heard: neither in its answer nor in the pieces
 * that are shown while it writes, a secret that comes in two of them included.
 */
export function redactModel(askModel: AskModel, redactor: Redactor): AskModel {
  return async (request, options) => {
    let text = redactor.stream();
    const hear = (delta: string): void => {
      if (delta !== '') options.onEvent({ type: 'text', delta });
    };
    const answer = await askModel(
      { ...request, messages: request.messages.map((message) => redactMessage(message, redactor)) },
      {
        ...options,
        onEvent: (event) => {
          if (event.type === 'text') hear(text.push(event.delta));
          // Reasoning comes in pieces too, and nobody is shown it.
          else if (event.type !== 'reasoning') options.onEvent(redactor.json(event));
        },
        onRestart: () => {
          text = redactor.stream();
          options.onRestart();
        },
      },
    );
    hear(text.end());
    return { ...answer, message: redactMessage(answer.message, redactor) };
  };
}

function redactMessage(message: ModelMessage, redactor: Redactor): ModelMessage {
  let isChanged = false;
  const parts = message.parts.map((part) => {
    const safe = part.type === 'tool_call' ? redactCall(part, redactor) : redactor.json<Part>(part);
    if (safe !== part) isChanged = true;
    return safe;
  });
  const { native, ...rest } = message;
  // Blocks of a provider are signed as they are: changed ones would be refused, and the neutral parts say the same.
  if (native !== undefined && redactor.json(native) !== native) return { ...rest, parts };
  return isChanged ? { ...message, parts } : message;
}

function redactCall(call: ToolCallPart, redactor: Redactor): ToolCallPart {
  const parsed = redactor.json(call.parsed);
  const rawArguments = call.parsed.ok ? redactor.jsonText(call.rawArguments) : redactor.text(call.rawArguments);
  return parsed === call.parsed && rawArguments === call.rawArguments ? call : { ...call, parsed, rawArguments };
}
