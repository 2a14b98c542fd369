import { expect, test } from 'vitest';
import { estimateRequestTokens, estimateTextTokens } from '#core/models/estimate-tokens.ts';
import { cpuMs } from '#tests/support/cpu-ms.ts';

/** The counts are those of OpenAI's o200k tokenizer. */
test.each([
  ['The quick brown fox jumps over the lazy dog.', 10],
  ['{"command":"ls -la","cwd":"/workspace"}', 12],
  ['Die Straße ist größer als erwartet.', 7],
  ['日本語のテキストです。', 8],
  ['🎉🎉🎉', 6],
  ['a b c d e f g h i j k l m n o p', 16],
])('%s is estimated at no less than its %i tokens, and at most three times that', (text, tokens) => {
  const estimate = estimateTextTokens(text);
  expect(estimate).toBeGreaterThanOrEqual(tokens);
  expect(estimate).toBeLessThanOrEqual(tokens * 3 + 4);
});

test('data without spaces counts densely', () => {
  expect(estimateTextTokens('QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo='.repeat(100))).toBeGreaterThan(2000);
});

test('nothing is nothing', () => {
  expect(estimateTextTokens('')).toBe(0);
});

test('a megabyte of one letter takes milliseconds, because a stranger may send it', () => {
  expect(cpuMs(() => estimateTextTokens('a'.repeat(1024 * 1024)))).toBeLessThan(500);
});

test('tools, calls, results and pictures all count', () => {
  const text = [{ role: 'user', parts: [{ type: 'text', text: 'hello' }] }] as const;
  const plain = estimateRequestTokens({ messages: text, tools: [] });
  const tools = [{ name: 'exec', description: 'Runs it.', parameters: { type: 'object' } }];
  const image = { role: 'user', parts: [{ type: 'image', mime: 'image/png', dataBase64: '' }] } as const;
  expect(estimateRequestTokens({ messages: text, tools })).toBeGreaterThan(plain + 300);
  expect(estimateRequestTokens({ messages: [...text, image], tools: [] })).toBeGreaterThan(plain + 1000);
});

test('a picture costs by its size, up to what the finest models count, and more where a vendor counts tiles', () => {
  const cost = (model: string, size: { width?: number; height?: number }): number =>
    estimateRequestTokens({
      model,
      messages: [{ role: 'user', parts: [{ type: 'image', mime: 'image/png', dataBase64: '', ...size }] }],
      tools: [],
    });
  const square = { width: 1500, height: 1500 };
  expect(cost('claude-sonnet-5', { width: 20, height: 20 })).toBeLessThan(150);
  expect(cost('claude-sonnet-5', square)).toBeGreaterThanOrEqual(3000);
  expect(cost('claude-sonnet-5', { width: 8000, height: 8000 })).toBeLessThan(5000);
  expect(cost('claude-sonnet-5', {})).toBeGreaterThanOrEqual(4800);
  // Four tiles of 5,667 tokens each on 2,833.
  expect(cost('gpt-4o-mini', square)).toBeGreaterThanOrEqual(25_501);
  const inResult = estimateRequestTokens({
    messages: [
      {
        role: 'tool',
        parts: [
          {
            type: 'tool_result',
            callId: 'c',
            text: '',
            isError: false,
            images: [{ type: 'image', mime: 'image/png', dataBase64: '', ...square }],
          },
        ],
      },
    ],
    tools: [],
  });
  expect(inResult).toBeGreaterThanOrEqual(3000);
});
