import { pino } from 'pino';
import { describe, expect, test } from 'vitest';
import { systemClock } from '#core/kit/clock.ts';
import type { Log } from '#core/kit/log.ts';
import { modelRef, parseModelRef } from '#core/models/model-ref.ts';
import { isExactOrDated, priceFromRates, type TokenRates, worstCase } from '#core/models/price.ts';
import { createPriceBook } from '#core/models/price-book.ts';
import type { PriceRow } from '#core/models/price-store.ts';

const log: Log = pino({ level: 'silent' });
const million = 1_000_000;

function book(rows: PriceRow[] = [], settings: Record<string, TokenRates> = {}) {
  const store = { list: async () => rows, put: async () => {}, remove: async () => {} };
  return createPriceBook({ store, settings, clock: systemClock, log });
}

async function cost(text: string, input: number, output: number, cacheRead = 0, cacheWrite = 0) {
  const price = await book().priceOf(parseModelRef(text, modelRef('demo', 'demo')));
  if (price === 'unpriced') return 'unpriced';
  return price.cost({ input, output, cacheRead, cacheWrite, reasoning: 0, source: 'provider' });
}

describe('prices of the catalogue, against list prices computed by hand', () => {
  test.each([
    ['anthropic:claude-sonnet-4-5', 100_000, 1_000, 0, 0, 315_000n],
    ['anthropic:claude-sonnet-4-5', 100_000, 1_000, 80_000, 10_000, 106_500n],
    ['anthropic:claude-sonnet-4-5-20250929', 100_000, 1_000, 0, 0, 315_000n],
    ['anthropic:claude-haiku-4-5', million, million, 0, 0, 6_000_000n],
    ['openai:gpt-4o', 100_000, 10_000, 50_000, 0, 287_500n],
    ['gemini:gemini-2.5-pro', 250_000, 1_000, 0, 0, 640_000n],
  ])('%s with %i in and %i out', async (model, input, output, cacheRead, cacheWrite, expected) => {
    expect(await cost(model, input, output, cacheRead, cacheWrite)).toBe(expected);
  });

  test('the smallest call costs at least one micro-dollar: rounding is up', async () => {
    expect(await cost('openai:gpt-4o-mini', 1, 0)).toBe(1n);
  });

  test('the default models of all providers with a key have a price', async () => {
    for (const text of [
      'openai:gpt-5.5',
      'anthropic:claude-sonnet-5',
      'openrouter:anthropic/claude-sonnet-5',
      'gemini:gemini-3.5-flash',
      'groq:openai/gpt-oss-120b',
      'glm:glm-5.3',
    ]) {
      expect([text, await cost(text, 1000, 1000)]).toEqual([text, expect.any(BigInt)]);
    }
  });
});

describe('a price counts only for the exact model', () => {
  test('a newer model is not priced as the older one whose name begins the same', async () => {
    expect(await cost('anthropic:claude-sonnet-5-5', 1000, 1000)).toBe('unpriced');
    expect(await cost('anthropic:claude-sonnet-5', 1000, 1000)).not.toBe('unpriced');
  });

  test('a model nobody knows is unpriced, a local one is free', async () => {
    expect(await cost('openai:gpt-99', 1000, 1000)).toBe('unpriced');
    expect(await cost('ollama:anything', million, million)).toBe(0n);
    expect(await cost('demo', million, million)).toBe(0n);
  });

  test.each([
    ['gpt-5', 'gpt-5', true],
    ['GLM-5.3', 'glm-5.3', true],
    ['gpt-5-2025-08-07', 'gpt-5', true],
    ['claude-sonnet-4-5-20250929', 'claude-sonnet-4-5', true],
    ['claude-sonnet-4-5@20250929', 'claude-sonnet-4-5', true],
    ['gpt-4-0613', 'gpt-4', true],
    ['claude-sonnet-5-5', 'claude-sonnet-5', false],
    ['gpt-5-mini', 'gpt-5', false],
    ['gpt-5.5', 'gpt-5', false],
    ['model-20251399', 'model', false],
    ['gpt-4-9999', 'gpt-4', false],
  ])('%s as %s: %s', (id, known, expected) => {
    expect(isExactOrDated(id, known)).toBe(expected);
  });
});

describe('what an operator sets wins', () => {
  const rates = { inputMicros: 2_000_000n, outputMicros: 10_000_000n, cacheReadMicros: 200_000n };

  test('a row beats settings, settings beat the catalogue', async () => {
    const ref = modelRef('openai', 'gpt-4o');
    const usage = { input: million, output: 0, cacheRead: 0, cacheWrite: 0, reasoning: 0, source: 'provider' } as const;
    const bySettings = await book([], { [ref.text]: rates }).priceOf(ref);
    expect(bySettings === 'unpriced' ? bySettings : bySettings.cost(usage)).toBe(2_000_000n);
    const row = { provider: 'openai', model: 'gpt-4o', rates: { inputMicros: 7n, outputMicros: 7n } };
    const byRow = await book([row], { [ref.text]: rates }).priceOf(ref);
    expect(byRow === 'unpriced' ? byRow : byRow.cost(usage)).toBe(7n);
  });

  test('cached tokens cost their own rate, and what has no rate costs what input costs', () => {
    const price = priceFromRates(rates);
    expect(
      price.cost({ input: 1000, cacheRead: 600, cacheWrite: 100, output: 100, reasoning: 0, source: 'provider' }),
    ).toBe((400n * 2_000_000n + 600n * 200_000n + 100n * 10_000_000n) / 1_000_000n);
  });
});

test('the worst case is never below the cost of the call it covers', async () => {
  const price = await book().priceOf(modelRef('anthropic', 'claude-sonnet-4-5'));
  if (price === 'unpriced') throw new Error('unpriced');
  const messages = [{ role: 'user', parts: [{ type: 'text', text: 'word '.repeat(4000) }] }] as const;
  const hold = worstCase(price, { messages, tools: [], outputTokensMax: 1000 });
  const real = price.cost({
    input: 4010,
    output: 1000,
    cacheRead: 0,
    cacheWrite: 4010,
    reasoning: 0,
    source: 'provider',
  });
  expect(hold).toBeGreaterThanOrEqual(real);
  expect(hold).toBeLessThan(real * 4n);
});

test('the worst case covers pictures, also where a small model counts them by tiles', async () => {
  const price = await book().priceOf(modelRef('openai', 'gpt-4o-mini'));
  if (price === 'unpriced') throw new Error('unpriced');
  const image = { type: 'image', mime: 'image/png', dataBase64: '', width: 1568, height: 784 } as const;
  const result = { type: 'tool_result', callId: 'c', text: '', isError: false, images: [image, image] } as const;
  const messages = [
    { role: 'user', parts: [image] },
    { role: 'tool', parts: [result] },
  ] as const;
  const hold = worstCase(price, { model: 'gpt-4o-mini', messages, tools: [], outputTokensMax: 100 });
  // 1536 by 768 after scaling: three by two tiles of 5,667 tokens each on 2,833, three times.
  const input = 3 * (2_833 + 6 * 5_667);
  expect(hold).toBeGreaterThanOrEqual(
    price.cost({ input, output: 100, cacheRead: 0, cacheWrite: 0, reasoning: 0, source: 'provider' }),
  );
});
