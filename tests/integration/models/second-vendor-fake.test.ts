import { LLMock } from '@copilotkit/aimock';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { modelRef } from '#core/models/model-ref.ts';
import type { ProviderSettings } from '#core/models/providers.ts';
import type { FakeWire } from '#tests/fakes/model-wires.ts';
import { createModelPorts } from '#workers/models/model-ports.ts';
import {
  allWires,
  callOptions,
  callsOf,
  collect,
  failureOf,
  refOf,
  requestFor,
  textOfMessage,
  user,
} from './model-fixture.ts';

/** A fake that others wrote after the vendors' documents: it keeps our own fake from agreeing only with ourselves. */
const mock = new LLMock({ port: 0 });
beforeAll(async () => {
  mock.onMessage('hello', { content: 'Hi there, nice to meet you!' });
  mock.onMessage('list files', { toolCalls: [{ name: 'exec', arguments: JSON.stringify({ command: 'ls' }) }] });
  await mock.start();
});
afterAll(async () => {
  await mock.stop();
});

async function port(wire: FakeWire) {
  const settings: ProviderSettings = {
    openai: { apiKey: 'mock', baseUrl: `${mock.url}/v1`, wire },
    anthropic: { apiKey: 'mock', baseUrl: mock.url },
  };
  return createModelPorts(settings)(refOf(wire));
}

test.each(allWires)('%s: a text answer', async (wire) => {
  const { end } = await collect(
    (await port(wire)).stream(requestFor(wire, { messages: [user('hello')] }), callOptions()),
  );
  expect(textOfMessage(end.message)).toBe('Hi there, nice to meet you!');
  expect(end.stop).toBe('stop');
});

test.each(allWires)('%s: a tool call', async (wire) => {
  const { end } = await collect(
    (await port(wire)).stream(requestFor(wire, { messages: [user('list files')] }), callOptions()),
  );
  expect(end.stop).toBe('tools');
  expect(callsOf(end.message)[0]).toMatchObject({ name: 'exec', parsed: { ok: true, arguments: { command: 'ls' } } });
});

test.each(allWires)('%s: figures of zeros are replaced by an estimate, so that no call looks free', async (wire) => {
  const { end } = await collect(
    (await port(wire)).stream(requestFor(wire, { messages: [user('hello')] }), callOptions()),
  );
  expect(end.usage.input).toBeGreaterThan(0);
  expect(end.usage.output).toBeGreaterThan(0);
});

test.each(allWires)('%s: an unknown message is an error', async (wire) => {
  const stream = (await port(wire)).stream(requestFor(wire, { messages: [user('something else')] }), callOptions());
  expect((await failureOf(stream)).status).toBe(404);
});

test('every wire of the table is exercised here', () => {
  expect(new Set(allWires.map((wire) => modelRef(refOf(wire).provider, 'x').provider))).toEqual(
    new Set(['openai', 'anthropic']),
  );
});
