import { expect, test } from 'vitest';
import { buildMessages, placeEvents } from '#core/turns/build-context.ts';
import type { TurnEvent } from '#core/turns/turn-event.ts';

const call = (id: string, name = 'exec') => ({
  type: 'tool_call',
  id,
  name,
  rawArguments: '{}',
  parsed: { ok: true, arguments: {} },
});

const answer = (...parts: object[]): TurnEvent => ({
  kind: 'assistant_message',
  parts: parts as never,
  model: 'm',
  stop: 'tools',
  usage: {},
  costMicros: '0',
});

const result = (callId: string, text: string): TurnEvent => ({
  kind: 'tool_finished',
  callId,
  name: 'exec',
  text,
  isError: false,
});

test('a tool call that never ran gets a result that says so, because providers refuse an open call', () => {
  const messages = buildMessages([
    { kind: 'user_message', sourceTurnId: 't', text: 'go', author: 'Ann' },
    answer(call('a'), call('b')),
    result('a', 'done'),
  ]);
  expect(messages.map((message) => message.role)).toEqual(['user', 'assistant', 'tool']);
  expect(messages[2]?.parts).toEqual([
    { type: 'tool_result', callId: 'a', text: 'done', isError: false },
    {
      type: 'tool_result',
      callId: 'b',
      text: 'This call was not carried out: the turn ended before it.',
      isError: true,
    },
  ]);
});

test('a call id that a provider uses again keeps the result of its own answer', () => {
  const messages = buildMessages([answer(call('x')), result('x', 'first'), answer(call('x')), result('x', 'second')]);
  const results = messages.filter((message) => message.role === 'tool').flatMap((message) => message.parts);
  expect(results.map((part) => (part.type === 'tool_result' ? part.text : ''))).toEqual(['first', 'second']);
});

test('results follow their answer even when a steered message came between', () => {
  const messages = buildMessages([
    answer(call('a')),
    { kind: 'user_message', sourceTurnId: 't', text: 'also this', author: 'Ann' },
    result('a', 'done'),
  ]);
  expect(messages.map((message) => message.role)).toEqual(['assistant', 'tool', 'user']);
});

test('events of a kind this version does not know are skipped', () => {
  const base = { turnId: undefined, createdAt: new Date() };
  const placed = placeEvents([
    { ...base, seq: 1, kind: 'from_the_future', payload: {} },
    { ...base, seq: 2, kind: 'notice', payload: { text: 'hello' } },
  ]);
  expect(placed.map((item) => item.seq)).toEqual([2]);
});
