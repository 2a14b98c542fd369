import { createServer } from 'node:net';
import { connect } from 'node:tls';
import { beforeAll, expect, test } from 'vitest';
import { readClientHello } from '#workers/egress/client-hello.ts';

let hello: Buffer;
let nameless: Buffer;
beforeAll(async () => {
  hello = await record('api.example.org');
  nameless = await record(undefined);
});

/** The first bytes of a real TLS client. */
async function record(servername: string | undefined): Promise<Buffer> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const first = new Promise<Buffer>((resolve) =>
    server.once('connection', (socket) =>
      socket
        .on('error', () => undefined)
        .once('data', (chunk) => {
          socket.destroy();
          resolve(chunk);
        }),
    ),
  );
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const client = connect({ host: '127.0.0.1', port, ...(servername === undefined ? {} : { servername }) });
  client.on('error', () => undefined);
  try {
    return await first;
  } finally {
    client.destroy();
    server.close();
  }
}

test('the name a client asks for is read, and that it asks for none', () => {
  expect(readClientHello(hello)).toEqual({ state: 'read', serverName: 'api.example.org' });
  expect(readClientHello(nameless)).toEqual({ state: 'read', serverName: undefined });
});

test('a message that has not arrived whole waits for the rest, at every length', () => {
  for (let length = 0; length < hello.length; length++) {
    expect(readClientHello(hello.subarray(0, length))).toEqual({ state: 'partial' });
  }
});

test('a message cut over several records is put together', () => {
  const body = hello.subarray(5);
  const cut = (from: number, to: number) => {
    const part = body.subarray(from, to);
    const head = Buffer.from([22, 3, 1, 0, 0]);
    head.writeUInt16BE(part.length, 3);
    return Buffer.concat([head, part]);
  };
  const records = Buffer.concat([cut(0, 1), cut(1, 60), cut(60, body.length)]);
  expect(readClientHello(records)).toEqual({ state: 'read', serverName: 'api.example.org' });
});

test.each([
  ['plain HTTP', Buffer.from('GET / HTTP/1.1\r\n')],
  ['SSH', Buffer.from('SSH-2.0-OpenSSH\r\n')],
  ['an empty record', Buffer.from([22, 3, 1, 0, 0, 0])],
  ['another handshake message', Buffer.from([22, 3, 1, 0, 4, 2, 0, 0, 0])],
  ['a giant message', Buffer.from([22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff])],
  ['a giant record', Buffer.from([22, 3, 1, 0xff, 0xff, 1])],
])('%s is no TLS', (_name, bytes) => expect(readClientHello(bytes)).toEqual({ state: 'invalid' }));

test('no change of a byte makes it throw', () => {
  for (let at = 0; at < hello.length; at++) {
    for (const value of [0, 0xff]) {
      const changed = Buffer.from(hello);
      changed[at] = value;
      expect(['read', 'partial', 'invalid']).toContain(readClientHello(changed).state);
    }
  }
});
