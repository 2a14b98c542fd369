import { describe, expect, test } from 'vitest';
import { modelRef } from '#core/models/model-ref.ts';
import { compatFlags, endpointOf, type ProviderName } from '#core/models/providers.ts';
import { chatChunk } from '#tests/fakes/model-wires.ts';
import { answerLimits } from '#workers/models/accumulator.ts';
import { createChatAccumulator } from '#workers/models/chat-accumulator.ts';

function flagsOf(provider: ProviderName, model: string) {
  return compatFlags(endpointOf(modelRef(provider, model).provider, {}), model);
}

function answer(chunks: readonly unknown[], provider: ProviderName = 'vllm') {
  const accumulator = createChatAccumulator(flagsOf(provider, 'm'));
  for (const chunk of chunks) accumulator.push(chunk);
  return accumulator.finish();
}

function call(fields: object): unknown {
  return chatChunk('m', { tool_calls: [fields] });
}

const end = (reason: string) => chatChunk('m', {}, reason);

function calls(chunks: readonly unknown[]) {
  return answer(chunks).parts.flatMap((part) =>
    part.type === 'tool_call' ? [[part.name, part.rawArguments, part.parsed.ok]] : [],
  );
}

describe('tool calls of servers that number them badly', () => {
  test('two calls that both have index 0 stay two calls', () => {
    expect(
      calls([
        call({ index: 0, id: 'a', function: { name: 'one', arguments: '{"x":1}' } }),
        call({ index: 0, id: 'b', function: { name: 'two', arguments: '{"y":2}' } }),
        end('tool_calls'),
      ]),
    ).toEqual([
      ['one', '{"x":1}', true],
      ['two', '{"y":2}', true],
    ]);
  });

  test('calls without an index are told apart by their ids', () => {
    expect(
      calls([
        call({ id: 'a', function: { name: 'one', arguments: '{"x":' } }),
        call({ function: { arguments: '1}' } }),
        call({ id: 'b', function: { name: 'two', arguments: '{}' } }),
        end('stop'),
      ]),
    ).toEqual([
      ['one', '{"x":1}', true],
      ['two', '{}', true],
    ]);
  });

  test('fragments of parallel calls that interleave find their own call', () => {
    expect(
      calls([
        call({ index: 0, id: 'a', function: { name: 'one', arguments: '' } }),
        call({ index: 1, id: 'b', function: { name: 'two', arguments: '' } }),
        call({ index: 0, function: { arguments: '{"x":1}' } }),
        call({ index: 1, function: { arguments: '{"y":2}' } }),
        end('tool_calls'),
      ]),
    ).toEqual([
      ['one', '{"x":1}', true],
      ['two', '{"y":2}', true],
    ]);
  });

  test('a server that repeats id and name with every fragment makes one call', () => {
    const fields = { index: 0, id: 'a' };
    expect(
      calls([
        call({ ...fields, function: { name: 'one', arguments: '{"x"' } }),
        call({ ...fields, function: { name: 'one', arguments: ':1}' } }),
        end('tool_calls'),
      ]),
    ).toEqual([['one', '{"x":1}', true]]);
  });

  test('arguments sent as an object are taken as their text', () => {
    expect(calls([call({ id: 'a', function: { name: 'one', arguments: { x: 1 } } }), end('tool_calls')])).toEqual([
      ['one', '{"x":1}', true],
    ]);
  });

  test('a call without any id gets one, so that its result can be linked', () => {
    const { parts } = answer([call({ index: 0, function: { name: 'one', arguments: '{}' } }), end('tool_calls')]);
    expect(parts[0]).toMatchObject({ type: 'tool_call', id: expect.stringMatching(/^call_.{8,}/) });
  });

  test('two objects in one argument text are refused, not split', () => {
    expect(
      calls([call({ id: 'a', function: { name: 'one', arguments: '{"a":1}{"b":2}' } }), end('tool_calls')]),
    ).toEqual([['one', '{"a":1}{"b":2}', false]]);
  });
});

test('a finish of "stop" after tool calls means tools', () => {
  expect(answer([call({ id: 'a', function: { name: 'one', arguments: '{}' } }), end('stop')]).stop).toBe('tools');
});

