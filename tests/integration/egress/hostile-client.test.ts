import { connect, createServer } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Clock, systemClock } from '#core/kit/clock.ts';
import { type Certificate, makeCertificate } from '#tests/fakes/web/certificate.ts';
import { fakeNames } from '#tests/fakes/web/names.ts';
import { startUpstream, type Upstream } from '#tests/fakes/web/upstream.ts';
import { attack } from '#tests/support/attack.ts';
import { awayFromMidnight } from '#tests/support/away-from-midnight.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';
import { eventually } from '#tests/support/eventually.ts';
import { EgressJournal } from '#workers/egress/egress-journal.ts';
import { GatewayStage, makeSession, type StageOptions, secrets } from './gateway-stage.ts';

let database: TestDatabase;
let certificate: Certificate;
let plain: Upstream;
let tls: Upstream;
let stack: AsyncDisposableStack;
beforeAll(async () => {
  database = await openTestDatabase();
  certificate = makeCertificate(['api.test']);
});
afterAll(async () => await database[Symbol.asyncDispose]());
beforeEach(async () => {
  await awayFromMidnight();
  stack = new AsyncDisposableStack();
  plain = stack.use(await startUpstream());
  tls = stack.use(await startUpstream({ tls: certificate }));
});
afterEach(async () => await stack.disposeAsync());

const { lookup } = fakeNames({ 'api.test': ['127.0.0.1'], 'evil.test': ['127.0.0.1'] });

async function open(rest: Partial<StageOptions> = {}): Promise<GatewayStage> {
  const rules = [
    { host: 'api.test', ports: [plain.port], methods: ['*'] },
    { host: 'api.test', ports: [tls.port], methods: ['*'], credential: 'key' },
  ];
  return stack.use(await GatewayStage.open(database, { lookup, ca: certificate.cert, rules, ...rest }));
}

const at = () => `api.test:${plain.port}`;

