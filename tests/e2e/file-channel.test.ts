import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { Product } from '../support/product.ts';

const lineSchema = z.looseObject({
  type: z.string(),
  id: z.string(),
  room: z.string().optional(),
  text: z.string().optional(),
  parts: z.array(z.looseObject({ type: z.string() })).optional(),
});

test('a program talks to an agent through files: it attaches one, approves, and survives a kill of everything', async () => {
  await using product = await Product.prepare({
    agents: [
      {
        name: 'assistant',
        frontMatter: `tools: [exec]
autonomy: supervised
grants:
  - ask: tool.exec`,
      },
    ],
    script: [
      { toolCalls: [{ name: 'exec', arguments: { command: 'wc -l < inbox/rows.csv' } }] },
      { text: 'There are **3** rows.' },
      { text: 'Still here.' },
    ],
    env: { TELEGRAM_BOT_TOKEN: '' },
  });
  const folder = path.join(product.folder, 'lines');
  mkdirSync(path.join(folder, 'files'), { recursive: true, mode: 0o700 });
  writeFileSync(path.join(folder, 'files/rows.csv'), 'a\nb\nc\n');
  const env = { SWITCHYARD_FILE_CHANNEL: folder };
  const say = (line: object) =>
    appendFileSync(path.join(folder, 'in.jsonl'), `${JSON.stringify(line)}\n`, { mode: 0o600 });
  const out = () =>
    existsSync(path.join(folder, 'out.jsonl'))
      ? readFileSync(path.join(folder, 'out.jsonl'), 'utf8')
          .split('\n')
          // The last line may be half written.
          .slice(0, -1)
          .map((line) => lineSchema.parse(JSON.parse(line)))
      : [];
  const tokenOf = (label: string) =>
    out()
      .flatMap((line) => line.parts ?? [])
      .flatMap(
        (part) =>
          z.array(z.array(z.looseObject({ label: z.string(), token: z.string() }))).safeParse(part['rows']).data ?? [],
      )
      .flat()
      .findLast((button) => button.label === label)?.token;

  say({ type: 'message', text: 'How many rows?', room: 'ci', id: 'job-1', files: [{ path: 'rows.csv' }] });
  await product.start('up', env);
  await expect.poll(() => tokenOf('Approve')).toBeDefined();
  say({ type: 'action', token: tokenOf('Approve'), room: 'ci' });
  await expect.poll(() => out().map(({ text }) => text)).toContain('There are **3** rows.');
  expect(out().every(({ room }) => room === 'ci')).toBe(true);
  expect(JSON.stringify(product.model.requests[1]?.body)).toContain('3');

  await product.kill('up');
  say({ type: 'message', text: 'How many rows?', room: 'ci', id: 'job-1' });
  say({ type: 'message', text: 'Are you there?', room: 'ci' });
  await product.start('up', env);
  await expect.poll(() => out().map(({ text }) => text)).toContain('Still here.');
  // The line with the old id was not asked again.
  expect(product.model.requests).toHaveLength(3);
  expect(out().filter(({ text }) => text === 'There are **3** rows.')).toHaveLength(1);
});