test('[DONE] without a finish reason is not an end', () => {
  expect(() => answer([chatChunk('m', { content: 'Hello' })])).toThrow(/broke off/);
});

test('chunks without choices and with unknown fields are passed over', () => {
  const { parts } = answer([
    { object: 'ping' },
    chatChunk('m', { content: 'Hi', audio: {} }),
    { choices: null },
    end('stop'),
  ]);
  expect(parts).toEqual([{ type: 'text', text: 'Hi' }]);
});

test('an error object in the stream is an error with its class', () => {
  expect(() => answer([{ object: 'error', message: 'maximum context length is 4096 tokens', code: 400 }])).toThrow(
    expect.objectContaining({ kind: 'context', status: 400 }),
  );
});

test.each(['reasoning_content', 'reasoning'])('reasoning is read from %s', (field) => {
  expect(answer([chatChunk('m', { [field]: 'hmm' }), chatChunk('m', { content: 'Hi' }), end('stop')]).parts[0]).toEqual(
    {
      type: 'reasoning',
      text: 'hmm',
    },
  );
});

test('a thought signature on a call is kept verbatim for replay', () => {
  const extra = { google: { thought_signature: 'c2lnbmF0dXJl' } };
  const { native } = answer([
    call({ index: 0, id: 'a', extra_content: extra, function: { name: 'one', arguments: '{}' } }),
    end('stop'),
  ]);
  expect(native).toEqual({ message: {}, calls: { a: { extra_content: extra } } });
});

test('reasoning is kept for replay where the provider wants it back, and only there', () => {
  const chunks = [chatChunk('m', { reasoning_content: 'hm' }), chatChunk('m', { content: 'Hi' }), end('stop')];
  expect(answer(chunks, 'glm').native).toEqual({ message: { reasoning_content: 'hm' }, calls: {} });
  expect(answer(chunks, 'groq').native).toBeUndefined();
});

test('reasoning details that stream in pieces are joined by their index', () => {
  const piece = (fields: object) =>
    chatChunk('m', { reasoning_details: [{ type: 'reasoning.text', index: 0, ...fields }] });
  const { native } = answer(
    [piece({ text: 'ab' }), piece({ text: 'cd', signature: null }), piece({ signature: 'sig' }), end('stop')],
    'openrouter',
  );
  expect(native).toMatchObject({
    message: { reasoning_details: [{ type: 'reasoning.text', index: 0, text: 'abcd', signature: 'sig' }] },
  });
});

test('figures include cached tokens; figures of zeros count as none', () => {
  const usage = { prompt_tokens: 100, completion_tokens: 10, prompt_tokens_details: { cached_tokens: 60 } };
  expect(answer([end('stop'), { choices: [], usage }]).usage).toEqual({
    input: 100,
    cacheRead: 60,
    cacheWrite: 0,
    output: 10,
    reasoning: 0,
    source: 'provider',
  });
  expect(
    answer([end('stop'), { choices: [], usage: { prompt_tokens: 0, completion_tokens: 0 } }]).usage,
  ).toBeUndefined();
});

test('thinking that Gemini counts only in the total is charged as output', () => {
  const usage = { prompt_tokens: 100, completion_tokens: 10, total_tokens: 150 };
  expect(answer([end('stop'), { choices: [], usage }], 'gemini').usage).toMatchObject({ output: 50, reasoning: 40 });
  expect(answer([end('stop'), { choices: [], usage }], 'vllm').usage).toMatchObject({ output: 10 });
});

test('arguments above 256 kB and more than 128 calls are refused', () => {
  const huge = 'x'.repeat(answerLimits.argumentsBytesMax + 1);
  expect(() => answer([call({ id: 'a', function: { name: 'one', arguments: huge } })])).toThrow(/256 kB/);
  const many = Array.from({ length: answerLimits.callsMax + 1 }, (_, index) =>
    call({ index, id: `c${index}`, function: { name: 'one', arguments: '{}' } }),
  );
  expect(() => answer(many)).toThrow(/more than 128/);
});
