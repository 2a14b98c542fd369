import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { createAddressGuard } from '#core/egress/address-guard.ts';
import { type Certificate, makeCertificate } from '#tests/fakes/web/certificate.ts';
import { fakeNames } from '#tests/fakes/web/names.ts';
import { startUpstream, type Upstream } from '#tests/fakes/web/upstream.ts';
import { attack } from '#tests/support/attack.ts';
import { createGuardedFetch, type GuardedFetchOptions } from '#workers/egress/guarded-fetch.ts';

let certificate: Certificate;
let tls: Upstream;
let other: Upstream;
let plain: Upstream;
let stack: AsyncDisposableStack;
beforeAll(() => {
  certificate = makeCertificate(['one.test', 'two.test']);
});
beforeEach(async () => {
  stack = new AsyncDisposableStack();
  tls = stack.use(await startUpstream({ tls: certificate }));
  other = stack.use(await startUpstream({ tls: certificate }));
  plain = stack.use(await startUpstream());
});
afterEach(async () => await stack.disposeAsync());

const { lookup } = fakeNames({ 'one.test': ['127.0.0.1'], 'two.test': ['127.0.0.1'] });

const guarded = (options: Partial<GuardedFetchOptions> = {}) =>
  createGuardedFetch({
    guard: createAddressGuard({ open: ['127.0.0.1'] }),
    lookup,
    ca: certificate.cert,
    ports: 'any',
    ...options,
  });

const one = (path: string) => `https://one.test:${tls.port}${path}`;
const two = (path: string) => `https://two.test:${other.port}${path}`;
const redirect = (to: string, status = 302) => one(`/redirect?status=${status}&to=${encodeURIComponent(to)}`);

test('it is a fetch: method, headers, body, decoded answer, address', async () => {
  const response = await guarded()(one('/echo'), {
    method: 'POST',
    headers: { 'x-own': '1' },
    body: JSON.stringify({ a: 1 }),
  });
  expect(await response.json()).toMatchObject({ body: '{"a":1}', headers: { 'x-own': '1' } });
  expect([response.url, response.status, response.redirected]).toEqual([one('/echo'), 200, false]);
  const zipped = await guarded()(new Request(one('/echo-gzip'), { headers: { authorization: 'Bearer mine' } }));
  expect(await zipped.json()).toMatchObject({ authorization: 'Bearer mine' });
});

test('only https, only 443, and no user name unless told otherwise', async () => {
  await expect(guarded()(`http://one.test:${plain.port}/`)).rejects.toMatchObject({ code: 'egress.refused' });
  await expect(guarded({ ports: [443] })(one('/'))).rejects.toThrow(/port \d+ is not one of 443/);
  await expect(guarded()('file:///etc/passwd')).rejects.toThrow();
  const text = await (await guarded({ allowsHttp: true })(`http://one.test:${plain.port}/x`)).text();
  expect(text).toBe('reached /x');
});

test('a loopback is only reached where it was opened', async () => {
  const fetchPublic = createGuardedFetch({ lookup, ca: certificate.cert, ports: 'any' });
  await expect(fetchPublic(one('/'))).rejects.toMatchObject({ code: 'egress.refused' });
  await expect(fetchPublic(`https://127.0.0.1:${tls.port}/`)).rejects.toMatchObject({ code: 'egress.refused' });
  expect(tls.connections).toBe(0);
});

attack('network', 'a redirect from an opened server', 'what is opened is opened for that server alone', async () => {
  const own = createGuardedFetch({ lookup, ca: certificate.cert, ports: 'any', trusted: [`one.test:${tls.port}`] });
  expect(await (await own(one('/x'))).text()).toBe('reached /x');
  await expect(own(redirect(two('/y')))).rejects.toMatchObject({ code: 'egress.refused' });
  expect(other.connections).toBe(0);
});

attack('secrets', 'headers taken along by a redirect', 'another host is told nothing', async () => {
  const headers = { authorization: 'Bearer mine', cookie: 'a=1', 'x-api-key': 'k', accept: 'text/plain' };
  const response = await guarded()(redirect(two('/landed')), { headers });
  expect([await response.text(), response.redirected, response.url]).toEqual(['reached /landed', true, two('/landed')]);
  const seen = other.requests[0]?.headers ?? {};
  expect([seen.authorization, seen.cookie, seen['x-api-key'], seen.accept]).toEqual([
    undefined,
    undefined,
    undefined,
    'text/plain',
  ]);
  await guarded()(redirect('/same'), { headers });
  expect(tls.requests.at(-1)?.headers.authorization).toBe('Bearer mine');
});

