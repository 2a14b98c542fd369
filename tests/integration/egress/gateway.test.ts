import { once } from 'node:events';
import type { Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Certificate, makeCertificate } from '#tests/fakes/web/certificate.ts';
import { fakeNames } from '#tests/fakes/web/names.ts';
import { startUpstream, type Upstream } from '#tests/fakes/web/upstream.ts';
import { attack } from '#tests/support/attack.ts';
import { awayFromMidnight } from '#tests/support/away-from-midnight.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';
import { GatewayStage, type StageOptions, secrets, secure } from './gateway-stage.ts';

let database: TestDatabase;
let certificate: Certificate;
let plain: Upstream;
let tls: Upstream;
let stack: AsyncDisposableStack;
beforeAll(async () => {
  database = await openTestDatabase();
  certificate = makeCertificate(['api.test', 'other.test', 'evil.test', '127.0.0.1']);
});
afterAll(async () => await database[Symbol.asyncDispose]());
beforeEach(async () => {
  await awayFromMidnight();
  stack = new AsyncDisposableStack();
  plain = stack.use(await startUpstream());
  tls = stack.use(await startUpstream({ tls: certificate }));
});
afterEach(async () => await stack.disposeAsync());

const names = fakeNames({
  'api.test': ['127.0.0.1'],
  'other.test': ['127.0.0.1'],
  'evil.test': ['127.0.0.1'],
  'inside.test': ['127.0.0.2'],
  'mixed.test': ['127.0.0.1', '10.0.0.1'],
});

async function open(rules: readonly unknown[], rest: Partial<StageOptions> = {}): Promise<GatewayStage> {
  return stack.use(await GatewayStage.open(database, { lookup: names.lookup, ca: certificate.cert, rules, ...rest }));
}

const rule = (more: object = {}) => ({ host: 'api.test', ports: [plain.port, tls.port], ...more });
const withKey = (more: object = {}) => rule({ credential: 'key', methods: ['*'], ...more });
const inner = (path: string, host = 'api.test') => `http://gateway/${host}:${tls.port}${path}`;
const secret = secrets['key'] ?? '';

