import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createScrubber } from '#workers/egress/scrub.ts';

const secret = 'tok/en+"42"~ünïq=&x';

async function through(chunks: readonly Buffer[]): Promise<Buffer> {
  const stream = createScrubber([secret]).stream();
  const out: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => out.push(chunk));
  for (const chunk of chunks) stream.write(chunk);
  stream.end();
  await new Promise((resolve) => stream.once('end', resolve));
  return Buffer.concat(out);
}

const forms: Readonly<Record<string, Buffer>> = {
  plain: Buffer.from(secret),
  'base64 alone': Buffer.from(Buffer.from(secret).toString('base64')),
  'base64 behind one byte': Buffer.from(Buffer.from(`:${secret}:`).toString('base64')),
  'base64 behind two bytes': Buffer.from(Buffer.from(`u:${secret}:`).toString('base64')),
  base64url: Buffer.from(Buffer.from(`u:${secret}`).toString('base64url')),
  percent: Buffer.from(encodeURIComponent(secret)),
  'percent in lower case': Buffer.from(encodeURIComponent(secret).replaceAll(/%../g, (code) => code.toLowerCase())),
  json: Buffer.from(JSON.stringify(secret)),
  'json with escaped slashes': Buffer.from(JSON.stringify(secret).replaceAll('/', '\\/')),
  html: Buffer.from(secret.replaceAll('&', '&amp;').replaceAll('"', '&quot;')),
  hex: Buffer.from(Buffer.from(secret).toString('hex')),
  'hex in capitals': Buffer.from(Buffer.from(secret).toString('hex').toUpperCase()),
  'two bytes a character': Buffer.from(secret, 'utf16le'),
};

test.each(Object.entries(forms))(
  'a value comes back in no piece as %s, wherever the stream is cut',
  async (_name, form) => {
    const whole = Buffer.concat([Buffer.from('before '), form, Buffer.from(' after')]);
    // What base64 shares with its neighbours is no part of the value.
    const core = form.subarray(4, form.length - 6);
    for (let cut = 0; cut <= whole.length; cut++) {
      const out = await through([whole.subarray(0, cut), whole.subarray(cut)]);
      expect(out.length).toBe(whole.length);
      expect(out.includes(core)).toBe(false);
      expect(out.subarray(0, 7).toString()).toBe('before ');
    }
  },
);

test('byte by byte it is found too, and what is no value comes out as it was', async () => {
  const whole = Buffer.from(`a${secret}b${secret}${secret}c`);
  const out = await through([...whole].map((byte) => Buffer.from([byte])));
  const stars = '*'.repeat(Buffer.byteLength(secret));
  expect(out.toString()).toBe(`a${stars}b${stars}${stars}c`);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 40 })), async (chunks) => {
      const given = chunks.map((chunk) => Buffer.from(chunk));
      expect(await through(given)).toEqual(Buffer.concat(given));
    }),
  );
});

test('a stream that waits is given all that cannot be the beginning of a value', () => {
  const stream = createScrubber([secret]).stream();
  const out: string[] = [];
  stream.on('data', (chunk: Buffer) => out.push(chunk.toString()));
  stream.write('data: hello\n\n');
  stream.write(`data: ${secret.slice(0, 5)}`);
  expect(out.join('')).toBe('data: hello\n\ndata: ');
});

test('the bytes that were given are left as they are', async () => {
  const given = Buffer.from(`x ${secret}`);
  await through([given]);
  expect(given.toString()).toBe(`x ${secret}`);
});

test('where bytes were cut off, the beginning of a value is no more to be seen', () => {
  const scrubber = createScrubber([secret]);
  for (let length = 1; length < secret.length; length++) {
    const cut = Buffer.from(`text ${secret.slice(0, length)}`);
    expect(scrubber.bytes(Buffer.from(cut), true).toString()).toMatch(/^text \*+$/);
    expect(scrubber.bytes(Buffer.from(cut), false).equals(cut)).toBe(true);
  }
});
