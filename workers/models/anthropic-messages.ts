import Anthropic from '@anthropic-ai/sdk';
import type { ImagePart, ModelMessage, ModelPort, ModelRequest, Part } from '#core/models/model-port.ts';
import { type CompatFlags, compatFlags, type Endpoint } from '#core/models/providers.ts';
import { createAnthropicAccumulator } from './anthropic-accumulator.ts';
import { readAnthropicError } from './classify-model-error.ts';
import { guardedFetch } from './guard.ts';
import { hidePictures } from './hide-pictures.ts';
import { keyOf, nativeModelOf, ownBlocks, plainText, silentLogger, toolSchema } from './model-endpoint.ts';
import { streamAttempt } from './stream-attempt.ts';

type MessageParams = Anthropic.MessageCreateParamsStreaming;
type ContentBlock = Anthropic.ContentBlockParam;

interface Turn {
  readonly role: 'user' | 'assistant';
  readonly content: ContentBlock[];
}

const wire = 'anthropic.messages';
/** The API refuses a thinking budget below this. */
const thinkingTokensMin = 1024;
const cached = { cache_control: { type: 'ephemeral' as const } };

/** Anthropic's Messages protocol. */
export function createAnthropicMessages(endpoint: Endpoint): ModelPort {
  const client = createClient(endpoint);
  return {
    wire,
    stream: (request, options) => {
      const nativeModel = nativeModelOf(endpoint, request.model);
      const params = messageParams(request, compatFlags(endpoint, request.model), nativeModel);
      return streamAttempt({
        wire,
        nativeModel,
        request,
        options,
        accumulator: createAnthropicAccumulator(),
        open: (signal) => client.messages.create(params, { signal }),
        readError: readAnthropicError,
      });
    },
  };
}

function createClient(endpoint: Endpoint): Anthropic {
  const apiKey = keyOf(endpoint, false);
  // The model does not matter for this flag, only the host.
  const needsKeyHeader = compatFlags(endpoint, '').apiKeyHeader;
  return new Anthropic({
    apiKey,
    baseURL: endpoint.baseUrl,
    maxRetries: 0,
    // The SDK's own timer must never fire before the guard's, which also knows why.
    timeout: 2 ** 31 - 1,
    fetch: guardedFetch,
    logger: silentLogger,
    logLevel: 'off',
    ...(needsKeyHeader ? { defaultHeaders: { 'x-api-key': apiKey } } : {}),
  });
}

/**
 * The request body. Three cache breakpoints mark the stable prefix: tools, instructions, and the conversation so far.
 * No temperature, top_p or top_k: the API answers them with 400.
 */
export function messageParams(request: ModelRequest, flags: CompatFlags, nativeModel: string): MessageParams {
  const firstOther = request.messages.findIndex((message) => message.role !== 'system');
  const instructions = request.messages.slice(0, firstOther === -1 ? undefined : firstOther);
  const system = instructions.map((message) => plainText(message.parts)).filter((text) => text !== '');
  const spoken = request.messages.slice(instructions.length);
  const conversation = flags.vision ? spoken : hidePictures(spoken);
  return {
    model: request.model,
    max_tokens: request.outputTokensMax,
    stream: true,
    messages: markLast(mergeTurns(conversation, nativeModel)),
    ...(system.length === 0
      ? {}
      : {
          system: system.map((text, index) => ({
            type: 'text' as const,
            text,
            ...(index === system.length - 1 ? cached : {}),
          })),
        }),
    ...(request.tools.length === 0 ? {} : { tools: request.tools.map(messagesTool) }),
    ...thinkingParams(request, flags),
  };
}

function messagesTool(
  tool: ModelRequest['tools'][number],
  index: number,
  tools: ModelRequest['tools'],
): Anthropic.Tool {
  return {
    name: tool.name,
    description: tool.description,
    input_schema: toolSchema(tool),
    ...(index === tools.length - 1 ? cached : {}),
  };
}

