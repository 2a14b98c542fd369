import type OpenAI from 'openai';
import type { ModelMessage, ModelPort, ModelRequest, Part } from '#core/models/model-port.ts';
import { type CompatFlags, compatFlags, type Endpoint } from '#core/models/providers.ts';
import { readOpenAiError } from './classify-model-error.ts';
import { hidePictures, pictureUrl } from './hide-pictures.ts';
import { nativeModelOf, ownBlocks, plainText, toolSchema } from './model-endpoint.ts';
import { createOpenAiClient } from './openai-client.ts';
import { createResponsesAccumulator } from './responses-accumulator.ts';
import { streamAttempt } from './stream-attempt.ts';

type ResponsesParams = OpenAI.Responses.ResponseCreateParamsStreaming;
type InputItem = OpenAI.Responses.ResponseInputItem;

const wire = 'openai.responses';

/** OpenAI's Responses protocol, used without vendor state: the whole history is sent, nothing is stored there. */
export function createOpenAiResponses(endpoint: Endpoint): ModelPort {
  const client = createOpenAiClient(endpoint);
  return {
    wire,
    stream: (request, options) => {
      const nativeModel = nativeModelOf(endpoint, request.model);
      const params = responsesParams(request, compatFlags(endpoint, request.model), nativeModel);
      return streamAttempt({
        wire,
        nativeModel,
        request,
        options,
        accumulator: createResponsesAccumulator(),
        open: (signal) => client.responses.create(params, { signal }),
        readError: readOpenAiError,
      });
    },
  };
}

/** The request body. */
export function responsesParams(request: ModelRequest, flags: CompatFlags, nativeModel: string): ResponsesParams {
  const { effort } = request;
  return {
    model: request.model,
    input: (flags.vision ? request.messages : hidePictures(request.messages)).flatMap((message) =>
      inputItems(message, flags, nativeModel),
    ),
    stream: true,
    store: false,
    max_output_tokens: request.outputTokensMax,
    ...(request.tools.length === 0 ? {} : { tools: request.tools.map(responsesTool) }),
    ...(flags.promptCacheKey && request.cacheKey !== undefined ? { prompt_cache_key: request.cacheKey } : {}),
    ...(flags.encryptedReasoning ? { include: ['reasoning.encrypted_content'] } : {}),
    ...(request.temperature === undefined ? {} : { temperature: request.temperature }),
    ...(effort !== undefined && flags.effort === 'reasoning_effort'
      ? { reasoning: { effort: effort === 'max' ? 'high' : effort } }
      : {}),
  };
}

function responsesTool(tool: ModelRequest['tools'][number]): OpenAI.Responses.FunctionTool {
  return {
    type: 'function',
    name: tool.name,
    description: tool.description,
    parameters: toolSchema(tool),
    // Strict mode refuses optional properties; our own check of the arguments decides instead.
    strict: false,
  };
}

function inputItems(message: ModelMessage, flags: CompatFlags, nativeModel: string): InputItem[] {
  switch (message.role) {
    case 'system': {
      const content = plainText(message.parts);
      return content === '' ? [] : [{ role: flags.instructionsRole, content }];
    }
    case 'user':
      return [{ role: 'user', content: userContent(message) }];
    case 'tool':
      return message.parts.flatMap((part): InputItem[] =>
        part.type === 'tool_result'
          ? [{ type: 'function_call_output', call_id: part.callId, output: resultOutput(part) }]
          : [],
      );
    case 'assistant':
      return assistantItems(message, nativeModel);
  }
}

function userContent(message: ModelMessage): OpenAI.Responses.ResponseInputMessageContentList {
  return message.parts.flatMap((part): OpenAI.Responses.ResponseInputContent[] => {
    if (part.type === 'text') return [{ type: 'input_text', text: part.text }];
    if (part.type !== 'image') return [];
    return [{ type: 'input_image', detail: 'auto', image_url: pictureUrl(part) }];
  });
}

function resultOutput(
  part: Extract<Part, { type: 'tool_result' }>,
): OpenAI.Responses.ResponseInputItem.FunctionCallOutput['output'] {
  if (part.images === undefined || part.images.length === 0) return part.text;
  return [
    { type: 'input_text', text: part.text },
    ...part.images.map((image) => ({
      type: 'input_image' as const,
      detail: 'auto' as const,
      image_url: pictureUrl(image),
    })),
  ];
}

function assistantItems(message: ModelMessage, nativeModel: string): InputItem[] {
  const blocks = ownBlocks(message, wire, nativeModel);
  // Our own record of what this endpoint sent: reasoning must come back unchanged and before the calls it led to.
  if (Array.isArray(blocks)) return blocks as InputItem[];
  const items: InputItem[] = [];
  const content = plainText(message.parts);
  if (content !== '') items.push({ role: 'assistant', content });
  for (const part of message.parts) {
    if (part.type !== 'tool_call') continue;
    const args = part.parsed.ok ? part.rawArguments.trim() || '{}' : '{}';
    items.push({ type: 'function_call', call_id: part.id, name: part.name, arguments: args });
  }
  return items;
}
