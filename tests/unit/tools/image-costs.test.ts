import { createServer } from 'node:http';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import type { Cost } from '#core/budgets/budget.ts';
import { systemClock } from '#core/kit/clock.ts';
import { modelRef } from '#core/models/model-ref.ts';
import type { TokenRates } from '#core/models/price.ts';
import { createPriceBook } from '#core/models/price-book.ts';
import { toolContext } from '#tests/support/tool-context.ts';
import { createOpenAiImages } from '#workers/models/openai-images.ts';
import { type GenerateImageDeps, generateImageTool } from '#workers/tools/generate-image.ts';

/** What is booked for one picture of a vendor that says this of what it took; the held price is 250,000 micro-USD. */
async function bookedFor(
  usage: unknown,
  options: { readonly model?: string; readonly rates?: Readonly<Record<string, TokenRates>> } = {},
): Promise<Cost> {
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(
      JSON.stringify({ data: [{ b64_json: 'bm8gcGljdHVyZQ==' }], ...(usage === undefined ? {} : { usage }) }),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : 0;
  const ref = modelRef('openai', options.model ?? 'gpt-image-1');
  const booked: Cost[] = [];
  const deps = {
    ledger: {
      reserveHold: async () => undefined,
      recordCost: async (_key: string, cost: Cost) => void booked.push(cost),
    },
    prices: createPriceBook({
      store: { list: async () => [], put: async () => undefined, remove: async () => undefined },
      settings: options.rates ?? {},
      clock: systemClock,
      log: pino({ level: 'silent' }),
    }),
    imageModel: {
      ref,
      port: createOpenAiImages(ref, { openai: { apiKey: 'sk-test', baseUrl: `http://127.0.0.1:${port}/v1` } }),
      priceMicros: 250_000n,
    },
  } as unknown as GenerateImageDeps;
  // It is no picture, so the tool goes no further than what was paid.
  const args = { prompt: 'a red square', path: 'art/square.png' };
  await expect(generateImageTool(deps).run(args, toolContext({}))).rejects.toThrow(/something that is no picture/);
  const [cost, ...others] = booked;
  if (cost === undefined || others.length > 0) throw new Error(`${booked.length} costs were booked`);
  return cost;
}

const usage = { input_tokens: 50, output_tokens: 4160, total_tokens: 4210, input_tokens_details: { text_tokens: 50 } };

test('a picture is booked by the figures of the vendor where the price of its tokens is known', async () => {
  // 50 tokens at 5 USD and 4,160 at 40 USD a million.
  expect(await bookedFor(usage)).toMatchObject({
    costMicros: 166_650n,
    usage: { input: 50, output: 4160, source: 'provider' },
  });
  // Output that is picture has a price of its own: 32 USD, where text is 10.
  expect((await bookedFor(usage, { model: 'gpt-image-1.5' })).costMicros).toBe(133_370n);
  const parts = { ...usage, output_tokens_details: { image_tokens: 4000, text_tokens: 160 } };
  expect((await bookedFor(parts, { model: 'gpt-image-1.5' })).costMicros).toBe(129_850n);
  const rates = { 'openai:our-own': { inputMicros: 1_000_000n, outputMicros: 10_000_000n } };
  expect((await bookedFor(usage, { model: 'our-own', rates })).costMicros).toBe(41_650n);
});

test.each([
  ['no figures', undefined, {}],
  ['no price of its tokens', usage, { model: 'nobody-knows' }],
  ['figures that cannot be', { input_tokens: 1e15, output_tokens: 1 }, {}],
  ['negative figures', { input_tokens: -5, output_tokens: -5 }, {}],
  ['figures without output', { input_tokens: 50, output_tokens: 0 }, {}],
  ['figures of another shape', { prompt_tokens: 50 }, {}],
])('with %s the price that was held is booked', async (_name, figures, options) => {
  expect((await bookedFor(figures, options)).costMicros).toBe(250_000n);
});
