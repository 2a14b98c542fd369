import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ImagePart, ModelMessage } from '#core/models/model-port.ts';
import { modelRef } from '#core/models/model-ref.ts';
import { type ModelServer, startModelServer } from '#tests/fakes/model-server.ts';
import { createModelPorts } from '#workers/models/model-ports.ts';
import { type allWires, callOptions, collect, portFor, requestFor, settingsFor } from './model-fixture.ts';

let server: ModelServer;
beforeAll(async () => {
  server = await startModelServer({ script: [{ text: 'ok' }] });
});
afterAll(async () => await server[Symbol.asyncDispose]());

const image = (dataBase64: string): ImagePart => ({
  type: 'image',
  mime: 'image/png',
  dataBase64,
  width: 9,
  height: 9,
});
const call = (id: string) =>
  ({ type: 'tool_call', id, name: 'view_image', rawArguments: '{}', parsed: { ok: true, arguments: {} } }) as const;
const result = (callId: string, isError: boolean, ...images: ImagePart[]) =>
  ({ type: 'tool_result', callId, text: `text of ${callId}`, isError, images }) as const;

const messages: readonly ModelMessage[] = [
  { role: 'user', parts: [{ type: 'text', text: 'Look' }, image('VVNFUg==')] },
  { role: 'assistant', parts: [call('c1'), call('c2')] },
  { role: 'tool', parts: [result('c1', false, image('T05F'), image('VFdP')), result('c2', true, image('QkFE'))] },
  { role: 'user', parts: [{ type: 'text', text: 'And?' }] },
];

async function bodyOf(wire: (typeof allWires)[number]): Promise<Record<string, unknown>> {
  server.use([{ text: 'ok' }]);
  const port = await portFor(server, wire);
  await collect(port.stream(requestFor(wire, { messages }), callOptions()));
  return server.requests[0]?.body ?? {};
}

describe('a model that sees gets pictures as its protocol has them', () => {
  test('chat completions: those of results behind all results, in a message of their own', async () => {
    const sent = (await bodyOf('openai.chat'))['messages'] as { role: string; content: unknown }[];
    expect(sent.map(({ role }) => role)).toEqual(['user', 'assistant', 'tool', 'tool', 'user', 'user']);
    const url = (data: string) => ({ type: 'image_url', image_url: { url: `data:image/png;base64,${data}` } });
    expect(sent[0]?.content).toEqual([{ type: 'text', text: 'Look' }, url('VVNFUg==')]);
    expect(sent[4]?.content).toEqual([
      { type: 'text', text: 'Pictures of the tool result c1:' },
      url('T05F'),
      url('VFdP'),
      { type: 'text', text: 'Pictures of the tool result c2:' },
      url('QkFE'),
    ]);
  });

  test('responses: in the output of the call', async () => {
    const sent = (await bodyOf('openai.responses'))['input'] as Record<string, unknown>[];
    const picture = (data: string) => ({
      type: 'input_image',
      detail: 'auto',
      image_url: `data:image/png;base64,${data}`,
    });
    expect(sent[0]?.['content']).toEqual([{ type: 'input_text', text: 'Look' }, picture('VVNFUg==')]);
    expect(sent.find((item) => item['call_id'] === 'c1' && item['type'] === 'function_call_output')).toEqual({
      type: 'function_call_output',
      call_id: 'c1',
      output: [{ type: 'input_text', text: 'text of c1' }, picture('T05F'), picture('VFdP')],
    });
  });

  test('messages: in the result, and none in one that failed, which the API refuses', async () => {
    const sent = (await bodyOf('anthropic.messages'))['messages'] as { role: string; content: unknown }[];
    const block = (data: string) => ({ type: 'image', source: { type: 'base64', media_type: 'image/png', data } });
    expect(sent[0]?.content).toEqual([{ type: 'text', text: 'Look' }, block('VVNFUg==')]);
    expect(sent[2]?.content).toMatchObject([
      {
        type: 'tool_result',
        tool_use_id: 'c1',
        content: [{ type: 'text', text: 'text of c1' }, block('T05F'), block('VFdP')],
      },
      { type: 'tool_result', tool_use_id: 'c2', content: 'text of c2', is_error: true },
      { type: 'text', text: 'And?' },
    ]);
  });
});

test('a model that cannot see is told that there is something, and sent no picture', async () => {
  server.use([{ text: 'ok' }]);
  const ref = modelRef('groq', 'openai/gpt-oss-120b');
  const settings = { ...settingsFor(server), groq: { apiKey: 'gsk-test', baseUrl: server.openAiBaseUrl } };
  const port = await createModelPorts(settings)(ref);
  await collect(port.stream({ ...requestFor('openai.chat', { messages }), model: ref.model }, callOptions()));
  const text = JSON.stringify(server.requests[0]?.body);
  expect(text).not.toContain('image_url');
  expect(text).not.toContain('VVNFUg==');
  expect(text.match(/this model cannot see pictures/g)).toHaveLength(3);
});

test('an operator says of an unknown model that it sees', async () => {
  server.use([{ text: 'ok' }]);
  const ref = modelRef('vllm', 'our-own-model');
  const settings = { ...settingsFor(server), vllm: { baseUrl: server.openAiBaseUrl, compat: { vision: true } } };
  const port = await createModelPorts(settings)(ref);
  await collect(port.stream({ ...requestFor('openai.chat', { messages }), model: ref.model }, callOptions()));
  expect(JSON.stringify(server.requests[0]?.body)).toContain('data:image/png;base64,VVNFUg==');
});
