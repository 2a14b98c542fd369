import { expect, test } from 'vitest';
import { owner, Product } from '../support/product.ts';

const worker = {
  name: 'assistant',
  frontMatter: `tools: [exec, send_file]
autonomy: autonomous
grants:
  - allow: [file.*, tool.exec]`,
};

const bomb = Buffer.concat([Buffer.from('504b0304140000000800', 'hex'), Buffer.alloc(5_000, 7)]);

test('a document goes from a chat to the workspace and comes back changed, whatever it is called', async () => {
  await using product = await Product.up({
    agents: [worker],
    script: [
      {
        toolCalls: [
          {
            name: 'exec',
            arguments: { command: 'ls -1 inbox; tr a-z A-Z < "inbox/passwd" > big.txt; ln -s /etc/hostname link' },
          },
        ],
      },
      { toolCalls: [{ name: 'send_file', arguments: { path: 'link' } }] },
      { toolCalls: [{ name: 'send_file', arguments: { path: 'big.txt', caption: 'In capitals' } }] },
      { text: 'Sent.' },
    ],
  });
  const file = { name: '../../etc/passwd', mime: 'image/png', bytes: Buffer.from(`${'letters '.repeat(1_000)}\n`) };
  product.telegram.people.says(owner, owner, { text: 'Make it big', file });
  await product.hears(owner, /Sent\./, 40_000);

  const sent = product.telegram.said(owner).find((message) => message.file !== undefined);
  expect(sent?.text).toBe('In capitals');
  expect(sent?.file).toMatchObject({ name: 'big.txt', bytes: Buffer.from(`${'LETTERS '.repeat(1_000)}\n`) });
  const [first, second, third] = product.model.requests.map(({ body }) => JSON.stringify(body));
  // Named by what it is; too long to be shown in the message itself.
  expect(first).toContain('[attached: inbox/passwd (text/plain, 8.0 kB)]');
  expect(second).toContain('passwd');
  expect(third).toContain('a link that leads out of it');
  // Where a file is fetched from holds the bot's token.
  const everything = [first, second, third, product.output].join('\n');
  expect(everything).not.toContain(product.telegram.token);
});

test('a file that is gone, and one that pretends, stop nothing', async () => {
  await using product = await Product.up({ agents: [worker], script: [{ text: 'I have one of them.' }] });
  product.telegram.people.says(owner, owner, {
    text: 'Look',
    file: { name: 'cat.png', mime: 'image/png', bytes: bomb },
  });
  await product.hears(owner, /I have one of them/, 40_000);
  expect(JSON.stringify(product.model.requests[0]?.body)).toContain('inbox/cat.png (application/zip');
  product.telegram.people.says(owner, owner, {
    text: 'And this',
    file: { name: 'film.mp4', mime: 'video/mp4', bytes: Buffer.from('x'), claimedBytes: 50 * 1024 * 1024 },
  });
  await product.hears(owner, /I could not take in a file.*film\.mp4/s, 40_000);
  await product.telegram.waitFor(
    () =>
      product.telegram.said(owner).filter(({ text }) => text.includes('I have one of them')).length === 2 || undefined,
  );
  expect(JSON.stringify(product.model.requests[1]?.body)).toContain('film.mp4');
});
