import { expect, test } from 'vitest';
import type { ModelMessage, ToolCallPart } from '#core/models/model-port.ts';
import { prepareMessages } from '#core/models/prepare-messages.ts';

const call = (id: string): ToolCallPart => ({
  type: 'tool_call',
  id,
  name: 'exec',
  rawArguments: '{}',
  parsed: { ok: true, arguments: {} },
});
const said = (...parts: ModelMessage['parts']): ModelMessage => ({ role: 'assistant', parts });
const result = (callId: string, text = 'ok'): ModelMessage => ({
  role: 'tool',
  parts: [{ type: 'tool_result', callId, text, isError: false }],
});
const user: ModelMessage = { role: 'user', parts: [{ type: 'text', text: 'hi' }] };

test('a call whose result was lost gets an error result that says so', () => {
  const [, , tool] = prepareMessages([user, said(call('a'), call('b')), result('a')]);
  expect(tool?.parts).toMatchObject([
    { callId: 'a', text: 'ok', isError: false },
    { callId: 'b', text: expect.stringContaining('outcome is unknown'), isError: true },
  ]);
});

test('results come right after their calls, in the order of the calls, once', () => {
  const prepared = prepareMessages([said(call('a'), call('b')), user, result('b'), result('a'), result('a', 'later')]);
  expect(prepared.map((message) => message.role)).toEqual(['assistant', 'tool', 'user']);
  expect(prepared[1]?.parts).toMatchObject([{ callId: 'a', text: 'later' }, { callId: 'b' }]);
});

test('results without a call and empty messages disappear', () => {
  expect(prepareMessages([result('gone'), said(), user])).toEqual([user]);
});
