import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ModelMessage, ModelRequest } from '#core/models/model-port.ts';
import { modelRef } from '#core/models/model-ref.ts';
import type { ProviderName, ProviderSettings } from '#core/models/providers.ts';
import { type ModelServer, startModelServer } from '#tests/fakes/model-server.ts';
import { answerRecords, chatChunk } from '#tests/fakes/model-wires.ts';
import { createModelPorts } from '#workers/models/model-ports.ts';
import { callOptions, collect, execTool, failureOf, raw, settingsFor, user } from './model-fixture.ts';

let server: ModelServer;
beforeAll(async () => {
  server = await startModelServer({ script: [{ text: 'ok' }] });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

async function call(
  provider: ProviderName,
  model: string,
  changes: Partial<ModelRequest> = {},
  settings: ProviderSettings = {},
) {
  const port = await createModelPorts({ ...settingsFor(server), ...settings })(modelRef(provider, model));
  const request = { model, messages: [user('Hello')], tools: [execTool], outputTokensMax: 500, ...changes };
  return port.stream(request, callOptions());
}

function lastBody(): Record<string, unknown> {
  return server.requests.at(-1)?.body ?? {};
}

function records(...chunks: unknown[]): string {
  return chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`).join('');
}

const result = (callId: string): ModelMessage => ({
  role: 'tool',
  parts: [{ type: 'tool_result', callId, text: 'done', isError: false }],
});

test('Gemini gets its thought signature back with the call it came with', async () => {
  const extra = { google: { thought_signature: 'c2ln' } };
  const started = {
    index: 0,
    id: 'a',
    type: 'function',
    extra_content: extra,
    function: { name: 'exec', arguments: '{"command":"ls"}' },
  };
  server.use([raw(records(chatChunk('m', { tool_calls: [started] }), chatChunk('m', {}, 'stop'))), { text: 'ok' }]);
  const first = await collect(await call('gemini', 'gemini-3.5-flash'));
  expect(first.end.stop).toBe('tools');
  await collect(
    await call('gemini', 'gemini-3.5-flash', { messages: [user('run ls'), first.end.message, result('a')] }),
  );
  expect(lastBody()['messages']).toMatchObject([
    { role: 'user' },
    { role: 'assistant', tool_calls: [{ id: 'a', extra_content: extra }] },
    { role: 'tool', tool_call_id: 'a' },
  ]);
  // Another model would refuse a foreign signature.
  await collect(await call('gemini', 'gemini-2.5-pro', { messages: [user('run ls'), first.end.message, result('a')] }));
  expect(JSON.stringify(lastBody())).not.toContain('thought_signature');
});

test('GLM gets its reasoning back, streams tool arguments, and is told how much to think', async () => {
  server.use([{ reasoning: 'hmm, let me see', toolCalls: [{ id: 'a', name: 'exec', arguments: {} }] }, { text: 'ok' }]);
  const first = await collect(await call('glm', 'glm-5.3', { effort: 'high' }));
  expect(lastBody()).toMatchObject({ tool_stream: true, thinking: { type: 'enabled' }, max_tokens: 500 });
  await collect(await call('glm', 'glm-5.3', { messages: [user('go'), first.end.message, result('a')] }));
  expect(lastBody()['messages']).toMatchObject([{}, { reasoning_content: 'hmm, let me see' }, {}]);
});

test('a local server is called without a key of its own', async () => {
  server.use([{ text: 'ok' }]);
  await collect(await call('vllm', 'qwen3'));
  expect(server.requests[0]?.headers['authorization']).toBe('Bearer none');
});

test('a server that sends no figures gets an estimate, and none are asked for where they are refused', async () => {
  const steps = answerRecords('openai.chat', { text: 'A short answer.' }, 'm', { input: 1, output: 1, cacheRead: 0 });
  server.use([raw(...steps.slice(0, -2), 'data: [DONE]\n\n')]);
  const settings = { vllm: { baseUrl: server.openAiBaseUrl, compat: { usageInStream: false } } };
  const { end } = await collect(await call('vllm', 'qwen3', {}, settings));
  expect(end.usage).toMatchObject({ source: 'estimated' });
  expect(end.usage.input).toBeGreaterThan(300);
  expect(end.usage.output).toBeGreaterThan(2);
  expect(lastBody()['stream_options']).toBeUndefined();
});

test('comments of a router keep the stream alive, and its error inside a 200 stream is classified', async () => {
  const error = {
    error: { code: 502, message: 'Provider returned error' },
    choices: [{ delta: {}, finish_reason: 'error' }],
  };
  server.use([raw(': OPENROUTER PROCESSING\n\n', records(error))]);
  expect(await failureOf(await call('openrouter', 'x/y'))).toMatchObject({ kind: 'transient', status: 502 });
});

test('an error object in the style of vLLM is an error', async () => {
  server.use([
    raw(records({ object: 'error', message: "This model's maximum context length is 8192 tokens", code: 400 })),
  ]);
  expect(await failureOf(await call('vllm', 'qwen3'))).toMatchObject({ kind: 'context' });
});

test('a tool schema goes out without the keyword some endpoints refuse', async () => {
  server.use([{ text: 'ok' }]);
  const parameters = { $schema: 'https://json-schema.org/draft/2020-12/schema', type: 'object', properties: {} };
  await collect(await call('gemini', 'gemini-3.5-flash', { tools: [{ name: 't', description: 'd', parameters }] }));
  expect(JSON.stringify(lastBody()['tools'])).not.toContain('$schema');
});

test('pictures go out in the form of each wire', async () => {
  server.use([{ text: 'ok' }]);
  const image = { type: 'image', mime: 'image/png', dataBase64: 'iVBORw0=' } as const;
  const messages: ModelMessage[] = [{ role: 'user', parts: [{ type: 'text', text: 'What is this?' }, image] }];
  await collect(await call('openai', 'gpt-5', { messages }));
  expect(JSON.stringify(lastBody()['messages'])).toContain('data:image/png;base64,iVBORw0=');
  await collect(await call('anthropic', 'claude-sonnet-5', { messages }));
  expect(JSON.stringify(lastBody()['messages'])).toContain('"media_type":"image/png","data":"iVBORw0="');
});

test('Claude is asked to think in the way its generation understands', async () => {
  server.use([{ text: 'ok' }]);
  await collect(await call('anthropic', 'claude-sonnet-5', { effort: 'high' }));
  expect(lastBody()).toMatchObject({ thinking: { type: 'adaptive' }, output_config: { effort: 'high' } });
  await collect(await call('anthropic', 'claude-haiku-4-5', { effort: 'medium', outputTokensMax: 8000 }));
  expect(lastBody()).toMatchObject({ thinking: { type: 'enabled', budget_tokens: 3200 } });
  await collect(await call('anthropic', 'claude-haiku-4-5', { effort: 'low', outputTokensMax: 500 }));
  expect(lastBody()['thinking']).toBeUndefined();
});

test('a history that begins with an answer still begins with a question for Claude', async () => {
  server.use([{ text: 'ok' }]);
  const messages: ModelMessage[] = [{ role: 'assistant', parts: [{ type: 'text', text: 'Earlier.' }] }, user('and?')];
  await collect(await call('anthropic', 'claude-sonnet-5', { messages }));
  expect(lastBody()['messages']).toMatchObject([{ role: 'user' }, { role: 'assistant' }, { role: 'user' }]);
});
