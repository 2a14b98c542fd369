import type { Json } from '#core/kit/json.ts';
import {
  type ModelCallOptions,
  ModelError,
  type ModelEvent,
  type ModelMessage,
  type ModelPort,
  type ModelRequest,
  type ToolCallPart,
} from '#core/models/model-port.ts';
import { modelRef } from '#core/models/model-ref.ts';
import type { ProviderSettings } from '#core/models/providers.ts';
import type { ModelServer, RawReply, ScriptedReply } from '#tests/fakes/model-server.ts';
import type { FakeWire } from '#tests/fakes/model-wires.ts';
import { createModelPorts } from '#workers/models/model-ports.ts';

export const allWires: readonly FakeWire[] = ['openai.chat', 'openai.responses', 'anthropic.messages'];

const models = {
  'openai.chat': modelRef('openai', 'gpt-5'),
  'openai.responses': modelRef('openai', 'gpt-5'),
  'anthropic.messages': modelRef('anthropic', 'claude-sonnet-5'),
} as const;

export function refOf(wire: FakeWire) {
  return models[wire];
}

/** Settings that send every vendor's traffic to the fake server. */
export function settingsFor(server: ModelServer, wire: FakeWire = 'openai.chat'): ProviderSettings {
  return {
    openai: {
      apiKey: 'sk-test-0123456789abcdef',
      baseUrl: server.openAiBaseUrl,
      wire,
    },
    anthropic: { apiKey: 'sk-ant-0123456789abcdef', baseUrl: server.anthropicBaseUrl },
    openrouter: { apiKey: 'or-test', baseUrl: server.openAiBaseUrl },
    gemini: { apiKey: 'gm-test', baseUrl: server.openAiBaseUrl },
    glm: { apiKey: 'glm-test', baseUrl: server.openAiBaseUrl },
    vllm: { baseUrl: server.openAiBaseUrl },
  };
}

export async function portFor(server: ModelServer, wire: FakeWire): Promise<ModelPort> {
  return createModelPorts(settingsFor(server, wire))(refOf(wire));
}

export const execTool = {
  name: 'exec',
  description: 'Runs a command.',
  parameters: {
    type: 'object',
    properties: { command: { type: 'string' } },
    required: ['command'],
  } satisfies Json,
};

export function user(text: string): ModelMessage {
  return { role: 'user', parts: [{ type: 'text', text }] };
}

export function requestFor(wire: FakeWire, changes: Partial<ModelRequest> = {}): ModelRequest {
  return {
    model: refOf(wire).model,
    messages: [{ role: 'system', parts: [{ type: 'text', text: 'You are a test.' }] }, user('Hello')],
    tools: [execTool],
    outputTokensMax: 2048,
    cacheKey: 'session-1',
    ...changes,
  };
}

/** Limits that only what hangs comes up against, unless a test makes one short to see it trip. */
export function callOptions(changes: Partial<ModelCallOptions> = {}): ModelCallOptions {
  return { signal: new AbortController().signal, headerMs: 30_000, idleMs: 30_000, totalMs: 50_000, ...changes };
}

export type EndEvent = Extract<ModelEvent, { type: 'end' }>;

/** Everything one attempt yielded. */
export async function collect(events: AsyncIterable<ModelEvent>): Promise<{ events: ModelEvent[]; end: EndEvent }> {
  const list: ModelEvent[] = [];
  for await (const event of events) list.push(event);
  const end = list.at(-1);
  if (end?.type !== 'end') throw new Error('the stream had no end event');
  return { events: list, end };
}

/** The error of one attempt that must fail. */
export async function failureOf(events: AsyncIterable<ModelEvent>): Promise<ModelError> {
  try {
    await collect(events);
  } catch (err) {
    if (err instanceof ModelError) return err;
    throw err;
  }
  throw new Error('the call succeeded');
}

export function raw(...steps: RawReply['steps']): ScriptedReply {
  return { raw: { steps } };
}

export function textOfMessage(message: ModelMessage): string {
  return message.parts.map((part) => (part.type === 'text' ? part.text : '')).join('');
}

export function callsOf(message: ModelMessage): ToolCallPart[] {
  return message.parts.filter((part) => part.type === 'tool_call');
}
