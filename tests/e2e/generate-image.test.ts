import { expect, test } from 'vitest';
import { awayFromMidnight } from '../support/away-from-midnight.ts';
import { pngOf } from '../support/documents.ts';
import { owner, Product } from '../support/product.ts';

const artist = (more: string) => ({
  name: 'assistant',
  frontMatter: `tools: [generate_image, read_file]
autonomy: autonomous
grants:
  - allow: [image.generate, file.read, file.write]
${more}`,
});
const draw = (path: string) => ({
  toolCalls: [{ name: 'generate_image', arguments: { prompt: 'a red square', path, shape: 'landscape' } }],
});

test('a picture is drawn, kept, posted, seen and paid for, until the budget is used up', async () => {
  const png = pngOf(96, 64);
  await awayFromMidnight();
  await using product = await Product.up({
    agents: [artist('budget: { daily_usd: 1 }\noutput_tokens_max: 64')],
    yaml: 'models:\n  images: { model: "openai:gpt-image-1", usd_per_image: 0.6 }\n',
    script: [draw('art/square.png'), draw('art/more.png'), { text: 'One was possible.' }],
    images: () => png,
  });
  product.telegram.people.says(owner, owner, 'Draw two squares');
  await product.hears(owner, /One was possible\./, 60_000);
  expect(product.model.imageRequests).toEqual([
    { model: 'gpt-image-1', prompt: 'a red square', n: 1, size: '1536x1024' },
  ]);
  const posted = () => product.telegram.said(owner).filter((message) => message.file !== undefined);
  await expect.poll(() => posted().map(({ file }) => file?.bytes.equals(png))).toEqual([true]);
  const [, second, third] = product.model.requests.map(({ body }) => JSON.stringify(body));
  expect(second).toContain('Drew art/square.png (96 by 64 pixels). It is in the thread.');
  expect(second).toContain(`data:image/png;base64,${png.toString('base64')}`);
  expect(third).toMatch(/budget/i);
  const [booked] = await product.database.query<{ cost: number }>(
    `select sum(cost_micros)::int as cost from ledger where model = 'openai:gpt-image-1'`,
  );
  expect(booked?.cost).toBe(600_000);
});

test('a picture the vendor refuses is told as such and costs nothing', async () => {
  await using product = await Product.up({
    agents: [artist('')],
    yaml: 'models:\n  images: { model: "openai:gpt-image-1", usd_per_image: 0.1 }\n',
    script: [draw('a.png'), { text: 'It was refused.' }],
    images: () => ({ status: 400, message: 'Your request was rejected by the safety system.' }),
  });
  product.telegram.people.says(owner, owner, 'Draw something');
  await product.hears(owner, /It was refused\./, 60_000);
  expect(JSON.stringify(product.model.requests[1]?.body)).toContain('rejected by the safety system');
  const rows = await product.database.query(`select 1 from ledger where model = 'openai:gpt-image-1'`);
  expect(rows).toEqual([]);
});

test('a picture whose tokens the vendor counts is booked by them', async () => {
  await using product = await Product.up({
    agents: [artist('')],
    yaml: 'models:\n  images: { model: "openai:gpt-image-1", usd_per_image: 0.6 }\n',
    script: [draw('a.png'), { text: 'Here it is.' }],
    images: () => pngOf(96, 64),
    imageUsage: { input_tokens: 50, output_tokens: 4160, total_tokens: 4210 },
  });
  product.telegram.people.says(owner, owner, 'Draw a square');
  await product.hears(owner, /Here it is\./, 60_000);
  const rows = await product.database.query<{ cost: number }>(
    `select cost_micros::int as cost from ledger where model = 'openai:gpt-image-1'`,
  );
  // 50 tokens at 5 USD and 4,160 at 40 USD a million.
  expect(rows).toEqual([{ cost: 166_650 }]);
});