describe('what is let out', () => {
  test('a request that a rule covers is carried out and back, and is on record', async () => {
    const stage = await open([rule({ methods: ['POST'] })]);
    const answer = await stage.ask(`http://api.test:${plain.port}/echo?token=hidden`, {
      method: 'POST',
      body: 'hello',
      headers: { 'x-own': 'yes' },
    });
    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.text)).toMatchObject({
      body: 'hello',
      headers: { 'x-own': 'yes', host: `api.test:${plain.port}` },
    });
    const [record] = await stage.records();
    expect(record).toMatchObject({
      agent: 'scout',
      from: 'sandbox',
      method: 'POST',
      host: 'api.test',
      port: plain.port,
      path: '/echo?token=',
      verdict: 'allowed',
      status: 200,
      sentBytes: 5,
    });
    expect(JSON.stringify(record)).not.toContain('hidden');
  });

  test('what no rule covers is refused with what to add, goes nowhere, and is on record', async () => {
    const stage = await open([rule()]);
    const other = await stage.ask(`http://other.test:${plain.port}/`);
    expect(other.status).toBe(403);
    expect(other.headers['x-switchyard-gateway']).toBe('refused');
    expect(other.text).toContain(`{ host: other.test, ports: [${plain.port}] } to the egress rules of agents/scout.md`);
    expect((await stage.ask(`http://api.test:${plain.port}/`, { method: 'DELETE' })).text).toContain(
      'add methods: [DELETE]',
    );
    expect(plain.requests).toEqual([]);
    expect((await stage.records()).map(({ verdict, host }) => [verdict, host])).toEqual([
      ['refused', 'other.test'],
      ['refused', 'api.test'],
    ]);
  });

  test('changed rules hold for the next request', async () => {
    const stage = await open([]);
    expect((await stage.ask(`http://api.test:${plain.port}/`)).status).toBe(403);
    stage.update([rule()]);
    expect((await stage.ask(`http://api.test:${plain.port}/`)).status).toBe(200);
  });

  attack('network', 'a closed address behind an allowed name', 'judged all the same', async () => {
    const stage = await open([rule({ host: '*' })]);
    for (const host of [
      'inside.test',
      'mixed.test',
      '127.0.0.2',
      '[::1]',
      '0.0.0.0',
      '2130706434',
      '0x7f.2',
      '169.254.169.254',
    ]) {
      const answer = await stage.ask(`http://${host}:${plain.port}/`);
      expect([host, answer.status]).toEqual([host, 403]);
      expect(answer.text).toMatch(/not the public internet|metadata/);
    }
    expect(plain.connections).toBe(0);
  });

  test('an upload that asks first is told to go on when it is allowed, and only then', async () => {
    const stage = await open([rule({ methods: ['POST'], paths: ['/echo'] })]);
    const ask = (path: string) =>
      `POST http://api.test:${plain.port}${path} HTTP/1.1\r\nhost: api.test:${plain.port}\r\nexpect: 100-continue\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi`;
    const allowed = await stage.raw(ask('/echo'));
    expect(allowed).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 /);
    expect(await stage.raw(ask('/other'))).toMatch(/^HTTP\/1\.1 403 /);
    expect(plain.requests.map(({ body }) => body)).toEqual(['hi']);
  });

  test('redirects are handed back and not followed', async () => {
    const stage = await open([rule()]);
    const answer = await stage.ask(`http://api.test:${plain.port}/redirect?to=http://169.254.169.254/`);
    expect([answer.status, answer.headers.location]).toEqual([302, 'http://169.254.169.254/']);
  });

  test('events arrive as they come, and a large answer arrives whole', async () => {
    const stage = await open([rule()]);
    expect((await stage.ask(`http://api.test:${plain.port}/events`)).text).toBe('data: one\n\ndata: two\n\n');
    const big = await stage.ask(`http://api.test:${plain.port}/big?bytes=5000000`);
    expect(big.text.length).toBe(5_000_000);
  });

  test('below http://gateway/ it goes out by https, also without a proxy, and redirects stay on that way', async () => {
    const stage = await open([rule()]);
    expect((await stage.ask(inner('/a/b?c=1'))).text).toBe('reached /a/b');
    expect((await stage.ask(`/api.test:${tls.port}/x`, { headers: { host: '127.0.0.1:3128' } })).text).toBe(
      'reached /x',
    );
    const moved = await stage.ask(inner('/redirect?to=/next%3Fa=1'));
    expect(moved.headers.location).toBe(`http://gateway/api.test:${tls.port}/next?a=1`);
    const away = await stage.ask(inner(`/redirect?to=https://other.test/z`));
    expect(away.headers.location).toBe('http://gateway/other.test/z');
    expect(tls.requests.map(({ url }) => url).slice(0, 2)).toEqual(['/a/b?c=1', '/x']);
  });

  attack('network', 'a forged certificate', 'not believed', async () => {
    const stage = await open([rule()], { ca: makeCertificate(['api.test']).cert });
    const answer = await stage.ask(inner('/'));
    expect([answer.status, answer.text]).toEqual([502, expect.stringContaining('certificate is not trusted')]);
  });
});

