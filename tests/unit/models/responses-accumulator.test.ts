import { expect, test } from 'vitest';
import { createResponsesAccumulator } from '#workers/models/responses-accumulator.ts';

function answer(...events: object[]) {
  const accumulator = createResponsesAccumulator();
  for (const event of events) accumulator.push(event);
  return accumulator.finish();
}

const created = { type: 'response.created', response: { model: 'gpt-5.5', status: 'in_progress' } };
const reasoning = { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: 'ZW5j' };
const item = (output_index: number, value: object) => ({
  type: 'response.output_item.done',
  output_index,
  item: value,
});
const message = (text: string) => ({ type: 'message', role: 'assistant', content: [{ type: 'output_text', text }] });
const completed = (response: object = {}) => ({
  type: 'response.completed',
  response: { status: 'completed', ...response },
});

test('an answer without its terminal event is never a success, whatever the last status said', () => {
  expect(() => answer(created, item(0, message('All of it.')))).toThrow(/broke off/);
});

test('a failed response is classified by its error', () => {
  const error = { code: 'rate_limit_exceeded', message: 'Rate limit reached' };
  expect(() => answer(created, { type: 'response.failed', response: { status: 'failed', error } })).toThrow(
    expect.objectContaining({ kind: 'rate' }),
  );
});

test.each([
  ['max_output_tokens', 'length'],
  ['content_filter', 'refused'],
  ['steered', 'other'],
])('incomplete because of %s means %s', (reason, stop) => {
  const response = { status: 'incomplete', incomplete_details: { reason } };
  expect(answer(created, item(0, message('Half')), { type: 'response.incomplete', response }).stop).toBe(stop);
});

test('reasoning items are kept verbatim and in order for replay', () => {
  const call = { type: 'function_call', id: 'fc', call_id: 'c1', name: 'exec', arguments: '{"command":"ls"}' };
  const { native, stop } = answer(created, item(1, call), item(0, reasoning), completed());
  expect(stop).toBe('tools');
  expect(native).toEqual([reasoning, call]);
});

test('plain answers keep no second copy of themselves', () => {
  expect(answer(created, item(0, message('Hi')), completed()).native).toBeUndefined();
});

test('text that only the closed item holds is not lost, and text that was streamed is not said twice', () => {
  const delta = { type: 'response.output_text.delta', output_index: 0, delta: 'Hel' };
  expect(answer(created, delta, item(0, message('Hello')), completed()).parts).toEqual([
    { type: 'text', text: 'Hello' },
  ]);
});

test('figures include cached and reasoning tokens', () => {
  const usage = {
    input_tokens: 90,
    input_tokens_details: { cached_tokens: 30 },
    output_tokens: 20,
    output_tokens_details: { reasoning_tokens: 12 },
  };
  expect(answer(created, item(0, message('Hi')), completed({ usage })).usage).toMatchObject({
    input: 90,
    cacheRead: 30,
    output: 20,
    reasoning: 12,
  });
});

test('a refusal is told as one', () => {
  const { parts, stop } = answer(
    created,
    { type: 'response.refusal.delta', output_index: 0, delta: 'No.' },
    completed(),
  );
  expect(stop).toBe('refused');
  expect(parts).toEqual([{ type: 'refusal', text: 'No.' }]);
});
