import { expect, test } from 'vitest';
import { owner, Product } from '../support/product.ts';

const worker = {
  name: 'assistant',
  frontMatter: `tools: [exec, read_file, write_file, list_files, search_files, memory_save, memory_search]
autonomy: supervised
grants:
  - allow: [file.*, memory.*]
  - ask: tool.exec`,
};

test('someone pairs, asks for something that needs a shell, approves the command and gets the answer in the chat', async () => {
  await using product = await Product.up({
    agents: [worker],
    script: [
      {
        text: 'Let me look.',
        toolCalls: [{ name: 'exec', arguments: { command: 'echo made-$((40+2)) | tee made.txt' } }],
      },
      { text: 'The command printed **made-42**.' },
    ],
  });
  product.telegram.people.says(owner, owner, 'make the file, please');
  await product.presses(owner, owner, 'Approve');
  await product.hears(owner, /The command printed made-42/);

  const said = product.telegram.said(owner).map((message) => message.text);
  expect(said.findIndex((text) => text.includes('Let me look'))).toBeLessThan(
    said.findIndex((text) => text.includes('echo made-')),
  );
  // The card now says who decided and has nothing left to press.
  const card = await product.telegram.waitFor(() =>
    product.telegram.said(owner).find((message) => message.text.includes('Approved')),
  );
  expect(card.text).toMatch(/Approved by Person 1001/);
  expect(card.buttons).toEqual([]);
  const second = product.model.requests[1]?.body;
  expect(JSON.stringify(second)).toContain('made-42');
  expect(JSON.stringify(second)).not.toContain('same call as before');
});