describe('credentials', () => {
  test('the credential of a rule is put in over whatever the sandbox sent, and only over TLS', async () => {
    const stage = await open([withKey()]);
    await stage.ask(inner('/x'), { headers: { authorization: 'Bearer fake', connection: 'authorization, close' } });
    expect(tls.requests[0]?.headers.authorization).toBe(`Bearer ${secret}`);
    const open80 = await stage.ask(`http://api.test:${plain.port}/`);
    expect([open80.status, open80.text]).toEqual([403, expect.stringContaining('not sent to api.test')]);
    expect(plain.requests).toEqual([]);
    expect(await stage.records()).toMatchObject([{ credentials: ['key'], verdict: 'allowed' }, { verdict: 'refused' }]);
    expect(JSON.stringify(await stage.records())).not.toContain(secret);
  });

  test('it goes into the header and behind the word that the rule names', async () => {
    const stage = await open([
      withKey({ header: 'X-Api-Key', paths: ['/header'] }),
      withKey({ credential: 'login', scheme: 'Basic', paths: ['/basic'] }),
      withKey({ scheme: 'token', paths: ['/word'] }),
    ]);
    for (const path of ['/header', '/basic', '/word']) await stage.ask(inner(path));
    const [header, basic, word] = tls.requests;
    expect([header?.headers['x-api-key'], header?.headers.authorization]).toEqual([secret, undefined]);
    expect(basic?.headers.authorization).toBe(`Basic ${Buffer.from(secrets['login'] ?? '').toString('base64')}`);
    expect(word?.headers.authorization).toBe(`token ${secret}`);
  });

  test('a handle in a header is resolved for its host, and for no other', async () => {
    const stage = await open([rule(), rule({ host: 'other.test' })]);
    const basic = Buffer.from('me:$CRED{key}').toString('base64');
    await stage.ask(inner('/one'), { headers: { 'x-key': 'a $CRED{key} b' } });
    await stage.ask(inner('/two'), { headers: { authorization: `Basic ${basic}` } });
    expect(tls.requests[0]?.headers['x-key']).toBe(`a ${secret} b`);
    expect(tls.requests[1]?.headers.authorization).toBe(`Basic ${Buffer.from(`me:${secret}`).toString('base64')}`);
    const away = await stage.ask(inner('/three', 'other.test'), { headers: { 'x-key': '$CRED{key}' } });
    expect([away.status, away.text]).toEqual([403, expect.stringContaining('may not be used for other.test')]);
    const unknown = await stage.ask(inner('/four'), { headers: { 'x-key': '$CRED{nothing}' } });
    expect(unknown.status).toBe(403);
    const openLine = await stage.ask(`http://api.test:${plain.port}/`, { headers: { 'x-key': '$CRED{key}' } });
    expect(openLine.status).toBe(403);
    expect([tls.requests.length, plain.requests.length]).toEqual([2, 0]);
  });

  attack('secrets', 'a handle in address or body', 'it stays a handle', async () => {
    const stage = await open([rule({ methods: ['POST'] })]);
    await stage.ask(inner('/x?k=$CRED{key}'), { method: 'POST', body: '$CRED{key}' });
    expect(tls.requests[0]?.body).toBe('$CRED{key}');
    expect(tls.requests[0]?.url).toContain('$CRED');
  });

  attack('secrets', 'a secret with a line break', 'not put into a header', async () => {
    const stage = await open([rule()]);
    const answer = await stage.ask(inner('/x'), { headers: { 'x-key': '$CRED{split}' } });
    expect([answer.status, tls.requests.length]).toEqual([403, 0]);
  });

  test.each(['/echo', '/echo-gzip', '/echo-drip', '/echo-range'])(
    'a server that shows it back at %s gives nothing away',
    async (path) => {
      const stage = await open([withKey()]);
      const answer = await stage.ask(inner(path), { headers: { 'accept-encoding': 'gzip', range: 'bytes=0-9' } });
      expect(tls.requests[0]?.headers.authorization).toBe(`Bearer ${secret}`);
      expect(answer.status).toBe(200);
      expect(answer.text + JSON.stringify(answer.headers)).not.toContain(secret.slice(0, 8));
      expect(answer.text).toContain('Bearer ***');
      expect(answer.headers['content-encoding']).toBeUndefined();
    },
  );

  test('a session that was opened with it does not reach the sandbox', async () => {
    const stage = await open([withKey({ paths: ['/cookie'] }), rule()]);
    const answer = await stage.ask(inner('/cookie'));
    expect([answer.text, answer.headers['set-cookie']]).toEqual(['ok', undefined]);
  });

  test('no tunnel is opened to a host that gets one', async () => {
    const stage = await open([withKey()]);
    const { status } = await stage.tunnel(`api.test:${tls.port}`);
    expect([status, tls.connections]).toEqual([403, 0]);
  });
});

/** Resolves when the connection is over, however the other side broke it off. */
async function closed(socket: Socket): Promise<void> {
  socket.on('error', () => undefined);
  await new Promise<void>((resolve) => socket.once('close', () => resolve()));
}

