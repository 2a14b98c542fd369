import { expect, test } from 'vitest';
import { compatFlags, endpointOf } from '#core/models/providers.ts';
import { createAnthropicAccumulator } from '#workers/models/anthropic-accumulator.ts';
import { messageParams } from '#workers/models/anthropic-messages.ts';

const start = {
  type: 'message_start',
  message: {
    model: 'claude-sonnet-5',
    usage: { input_tokens: 10, cache_read_input_tokens: 70, cache_creation_input_tokens: 20, output_tokens: 1 },
  },
};
const stop = (reason: string, details?: object) => [
  { type: 'message_delta', delta: { stop_reason: reason, stop_details: details }, usage: { output_tokens: 55 } },
  { type: 'message_stop' },
];

function block(index: number, content_block: object, ...deltas: object[]): object[] {
  return [
    { type: 'content_block_start', index, content_block },
    ...deltas.map((delta) => ({ type: 'content_block_delta', index, delta })),
    { type: 'content_block_stop', index },
  ];
}

function answer(...events: object[]) {
  const accumulator = createAnthropicAccumulator();
  for (const event of [start, ...events]) accumulator.push(event);
  return accumulator.finish();
}

test('thinking, signatures and redacted blocks go back to the same model byte for byte and in order', () => {
  const redacted = { type: 'redacted_thinking', data: 'ZW5jcnlwdGVk' };
  const {
    parts,
    native,
    stop: reason,
  } = answer(
    ...block(
      0,
      { type: 'thinking', thinking: '', signature: '' },
      { type: 'thinking_delta', thinking: 'Let me ' },
      { type: 'thinking_delta', thinking: 'see 🌍' },
      { type: 'signature_delta', signature: 'c2ln' },
    ),
    ...block(1, redacted),
    ...block(2, { type: 'text', text: '' }, { type: 'text_delta', text: 'Looking.' }),
    ...block(
      3,
      { type: 'tool_use', id: 't1', name: 'exec', input: {} },
      { type: 'input_json_delta', partial_json: '{"command":' },
      { type: 'input_json_delta', partial_json: '"ls"}' },
    ),
    ...stop('tool_use'),
  );
  const blocks = [
    { type: 'thinking', thinking: 'Let me see 🌍', signature: 'c2ln' },
    redacted,
    { type: 'text', text: 'Looking.' },
    { type: 'tool_use', id: 't1', name: 'exec', input: { command: 'ls' } },
  ];
  expect(reason).toBe('tools');
  expect(native).toEqual(blocks);

  const flags = compatFlags(endpointOf('anthropic', {}), 'claude-sonnet-5');
  const message = {
    role: 'assistant',
    parts,
    native: { wire: 'anthropic.messages', model: 'anthropic:claude-sonnet-5', blocks: native ?? null },
  } as const;
  const request = { model: 'claude-sonnet-5', messages: [message], tools: [], outputTokensMax: 100 };
  expect(messageParams(request, flags, 'anthropic:claude-sonnet-5').messages.at(-1)?.content).toEqual(blocks);
  // Another model gets the neutral parts only: it cannot verify the signature.
  expect(messageParams(request, flags, 'anthropic:claude-opus-5').messages.at(-1)?.content).toEqual(blocks.slice(2));
});

test('figures are totals: the last one counts, and cached tokens are part of the input', () => {
  expect(answer(...block(0, { type: 'text', text: 'Hi' }), ...stop('end_turn')).usage).toEqual({
    input: 100,
    cacheRead: 70,
    cacheWrite: 20,
    output: 55,
    reasoning: 0,
    source: 'provider',
  });
});

test('a second answer inside the first is a protocol error', () => {
  expect(() => answer(start)).toThrow(expect.objectContaining({ kind: 'protocol' }));
});

test('a stop reason without message_stop is not an end', () => {
  expect(() => answer(...block(0, { type: 'text', text: 'Hi' }), ...stop('end_turn').slice(0, 1))).toThrow(/broke off/);
});

test('a piece of a block that was not begun is a protocol error', () => {
  expect(() => answer({ type: 'content_block_delta', index: 4, delta: { type: 'text_delta', text: 'x' } })).toThrow(
    expect.objectContaining({ kind: 'protocol' }),
  );
});

test('unknown events, blocks and deltas are passed over', () => {
  const { parts } = answer(
    { type: 'ping' },
    { type: 'new_kind_of_event' },
    ...block(0, { type: 'new_block' }, { type: 'new_delta', x: 1 }),
    ...block(1, { type: 'text', text: 'Hi' }),
    ...stop('end_turn'),
  );
  expect(parts).toEqual([{ type: 'text', text: 'Hi' }]);
});

test.each([
  ['end_turn', 'stop'],
  ['stop_sequence', 'stop'],
  ['max_tokens', 'length'],
  ['model_context_window_exceeded', 'context_full'],
  ['pause_turn', 'continue'],
  ['refusal', 'refused'],
  ['something_new', 'other'],
])('the stop reason %s means %s', (reason, expected) => {
  expect(answer(...block(0, { type: 'text', text: 'Hi' }), ...stop(reason)).stop).toBe(expected);
});

test('a refusal carries the explanation the vendor gave', () => {
  expect(answer(...stop('refusal', { category: 'bio', explanation: 'Not this.' })).parts).toEqual([
    { type: 'refusal', text: 'Not this.' },
  ]);
});

test('an input given whole in the start of its block is used', () => {
  const { parts } = answer(
    ...block(0, { type: 'tool_use', id: 't', name: 'exec', input: { command: 'ls' } }),
    ...stop('tool_use'),
  );
  expect(parts[0]).toMatchObject({ parsed: { ok: true, arguments: { command: 'ls' } } });
});