test('a body goes to no other host, and a POST that is answered with another place becomes a GET', async () => {
  await expect(guarded()(redirect(two('/x'), 307), { method: 'POST', body: 'secret' })).rejects.toThrow(
    /with a body to another host/,
  );
  await guarded()(redirect('/next', 303), {
    method: 'POST',
    body: 'secret',
    headers: { 'content-type': 'text/plain' },
  });
  expect(tls.requests.at(-1)).toMatchObject({ method: 'GET', url: '/next', body: '' });
  await guarded()(redirect('/next', 308), { method: 'POST', body: 'again' });
  expect(tls.requests.at(-1)).toMatchObject({ method: 'POST', url: '/next', body: 'again' });
  expect(other.requests).toEqual([]);
});

attack('network', 'redirects without an end', 'five, of https only', async () => {
  await expect(guarded()(one('/loop'))).rejects.toThrow(/more than 5 times/);
  expect(tls.requests).toHaveLength(6);
  await expect(guarded({ allowsHttp: true })(redirect(`http://one.test:${plain.port}/`))).rejects.toThrow(
    /from https to http/,
  );
  await expect(guarded()(redirect('https://'))).rejects.toThrow(/no address/);
  await expect(guarded()(redirect('gopher://one.test/'))).rejects.toMatchObject({ code: 'egress.refused' });
  await expect(guarded()(redirect('/x'), { redirect: 'error' })).rejects.toThrow(/redirects/);
  expect((await guarded()(redirect('/x'), { redirect: 'manual' })).status).toBe(302);
});

attack('resources', 'a compressed flood', 'cut by what it becomes', async () => {
  const response = await guarded({ responseBytesMax: 1_000_000 })(one('/bomb'));
  await expect(response.text()).rejects.toMatchObject({ code: 'egress.too_large' });
  const large = await guarded({ responseBytesMax: 1_000_000 })(one('/big?bytes=1000001'));
  await expect(large.arrayBuffer()).rejects.toMatchObject({ code: 'egress.too_large' });
  const fits = await guarded({ responseBytesMax: 1_000_000 })(one('/big?bytes=1000000'));
  expect((await fits.arrayBuffer()).byteLength).toBe(1_000_000);
});

test('headers above 16 KiB, a request above its bound, a silent server and a slow one are given up', async () => {
  await expect(guarded()(one('/headers'))).rejects.toMatchObject({ code: 'egress.too_large' });
  await expect(
    guarded({ requestBytesMax: 10 })(one('/'), { method: 'POST', body: 'x'.repeat(11) }),
  ).rejects.toMatchObject({ code: 'egress.too_large' });
  await expect(guarded({ totalMs: 300 })(one('/silent'))).rejects.toMatchObject({ code: 'egress.timeout' });
  const stalled = guarded({ totalMs: 1_000 })(one('/stall')).then(async (response) => await response.text());
  await expect(stalled).rejects.toMatchObject({ code: 'egress.timeout' });
});

test('a signal stops it, before and in the middle', async () => {
  const stop = new AbortController();
  const response = await guarded()(one('/stall'), { signal: stop.signal });
  stop.abort(new Error('enough'));
  await expect(response.text()).rejects.toThrow();
  await expect(guarded()(one('/'), { signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough');
});

test('events are handed over while more are to come', async () => {
  const isHeard = Promise.withResolvers<void>();
  const speaker = stack.use(
    await startUpstream({
      tls: certificate,
      answers: {
        '/talk': async (_request, answer) => {
          answer.write('data: one\n\n');
          await isHeard.promise;
          answer.end('data: two\n\n');
        },
      },
    }),
  );
  const response = await guarded({ totalMs: 0, idleMs: 0 })(`https://one.test:${speaker.port}/talk`);
  let heard = '';
  for await (const chunk of response.body ?? []) {
    heard += Buffer.from(chunk).toString();
    if (heard === 'data: one\n\n') isHeard.resolve();
  }
  expect(heard).toBe('data: one\n\ndata: two\n\n');
});