describe('requests that two readers could read in two ways', () => {
  const cases: readonly (readonly [string, () => string])[] = [
    [
      'a length and chunks',
      () =>
        `POST http://${at()}/a HTTP/1.1\r\nhost: ${at()}\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
    ],
    [
      'two lengths',
      () => `POST http://${at()}/a HTTP/1.1\r\nhost: ${at()}\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nabcde`,
    ],
    ['a length with a sign', () => `POST http://${at()}/a HTTP/1.1\r\nhost: ${at()}\r\ncontent-length: +4\r\n\r\nabcd`],
    [
      'an unknown transfer encoding',
      () => `POST http://${at()}/a HTTP/1.1\r\nhost: ${at()}\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n`,
    ],
    [
      'chunked that is not last',
      () => `POST http://${at()}/a HTTP/1.1\r\nhost: ${at()}\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n`,
    ],
    [
      'a space before the colon',
      () => `POST http://${at()}/a HTTP/1.1\r\nhost: ${at()}\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n`,
    ],
    ['a folded header', () => `GET http://${at()}/a HTTP/1.1\r\nhost: ${at()}\r\nx: a\r\n b\r\n\r\n`],
    ['a bare line feed', () => `GET http://${at()}/a HTTP/1.1\nhost: ${at()}\nx: a\n\n`],
    [
      'a bare carriage return in a value',
      () => `GET http://${at()}/a HTTP/1.1\r\nhost: ${at()}\r\nx: a\rx-injected: 1\r\n\r\n`,
    ],
    ['a NUL in a value', () => `GET http://${at()}/a HTTP/1.1\r\nhost: ${at()}\r\nx: a\0b\r\n\r\n`],
    [
      'a chunk size that overflows',
      () =>
        `POST http://${at()}/a HTTP/1.1\r\nhost: ${at()}\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n`,
    ],
    [
      'a chunk size with rubbish',
      () =>
        `POST http://${at()}/a HTTP/1.1\r\nhost: ${at()}\r\ntransfer-encoding: chunked\r\n\r\n3x\r\nabc\r\n0\r\n\r\n`,
    ],
    ['two Host headers', () => `GET http://${at()}/a HTTP/1.1\r\nhost: ${at()}\r\nhost: evil.test\r\n\r\n`],
    ['no Host header', () => `GET http://${at()}/a HTTP/1.1\r\n\r\n`],
    ['a Host header of another host', () => `GET http://${at()}/a HTTP/1.1\r\nhost: evil.test\r\n\r\n`],
    ['another host behind the gateway’s name', () => `GET http://gateway/${at()}/a HTTP/1.1\r\nhost: ${at()}\r\n\r\n`],
    ['a bare path for an unknown Host', () => `GET /a HTTP/1.1\r\nhost: ${at()}\r\n\r\n`],
    ['a user name', () => `GET http://evil.test@${at()}/a HTTP/1.1\r\nhost: ${at()}\r\n\r\n`],
    [
      'a user name behind the gateway',
      () => `GET http://gateway/api.test@evil.test/a HTTP/1.1\r\nhost: gateway\r\n\r\n`,
    ],
    [
      'an escaped host behind the gateway',
      () => `GET http://gateway/api.test%2eevil.test/a HTTP/1.1\r\nhost: gateway\r\n\r\n`,
    ],
    ['a backslash', () => `GET http://${at()}\\@evil.test/a HTTP/1.1\r\nhost: ${at()}\r\n\r\n`],
    ['a fragment', () => `GET http://${at()}#@evil.test/a HTTP/1.1\r\nhost: ${at()}\r\n\r\n`],
    ['a scheme of its own', () => `GET ftp://${at()}/a HTTP/1.1\r\nhost: ${at()}\r\n\r\n`],
    ['https in the open', () => `GET https://${at()}/a HTTP/1.1\r\nhost: ${at()}\r\n\r\n`],
    ['no host at all', () => 'GET http:///a HTTP/1.1\r\nhost: \r\n\r\n'],
    ['a star', () => `OPTIONS * HTTP/1.1\r\nhost: ${at()}\r\n\r\n`],
    ['HTTP/0.9', () => `GET http://${at()}/a\r\n\r\n`],
    ['the preface of HTTP/2', () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['TLS', () => '\u0016\u0003\u0001\u0000\u0005hello'],
    ['nonsense', () => '\u0000\u0001\u0002\r\n\r\n'],
  ];

  for (const [what, bytes] of cases) {
    attack('proxy', what, 'refused, and reaches nobody', async () => {
      const stage = await open();
      expect(await stage.raw(bytes())).toMatch(/^HTTP\/1\.1 4\d\d /);
      expect([plain.requests, tls.requests]).toEqual([[], []]);
    });
  }

  test.each(['TRACE', 'TRACK', 'PROPFIND', 'PURGE'])('%s is not carried', async (method) => {
    const stage = await open();
    expect(
      await stage.raw(`${method} http://${at()}/a HTTP/1.1\r\nhost: ${at()}\r\nconnection: close\r\n\r\n`),
    ).toMatch(/^HTTP\/1\.1 4\d\d /);
    expect(plain.requests).toEqual([]);
  });

  attack('proxy', 'a request in the body of a refused one', 'the connection ends with the refusal', async () => {
    const stage = await open({ rules: [{ host: 'evil.test' }] });
    const hidden = `GET http://${at()}/hidden HTTP/1.1\r\nhost: ${at()}\r\n\r\n`;
    const answer = await stage.raw(
      `POST http://${at()}/a HTTP/1.1\r\nhost: ${at()}\r\ncontent-length: ${hidden.length}\r\n\r\n${hidden}`,
    );
    expect(answer.match(/HTTP\/1\.1 /g)).toHaveLength(1);
    expect(plain.requests).toEqual([]);
  });

  attack('proxy', 'two requests in one go', 'each is judged by itself', async () => {
    const stage = await open();
    const answer = await stage.raw(
      `GET http://${at()}/one HTTP/1.1\r\nhost: ${at()}\r\n\r\nGET http://evil.test:${plain.port}/two HTTP/1.1\r\nhost: evil.test:${plain.port}\r\nconnection: close\r\n\r\n`,
    );
    expect([...answer.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status)).toEqual(['200', '403']);
    expect(plain.requests.map(({ url }) => url)).toEqual(['/one']);
  });
});

describe('headers', () => {
  attack('proxy', 'headers of the connection and claims about the sender', 'they do not go on', async () => {
    const stage = await open();
    await stage.raw(
      `GET http://${at()}/h HTTP/1.1\r\nhost: ${at()}\r\nconnection: close, x-drop\r\nx-drop: 1\r\nkeep-alive: 5\r\nte: trailers\r\n` +
        'proxy-authorization: Basic abc\r\nproxy-connection: keep-alive\r\nupgrade: websocket\r\nhttp2-settings: AAA\r\n' +
        'x-forwarded-for: 127.0.0.1\r\nx-forwarded-host: evil.test\r\nforwarded: for=1\r\nvia: x\r\nx-real-ip: 1\r\nx-keep: yes\r\n\r\n',
    );
    const names = (plain.requests[0]?.rawHeaders ?? [])
      .filter((_item, index) => index % 2 === 0)
      .map((name) => name.toLowerCase());
    expect(names.sort()).toEqual(['connection', 'host', 'x-keep']);
  });

  test('headers of the other side’s connection do not come back', async () => {
    const stage = await open();
    const { headers } = await stage.ask(`http://${at()}/hop`);
    for (const name of ['x-secret-hop', 'proxy-authenticate', 'alt-svc']) expect(headers[name]).toBeUndefined();
  });

  attack('secrets', 'a credential named in Connection', 'it is put in after that', async () => {
    const stage = await open();
    await stage.raw(
      `GET http://gateway/api.test:${tls.port}/c HTTP/1.1\r\nhost: gateway\r\nconnection: authorization, close\r\n\r\n`,
    );
    expect(tls.requests[0]?.headers.authorization).toBe(`Bearer ${secrets['key']}`);
  });

  attack('secrets', 'two headers of the credential’s name', 'replaced by the one', async () => {
    const stage = await open();
    await stage.raw(
      `GET http://gateway/api.test:${tls.port}/c HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer a\r\nAuthorization: Bearer b\r\nconnection: close\r\n\r\n`,
    );
    const values = (tls.requests[0]?.rawHeaders ?? []).filter(
      (_value, index, all) => all[index - 1]?.toLowerCase() === 'authorization',
    );
    expect(values).toEqual([`Bearer ${secrets['key']}`]);
  });

  attack('proxy', 'an upgrade to another protocol', 'not made', async () => {
    const stage = await open();
    const answer = await stage.raw(
      `GET http://${at()}/ws HTTP/1.1\r\nhost: ${at()}\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\n\r\n`,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
  });

  attack('proxy', 'more headers than allowed', 'refused', async () => {
    const stage = await open();
    expect(
      await stage.raw(`GET http://${at()}/a HTTP/1.1\r\nhost: ${at()}\r\nx: ${'a'.repeat(17_000)}\r\n\r\n`),
    ).toMatch(/^HTTP\/1\.1 431 /);
    expect(await stage.raw(`GET http://${at()}/${'a'.repeat(17_000)} HTTP/1.1\r\nhost: ${at()}\r\n\r\n`)).toMatch(
      /^HTTP\/1\.1 4\d\d /,
    );
    expect(plain.requests).toEqual([]);
  });

  test('an answer with more headers than allowed is refused', async () => {
    const stage = await open();
    const answer = await stage.ask(`http://${at()}/headers`);
    expect([answer.status, answer.text]).toEqual([502, expect.stringContaining('bytes of headers')]);
  });
});

describe('bounds', () => {
  test('an answer that is too large is cut exactly there, or not begun when it says so before', async () => {
    const stage = await open({ limits: { responseBytesMax: 100_000 } });
    const cut = await stage.ask(`http://${at()}/big?bytes=5000000`);
    expect([cut.text.length, cut.isBroken]).toEqual([100_000, true]);
    expect((await stage.records())[0]).toMatchObject({ verdict: 'failed', receivedBytes: 100_000 });
  });

  attack('resources', 'a compressed flood behind a credential', 'cut by what it would become', async () => {
    const stage = await open({ limits: { responseBytesMax: 1_000_000 } });
    const answer = await stage.ask(`http://gateway/api.test:${tls.port}/bomb`);
    expect(answer.isBroken).toBe(true);
    expect(answer.text.length).toBeLessThanOrEqual(1_000_000);
  });

  test('a request that is too large is refused, said or not', async () => {
    const stage = await open({ limits: { requestBytesMax: 1000 } });
    const said = await stage.ask(`http://${at()}/a`, { method: 'POST', body: 'x'.repeat(2000) });
    expect([said.status, said.text]).toEqual([502, expect.stringContaining('1000 bytes')]);
    const chunk = `${(2000).toString(16)}\r\n${'x'.repeat(2000)}\r\n`;
    const unsaid = await stage.raw(
      `POST http://${at()}/a HTTP/1.1\r\nhost: ${at()}\r\ntransfer-encoding: chunked\r\n\r\n${chunk}0\r\n\r\n`,
    );
    expect(unsaid).toMatch(/^HTTP\/1\.1 502 /);
    expect(plain.requests).toEqual([]);
  });

  test('a request that is broken off does not arrive as a shorter one', async () => {
    const stage = await open();
    const socket = connect(stage.socketPath);
    socket.write(
      `POST http://${at()}/half HTTP/1.1\r\nhost: ${at()}\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n`,
    );
    await expect.poll(() => plain.connections).toBe(1);
    socket.destroy();
    await expect.poll(async () => (await stage.records())[0]).toMatchObject({ verdict: 'failed' });
    expect(plain.requests).toEqual([]);
  });

  attack('resources', 'a slow head and a slow body', 'given up at their time', async () => {
    const stage = await open({ limits: { headersMs: 300, requestMs: 600 } });
    expect(await stage.raw(`GET http://${at()}/a HTTP/1.1\r\nhost: ${at()}\r\n`)).toMatch(/^HTTP\/1\.1 408 /);
    expect(await stage.raw(`POST http://${at()}/a HTTP/1.1\r\nhost: ${at()}\r\ncontent-length: 10\r\n\r\nab`)).toMatch(
      /^(HTTP\/1\.1 (408|502) |$)/,
    );
    expect(plain.requests).toEqual([]);
  });

  test('a server that is silent, stalls, or goes on for ever is given up', async () => {
    const silent = await open({ limits: { firstByteMs: 600 } });
    expect(await silent.ask(`http://${at()}/silent`)).toMatchObject({
      status: 504,
      text: expect.stringContaining('did not answer in time'),
    });
    const stalling = await open({ limits: { idleMs: 600 } });
    expect(await stalling.ask(`http://${at()}/stall`)).toMatchObject({ text: 'beginning', isBroken: true });
    const endless = await open({ limits: { totalMs: 2_500 } });
    // A machine that is held up for that long hears no beginning.
    await eventually(async () =>
      expect(await endless.ask(`http://${at()}/endless`)).toMatchObject({
        text: expect.stringMatching(/^\.+$/),
        isBroken: true,
      }),
    );
  });

  test('more requests a minute than allowed are refused, with one record for all of them', async () => {
    // The minute does not pass, however long the requests take.
    const now = new Date();
    const clock: Clock = { ...systemClock, now: () => now };
    const stage = await open({ bounds: { requestsPerMinute: 3 }, clock });
    const statuses: number[] = [];
    for (let index = 0; index < 8; index++) statuses.push((await stage.ask(`http://${at()}/n`)).status);
    expect(statuses).toEqual([200, 200, 200, 429, 429, 429, 429, 429]);
    expect((await stage.records()).map(({ verdict }) => verdict)).toEqual(['allowed', 'allowed', 'allowed', 'refused']);
  });

  attack('resources', 'more connections than allowed', 'closed', async () => {
    const stage = await open({ limits: { connectionsMax: 3 } });
    const sockets = Array.from({ length: 6 }, () => connect(stage.socketPath).on('error', () => undefined));
    const closed = () => sockets.filter((socket) => socket.closed).length;
    await expect.poll(closed).toBe(3);
    for (const socket of sockets) socket.destroy();
    await expect.poll(async () => (await stage.ask(`http://${at()}/n`).catch(() => ({ status: 0 }))).status).toBe(200);
  });

  test('a sandbox that goes away lets go of what it asked for', async () => {
    const stage = await open();
    const sockets = Array.from({ length: 20 }, () => {
      const socket = connect(stage.socketPath).on('error', () => undefined);
      socket.write(`GET http://${at()}/silent HTTP/1.1\r\nhost: ${at()}\r\n\r\n`);
      return socket;
    });
    await expect.poll(() => plain.requests.length).toBe(20);
    for (const socket of sockets) socket.destroy();
    await expect.poll(() => plain.open).toBe(0);
  });

  attack('proxy', 'requests while nothing can be put on record', 'they do not go out', async () => {
    const known = await open();
    await known.ask(`http://${at()}/first`);
    await known.journal.settled();
    const unknown = await open();
    await database.query('alter table egress_use rename to egress_away');
    try {
      expect((await unknown.ask(`http://${at()}/never`)).status).toBe(503);
      expect((await known.ask(`http://${at()}/second`)).status).toBe(200);
    } finally {
      await database.query('alter table egress_away rename to egress_use');
    }
    await expect.poll(async () => (await known.records()).map(({ path }) => path)).toEqual(['/first', '/second']);
    expect((await unknown.ask(`http://${at()}/now`)).status).toBe(200);
    expect(plain.requests.map(({ url }) => url)).toEqual(['/first', '/second', '/now']);
  });

  attack('proxy', 'answers that are no proper HTTP', 'refused', async () => {
    const answers: Readonly<Record<string, string>> = {
      '/split': 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok!',
      '/both': 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
      '/status': 'HTTP/1.1 999999 OK\r\ncontent-length: 2\r\n\r\nok',
      '/words': 'hello there\r\n\r\n',
      '/letters': 'HTTP/1.1 200 OK\r\nx-odd: caf\u00e9 \u009b31m\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok',
      '/twice': 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil',
      '/forged': 'HTTP/1.1 200 OK\r\nx-switchyard-gateway: refused\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok',
    };
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.on('data', (chunk) => {
        const path = /^GET (\S+)/.exec(chunk.toString('latin1'))?.[1] ?? '';
        socket.end(Buffer.from(answers[path] ?? '', 'latin1'));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const stage = await open({ rules: [{ host: 'api.test', ports: [port] }], limits: { firstByteMs: 20_000 } });
    const seen: Record<string, string> = {};
    for (const path of Object.keys(answers)) {
      const answer = await stage.ask(`http://api.test:${port}${path}`);
      seen[path] =
        `${answer.status} ${answer.status === 200 ? answer.text : ''} ${answer.headers['x-switchyard-gateway'] ?? ''}`.trim();
    }
    server.close();
    for (const path of ['/split', '/both', '/status', '/words'])
      expect([path, seen[path]]).toEqual([path, '502  refused']);
    expect([seen['/letters'], seen['/twice'], seen['/forged']]).toEqual(['200 ok', '200 ok', '200 ok']);
  });

  test('broken answers and broken off uploads at every step end the request alone', async () => {
    const heads = [
      'HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nnope',
      'HTTP/1.1 200 OK\r\ncontent-encoding: rot13\r\ncontent-length: 4\r\n\r\nnope',
      'HTTP/1.1 200 OK\r\ncontent-encoding: gzip, gzip, gzip\r\ncontent-length: 4\r\n\r\nnope',
      'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort',
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel',
      'HTTP/1.1 099 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nnope',
      'HTTP/1.1 200 OK\r\ncontent-encod',
      '',
    ];
    let turn = 0;
    const server = createTlsServer({ ...certificate }, (socket) => {
      socket.on('error', () => undefined);
      socket.on('data', () => socket.end(Buffer.from(heads[turn] ?? '', 'latin1')));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const stage = await open({
      rules: [
        { host: 'api.test', ports: [port], methods: ['*'], credential: 'key' },
        { host: 'api.test', ports: [plain.port], methods: ['*'] },
      ],
      limits: { firstByteMs: 20_000 },
    });
    for (turn = 0; turn < heads.length; turn++) {
      const answer = await stage.ask(`http://gateway/api.test:${port}/x`, { method: 'POST', body: 'abc' });
      expect([turn, answer.isBroken || answer.status === 502]).toEqual([turn, true]);
      const socket = connect(stage.socketPath).on('error', () => undefined);
      socket.write(
        `POST http://gateway/api.test:${port}/y HTTP/1.1\r\nhost: gateway\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n`,
      );
      await new Promise((resolve) => socket.once('data', resolve).once('close', resolve));
      socket.destroy();
    }
    for (const target of [
      `http://127.0.0.2:${port}/`,
      `http://api.test:1/`,
      `http://gateway/api.test:${plain.port}/`,
    ]) {
      const socket = connect(stage.socketPath).on('error', () => undefined);
      const host = /^http:\/\/([^/]+)/.exec(target)?.[1] ?? '';
      socket.write(`POST ${target} HTTP/1.1\r\nhost: ${host}\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n`);
      await new Promise((resolve) => socket.once('data', resolve).once('close', resolve));
      socket.destroy();
    }
    server.close();
    expect((await stage.ask(`http://${at()}/alive`)).status).toBe(200);
  });

  test('the bytes of a turn are used up with it, and the next one has its own', async () => {
    const stage = await open({ bounds: { bytesPerTurn: 100_000 } });
    const rules = [{ host: 'api.test', ports: [plain.port] }];
    stage.update(rules, 'turn-1');
    expect((await stage.ask(`http://${at()}/big?bytes=80000`)).text.length).toBe(80_000);
    expect(await stage.ask(`http://${at()}/big?bytes=80000`)).toMatchObject({ isBroken: true });
    expect(await stage.ask(`http://${at()}/x`)).toMatchObject({
      status: 429,
      text: expect.stringContaining('one turn'),
    });
    stage.update(rules, 'turn-2');
    expect((await stage.ask(`http://${at()}/x`)).status).toBe(200);
    expect((await stage.records()).map(({ turnId }) => turnId)).toEqual(['turn-1', 'turn-1', 'turn-1', 'turn-2']);
  });

  test('requests side by side share the bytes of the day', async () => {
    const stage = await open({ bounds: { bytesPerDay: 400_000 } });
    const answers = await Promise.all(
      Array.from({ length: 8 }, async () => await stage.ask(`http://${at()}/big?bytes=300000`)),
    );
    const received = answers.reduce((sum, { text }) => sum + text.length, 0);
    expect(received).toBeLessThan(400_000 + 8 * 70_000);
    expect(answers.filter(({ isBroken, status }) => isBroken || status !== 200).length).toBeGreaterThanOrEqual(6);
  });

  test('the bytes of a day count over restarts of the worker', async () => {
    const first = await open();
    await first.ask(`http://${at()}/big?bytes=50000`);
    await first.journal.settled();
    const about = {
      sessionId: first.sessionId,
      agent: 'scout',
      from: 'sandbox',
      method: 'GET',
      host: 'h',
      port: 443,
      path: '/',
    } as const;
    const bounds = { requestsPerMinute: 10, bytesPerDay: 50_000 };
    await using next = new EgressJournal(
      { db: database.db, log: pino({ level: 'silent' }), clock: systemClock },
      bounds,
    );
    expect(await next.admit(about)).toMatchObject({ ok: false, reason: expect.stringContaining('50000 bytes') });
    expect(await next.admit({ ...about, sessionId: await makeSession(database) })).toMatchObject({ ok: true });
  });
});
