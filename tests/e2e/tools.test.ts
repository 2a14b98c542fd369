import { afterAll, beforeAll, expect, test } from 'vitest';
import { readPicture } from '#core/files/picture.ts';
import { pdfOf, pngOf } from '../support/documents.ts';
import { owner, Product } from '../support/product.ts';

const agents = [
  {
    name: 'assistant',
    frontMatter: `tools: [exec, job_output, job_stop, read_file, write_file, edit_file, move_file, delete_file, view_image, read_pdf]
autonomy: semi-autonomous
ask_above: { risk: high }
grants:
  - allow: [file.read, tool.job, tool.exec]
  - ask: [file.write, file.delete]`,
  },
];

let product: Product;
beforeAll(async () => {
  product = await Product.up({ agents });
});
afterAll(async () => await product[Symbol.asyncDispose]());

const call = (name: string, args: unknown) => ({ toolCalls: [{ name, arguments: args }] });
const says = (text: string): void => void product.telegram.people.says(owner, owner, text);
const body = (index: number): string => JSON.stringify(product.model.requests[index]?.body);

interface Sent {
  readonly messages: readonly { readonly role: string; readonly content: unknown }[];
}
const messages = (index: number): Sent['messages'] =>
  ((product.model.requests[index]?.body ?? { messages: [] }) as unknown as Sent).messages;

test('a picture from the chat reaches the eyes of the model, and so do one of the workspace and a page of a PDF', async () => {
  const png = pngOf(64, 48);
  product.model.use([{ text: 'A red square.' }]);
  product.telegram.people.says(owner, owner, {
    text: 'What is this?',
    file: { name: 'square.png', mime: 'image/png', bytes: png },
  });
  await product.hears(owner, /A red square\./, 40_000);
  const asked = messages(0).find((message) => Array.isArray(message.content));
  expect(asked?.content).toEqual([
    { type: 'text', text: expect.stringContaining('[attached: inbox/square.png (image/png') },
    { type: 'image_url', image_url: { url: `data:image/png;base64,${png.toString('base64')}` } },
  ]);

  const report = { name: 'report.pdf', mime: 'application/pdf', bytes: pdfOf(['Revenue grew', 'Costs fell']) };
  product.model.use([
    call('read_pdf', { path: 'inbox/report.pdf' }),
    call('read_pdf', { path: 'inbox/report.pdf', pages: '2', as_images: true }),
    call('view_image', { path: 'inbox/square.png' }),
    { text: 'Revenue up, costs down.' },
  ]);
  product.telegram.people.says(owner, owner, { text: 'Sum it up', file: report });
  await product.hears(owner, /Revenue up, costs down\./, 40_000);
  expect(body(1)).toContain('[page 1 of 2]\\nRevenue grew');
  const pictures = (index: number) => body(index).match(/"data:image\/(?:png|jpeg);base64,/g)?.length;
  // The one of the message before, then that page, then the picture once more.
  expect([0, 1, 2, 3].map(pictures)).toEqual([1, 1, 2, 3]);
  const last = messages(3).at(-1);
  expect(last).toMatchObject({
    role: 'user',
    content: [{ type: 'text', text: expect.stringContaining('Pictures of') }, {}],
  });
  // The bytes live in a table of files and not in the log of the session.
  const [log] = await product.database.query<{ bytes: number }>(
    'select max(length(payload::text))::int as bytes from event',
  );
  expect(log?.bytes).toBeLessThan(20_000);
});

test('a change is shown before it is approved, made exactly once, and a deletion is asked for', async () => {
  product.model.use([
    call('exec', { command: 'printf "name = old\\nport = 80\\n" > app.conf' }),
    call('edit_file', { path: 'app.conf', old_string: 'name = old', new_string: 'name = new' }),
    call('delete_file', { path: 'app.conf' }),
    call('read_file', { path: 'app.conf', start_line: 1 }),
    { text: 'Kept it.' },
  ]);
  says('Rename it and throw it away');
  const card = await product.hears(owner, /may I do this\?[\s\S]*edit_file: Edit app\.conf/, 40_000);
  expect(card).toContain('- name = old');
  expect(card).toContain('+ name = new');
  await product.presses(owner, owner, 'Approve', 'Edit app.conf');
  await product.hears(owner, /delete_file: Delete app\.conf/, 40_000);
  // Nothing brings a file back: there is no "always" to press.
  await product.offers(owner, 'Deny', 'Delete app.conf');
  expect(product.button(owner, 'Always in this session', 'Delete app.conf')).toBeUndefined();
  await product.presses(owner, owner, 'Deny', 'Delete app.conf');
  await product.hears(owner, /Kept it\./, 40_000);
  expect(body(2)).toContain('Edited app.conf.');
  expect(body(3)).toContain('Denied by');
  expect(body(4)).toContain('1\\tname = new\\n2\\tport = 80');
});

test('a background command goes on over turns and through the end of its worker', async () => {
  product.model.use([
    call('exec', { command: 'echo first; sleep 4; echo second; sleep 600', background: true }),
    { text: 'It runs.' },
  ]);
  says('Start it');
  await product.hears(owner, /It runs\./, 40_000);
  const [, job = ''] = /Started (j\d+)\./.exec(body(1)) ?? [];
  expect(job).not.toBe('');
  await product.kill('up');
  await product.start('up');
  product.model.use([
    call('job_output', { job, offset: 6, wait_seconds: 20 }),
    call('job_stop', { job }),
    { text: 'Stopped it.' },
  ]);
  says('And now?');
  await product.hears(owner, /Stopped it\./, 60_000);
  expect(body(1)).toMatch(/runs since .*\\nsecond/);
  expect(body(2)).toContain('was stopped after');
});

test('a large photograph is shown smaller, and an agent without hands sees pictures, too', async () => {
  product.model.use([{ text: 'A wide one.' }]);
  const wide = { name: 'wide.png', mime: 'image/png', bytes: pngOf(3000, 1500) };
  product.telegram.people.says(owner, owner, { text: 'And this?', file: wide });
  await product.hears(owner, /A wide one\./, 60_000);
  expect(sizesSent(product, 0)).toContainEqual([1568, 784]);

  await using other = await Product.up({
    agents: [{ name: 'assistant', frontMatter: 'tools: []' }],
    script: [{ text: 'I see it.' }],
  });
  const small = { name: 'small.png', mime: 'image/png', bytes: pngOf(20, 10) };
  other.telegram.people.says(owner, owner, { text: 'Look', file: small });
  await other.hears(owner, /I see it\./, 40_000);
  expect(sizesSent(other, 0)).toEqual([[20, 10]]);
  expect(other.telegram.said(owner).some(({ text }) => text.includes('could not take in'))).toBe(false);
});

/** Width and height of every picture of a request. */
function sizesSent(of: Product, index: number): number[][] {
  const found = JSON.stringify(of.model.requests[index]?.body).matchAll(/data:image\/\w+;base64,([\w+/=]+)/g);
  return Array.from(found, ([, base64 = '']) => {
    const facts = readPicture(Buffer.from(base64, 'base64'));
    return facts === undefined ? [] : [facts.width, facts.height];
  });
}