describe('tunnels', () => {
  const wide = () => rule({ methods: ['*'] });

  test('TLS to the host of the tunnel goes through, and both ends are on record', async () => {
    const stage = await open([wide()]);
    const { status, socket } = await stage.tunnel(`api.test:${tls.port}`);
    expect(status).toBe(200);
    const secured = await secure(socket, 'api.test', certificate.cert);
    secured.write('GET /in/tunnel HTTP/1.1\r\nhost: api.test\r\nconnection: close\r\n\r\n');
    const [chunk] = await once(secured, 'data');
    expect(String(chunk)).toContain('200 OK');
    secured.destroy();
    await expect
      .poll(async () => (await stage.records()).map(({ reason }) => reason))
      .toEqual(['opened', expect.any(String)]);
    expect(tls.requests[0]?.url).toBe('/in/tunnel');
  });

  test.each([
    ['another name', 'other.test'],
    ['no name', ''],
  ])('TLS that asks for %s does not', async (_what, name) => {
    const stage = await open([wide()]);
    const { socket } = await stage.tunnel(`api.test:${tls.port}`);
    await expect(secure(socket, name, certificate.cert)).rejects.toThrow();
    expect(tls.requests).toEqual([]);
    await expect
      .poll(async () => (await stage.records())[0])
      .toMatchObject({ verdict: 'refused', reason: expect.stringContaining('its TLS asks for') });
  });

  attack('proxy', 'a tunnel for what is no TLS', 'cut', async () => {
    const stage = await open([rule({ methods: ['*'] })]);
    const first = await stage.tunnel(`api.test:${plain.port}`);
    first.socket.write('GET /smuggled HTTP/1.1\r\nhost: api.test\r\n\r\n');
    await closed(first.socket);
    const impatient = await open([rule({ methods: ['*'] })], { limits: { helloMs: 300 } });
    const second = await impatient.tunnel(`api.test:${plain.port}`);
    await closed(second.socket);
    expect(plain.requests).toEqual([]);
    const reasons = async () =>
      [...(await stage.records()), ...(await impatient.records())].map(({ reason }) => reason);
    await expect
      .poll(reasons)
      .toEqual(['The tunnel does not carry TLS.', 'The tunnel did not begin with TLS in time.']);
  });

  test.each([
    'other.test:443',
    'api.test:22',
    '127.0.0.2:443',
    'inside.test:443',
    '[::1]:443',
    '169.254.169.254:80',
    'localhost:443',
  ])('%s is refused', async (authority) => {
    const stage = await open([wide(), { host: 'inside.test', methods: ['*'] }, { host: '127.0.0.2', methods: ['*'] }]);
    expect((await stage.tunnel(authority)).status).toBe(403);
  });

  test.each([
    ['a user name', 'CONNECT user@api.test:443 HTTP/1.1\r\nhost: api.test:443\r\n\r\n'],
    ['a path', 'CONNECT api.test:443/x HTTP/1.1\r\nhost: api.test:443\r\n\r\n'],
    ['another Host', 'CONNECT api.test:443 HTTP/1.1\r\nhost: other.test:443\r\n\r\n'],
    ['two Hosts', 'CONNECT api.test:443 HTTP/1.1\r\nhost: api.test:443\r\nhost: other.test:443\r\n\r\n'],
    ['no port', 'CONNECT api.test HTTP/1.1\r\nhost: api.test\r\n\r\n'],
    ['a whole URL', 'CONNECT http://api.test:443 HTTP/1.1\r\nhost: api.test:443\r\n\r\n'],
  ])('with %s it is refused', async (_what, bytes) => {
    const stage = await open([{ host: 'api.test', methods: ['*'] }]);
    expect(await stage.raw(bytes)).toMatch(/^HTTP\/1\.1 400 /);
  });

  test('programs that speak HTTP/1.0 and send no Host get theirs', async () => {
    const stage = await open([wide()]);
    expect(await stage.raw(`CONNECT api.test:${tls.port} HTTP/1.0\r\n\r\n`)).toMatch(/^HTTP\/1\.1 200 /);
    expect(await stage.raw(`CONNECT api.test:${tls.port} HTTP/1.1\r\n\r\n`)).toMatch(/^HTTP\/1\.1 400 /);
  });

  test('a tunnel ends when its host is no longer allowed', async () => {
    const stage = await open([wide()]);
    const { socket } = await stage.tunnel(`api.test:${tls.port}`);
    const secured = await secure(socket, 'api.test', certificate.cert);
    const over = closed(secured);
    stage.update([]);
    await over;
  });

  test('a tunnel ends when the bytes of the day are used up', async () => {
    const stage = await open([wide()], { bounds: { bytesPerDay: 20_000 } });
    const { socket } = await stage.tunnel(`api.test:${tls.port}`);
    const secured = await secure(socket, 'api.test', certificate.cert);
    let received = 0;
    secured.on('data', (chunk: Buffer) => {
      received += chunk.length;
    });
    secured.write('GET /big?bytes=10000000 HTTP/1.1\r\nhost: api.test\r\n\r\n');
    await closed(secured);
    // One piece on its way may pass the bound.
    expect(received).toBeLessThan(20_000 + 65_536);
    expect((await stage.ask(inner('/'))).status).toBe(429);
  });
});
