import type OpenAI from 'openai';
import type { Json } from '#core/kit/json.ts';
import type { ModelMessage, ModelPort, ModelRequest, ToolCallPart } from '#core/models/model-port.ts';
import { type CompatFlags, compatFlags, type Endpoint } from '#core/models/providers.ts';
import { createChatAccumulator } from './chat-accumulator.ts';
import { readOpenAiError } from './classify-model-error.ts';
import { hidePictures, pictureUrl } from './hide-pictures.ts';
import { nativeModelOf, ownBlocks, plainText, toolSchema } from './model-endpoint.ts';
import { createOpenAiClient } from './openai-client.ts';
import { fieldOf } from './read-json.ts';
import { streamAttempt } from './stream-attempt.ts';

type ChatParams = OpenAI.ChatCompletionCreateParamsStreaming;
type ChatMessage = OpenAI.ChatCompletionMessageParam;

const wire = 'openai.chat';

/** The chat completions protocol: OpenAI-compatible endpoints, and OpenAI itself where settings ask for it. */
export function createOpenAiChat(endpoint: Endpoint): ModelPort {
  const client = createOpenAiClient(endpoint);
  return {
    wire,
    stream: (request, options) => {
      const flags = compatFlags(endpoint, request.model);
      const nativeModel = nativeModelOf(endpoint, request.model);
      return streamAttempt({
        wire,
        nativeModel,
        request,
        options,
        accumulator: createChatAccumulator(flags),
        open: (signal) => client.chat.completions.create(chatParams(request, flags, nativeModel), { signal }),
        readError: readOpenAiError,
      });
    },
  };
}

/** The request body. No temperature: reasoning models refuse it and defaults are what prompts are written for. */
export function chatParams(request: ModelRequest, flags: CompatFlags, nativeModel: string): ChatParams {
  const effort = request.effort;
  return {
    model: request.model,
    messages: (flags.vision ? request.messages : hidePictures(request.messages)).flatMap((message) =>
      chatMessages(message, flags, nativeModel),
    ),
    stream: true,
    [flags.maxTokensField]: request.outputTokensMax,
    ...(flags.usageInStream ? { stream_options: { include_usage: true } } : {}),
    ...(request.tools.length === 0 ? {} : { tools: request.tools.map(chatTool) }),
    ...(flags.promptCacheKey && request.cacheKey !== undefined ? { prompt_cache_key: request.cacheKey } : {}),
    ...(request.temperature === undefined ? {} : { temperature: request.temperature }),
    ...(effort !== undefined && flags.effort === 'reasoning_effort' ? { reasoning_effort: chatEffort(effort) } : {}),
    ...(effort !== undefined && flags.effort === 'thinking'
      ? { thinking: { type: effort === 'none' ? 'disabled' : 'enabled', clear_thinking: false } }
      : {}),
    ...(flags.toolStream && request.tools.length > 0 ? { tool_stream: true } : {}),
  };
}

/** `max` is not known to every model that takes an effort; `high` is. */
function chatEffort(effort: NonNullable<ModelRequest['effort']>): 'none' | 'low' | 'medium' | 'high' {
  return effort === 'max' ? 'high' : effort;
}

function chatTool(tool: ModelRequest['tools'][number]): OpenAI.ChatCompletionTool {
  return {
    type: 'function',
    function: {
      name: tool.name,
      description: tool.description,
      parameters: toolSchema(tool),
    },
  };
}

function chatMessages(message: ModelMessage, flags: CompatFlags, nativeModel: string): ChatMessage[] {
  switch (message.role) {
    case 'system': {
      const content = plainText(message.parts);
      if (content === '') return [];
      return [flags.instructionsRole === 'developer' ? { role: 'developer', content } : { role: 'system', content }];
    }
    case 'user':
      return [{ role: 'user', content: userContent(message) }];
    case 'tool':
      return [...toolMessages(message), ...toolPictures(message)];
    case 'assistant':
      return assistantMessage(message, nativeModel);
  }
}

function toolMessages(message: ModelMessage): ChatMessage[] {
  return message.parts.flatMap((part) =>
    part.type === 'tool_result' ? [{ role: 'tool' as const, tool_call_id: part.callId, content: part.text }] : [],
  );
}

/** A result is text alone in this protocol, and all results must follow their calls: the pictures come behind them. */
function toolPictures(message: ModelMessage): ChatMessage[] {
  const content = message.parts.flatMap((part): OpenAI.ChatCompletionContentPart[] => {
    if (part.type !== 'tool_result' || part.images === undefined || part.images.length === 0) return [];
    return [
      { type: 'text', text: `Pictures of the tool result ${part.callId}:` },
      ...part.images.map((image) => ({ type: 'image_url' as const, image_url: { url: pictureUrl(image) } })),
    ];
  });
  return content.length === 0 ? [] : [{ role: 'user', content }];
}

function userContent(message: ModelMessage): string | OpenAI.ChatCompletionContentPart[] {
  if (!message.parts.some((part) => part.type === 'image')) return plainText(message.parts);
  return message.parts.flatMap((part): OpenAI.ChatCompletionContentPart[] => {
    if (part.type === 'text') return [{ type: 'text', text: part.text }];
    if (part.type !== 'image') return [];
    return [{ type: 'image_url', image_url: { url: pictureUrl(part) } }];
  });
}

function assistantMessage(message: ModelMessage, nativeModel: string): ChatMessage[] {
  const native = ownBlocks(message, wire, nativeModel);
  const calls = message.parts.filter((part): part is ToolCallPart => part.type === 'tool_call');
  const content = plainText(message.parts);
  if (content === '' && calls.length === 0) return [];
  return [
    {
      role: 'assistant',
      content: content === '' ? null : content,
      ...(calls.length === 0 ? {} : { tool_calls: calls.map((call) => chatCall(call, fieldOf(native, 'calls'))) }),
      ...jsonFields(fieldOf(native, 'message')),
    },
  ];
}

function chatCall(call: ToolCallPart, extras: unknown): OpenAI.ChatCompletionMessageFunctionToolCall {
  // Servers parse the arguments of history again; what the model got wrong is told by the error result.
  const args = call.parsed.ok ? call.rawArguments.trim() || '{}' : '{}';
  return {
    id: call.id,
    type: 'function',
    function: { name: call.name, arguments: args },
    ...jsonFields(fieldOf(extras, call.id)),
  };
}

function jsonFields(value: unknown): Record<string, Json> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, Json>) : {};
}