function thinkingParams(request: ModelRequest, flags: CompatFlags): Partial<MessageParams> {
  const { effort } = request;
  if (effort === undefined) return {};
  if (effort === 'none') return { thinking: { type: 'disabled' } };
  if (flags.effort === 'adaptive') return { thinking: { type: 'adaptive' }, output_config: { effort } };
  if (flags.effort !== 'thinking_budget') return {};
  const share = { low: 0.2, medium: 0.4, high: 0.6, max: 0.8 }[effort];
  const budget = Math.floor(request.outputTokensMax * share);
  // The budget is part of the answer's limit and must leave room for the answer.
  if (budget < thinkingTokensMin) return {};
  return { thinking: { type: 'enabled', budget_tokens: budget } };
}

/** This API wants user and assistant to alternate, with tool results first in the user's turn. */
function mergeTurns(messages: readonly ModelMessage[], nativeModel: string): Turn[] {
  const turns: Turn[] = [];
  for (const message of messages) {
    const role = message.role === 'assistant' ? 'assistant' : 'user';
    const content = role === 'assistant' ? assistantBlocks(message, nativeModel) : userBlocks(message);
    if (content.length === 0) continue;
    const last = turns.at(-1);
    if (last?.role === role) last.content.push(...content);
    else turns.push({ role, content });
  }
  // A history that was cut may begin with an answer; the API wants a question first.
  if (turns[0]?.role === 'assistant') turns.unshift({ role: 'user', content: [{ type: 'text', text: '(continued)' }] });
  return turns;
}

function userBlocks(message: ModelMessage): ContentBlock[] {
  return message.parts.flatMap((part): ContentBlock[] => {
    switch (part.type) {
      case 'text':
        return part.text === '' ? [] : [{ type: 'text', text: part.text }];
      case 'image':
        return [imageBlock(part)];
      case 'tool_result':
        return [
          {
            type: 'tool_result',
            tool_use_id: part.callId,
            content: resultContent(part),
            ...(part.isError ? { is_error: true } : {}),
          },
        ];
      default:
        return [];
    }
  });
}

/** An empty text block is refused, and so is a picture in the result of a failed call. */
function resultContent(
  part: Extract<Part, { type: 'tool_result' }>,
): NonNullable<Anthropic.ToolResultBlockParam['content']> {
  const text = part.text === '' ? '(no output)' : part.text;
  if (part.images === undefined || part.images.length === 0 || part.isError) return text;
  return [{ type: 'text', text }, ...part.images.map(imageBlock)];
}

function imageBlock(image: ImagePart): Anthropic.ImageBlockParam {
  return { type: 'image', source: { type: 'base64', media_type: imageType(image.mime), data: image.dataBase64 } };
}

function imageType(mime: string): Anthropic.Base64ImageSource['media_type'] {
  return mime === 'image/png' || mime === 'image/gif' || mime === 'image/webp' ? mime : 'image/jpeg';
}

function assistantBlocks(message: ModelMessage, nativeModel: string): ContentBlock[] {
  const blocks = ownBlocks(message, wire, nativeModel);
  // Our own record of what this endpoint sent: thinking must come back unchanged and in order.
  if (Array.isArray(blocks))
    return (blocks as ContentBlock[]).filter((block) => block.type !== 'text' || block.text !== '');
  return message.parts.flatMap((part): ContentBlock[] => {
    if (part.type === 'text' || part.type === 'refusal')
      return part.text === '' ? [] : [{ type: 'text', text: part.text }];
    if (part.type !== 'tool_call') return [];
    return [{ type: 'tool_use', id: part.id, name: part.name, input: part.parsed.ok ? part.parsed.arguments : {} }];
  });
}

/** Everything up to the last block is read from the cache by the next call. Thinking blocks cannot carry the mark. */
function markLast(turns: Turn[]): Turn[] {
  const last = turns.at(-1);
  const block = last?.content.at(-1);
  if (
    last === undefined ||
    block === undefined ||
    (block.type !== 'text' && block.type !== 'tool_result' && block.type !== 'image')
  ) {
    return turns;
  }
  const content = [...last.content.slice(0, -1), { ...block, ...cached }];
  return [...turns.slice(0, -1), { ...last, content }];
}
