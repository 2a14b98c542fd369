import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { openWebStage, type WebStage } from '#tests/support/web-stage.ts';

let stage: WebStage;
/** The answers are kept as well: Node cancels the body of a response that nobody holds any more. */
const open: { readonly stop: AbortController; readonly response: Response }[] = [];
afterEach(async () => {
  for (const { stop } of open.splice(0)) stop.abort();
  await stage[Symbol.asyncDispose]();
});

const thread = 'abcdefgh12345678';

async function newBrowser(): Promise<string> {
  const response = await fetch(`${stage.server.url}/chat/api/me`);
  return response.headers.getSetCookie()[0]?.split(';')[0] ?? '';
}

async function stream(cookie: string): Promise<Response> {
  const stop = new AbortController();
  const response = await fetch(`${stage.server.url}/chat/api/stream?thread=${thread}`, {
    headers: { cookie },
    signal: stop.signal,
  });
  open.push({ stop, response });
  return response;
}

it('strangers with many browsers cannot take the streams of the people we work for', async () => {
  stage = await openWebStage();
  const statuses: number[] = [];
  for (let browser = 0; browser < 25; browser += 1) {
    const cookie = await newBrowser();
    statuses.push(...(await Promise.all(Array.from({ length: 7 }, async () => (await stream(cookie)).status))));
  }
  expect(statuses.filter((status) => status === 200)).toHaveLength(100);
  expect(statuses.filter((status) => status === 429)).toHaveLength(75);

  const login = await fetch(`${stage.server.url}/login`, {
    method: 'POST',
    body: new URLSearchParams({ token: stage.loginToken, next: '/chat' }),
    redirect: 'manual',
  });
  const session = login.headers.getSetCookie()[0]?.split(';')[0] ?? '';
  expect((await stream(session)).status).toBe(200);
});

it('a stranger who reads in a loop is slowed down, and reading costs a person we know nothing', async () => {
  stage = await openWebStage();
  const cookie = await newBrowser();
  const read = async () =>
    (await fetch(`${stage.server.url}/chat/api/history?thread=${thread}`, { headers: { cookie } })).status;
  const statuses: number[] = [];
  for (let round = 0; round < 7; round += 1) {
    statuses.push(...(await Promise.all(Array.from({ length: 30 }, async () => await read()))));
  }
  expect(statuses.filter((status) => status === 200)).toHaveLength(200);
  expect(statuses.filter((status) => status === 429)).toHaveLength(10);
  await stage.database.query(
    `with somebody as (insert into person (id, display_name, role) values (gen_random_uuid(), 'P', 'member') returning id)
     insert into identity (id, channel, account, external_id, display_name, person_id)
     select gen_random_uuid(), 'web', 'local', $1, 'P', id from somebody`,
    [/=(v[0-9a-f]{32})\./.exec(decodeURIComponent(cookie))?.[1]],
  );
  expect(await read()).toBe(200);
});

it('a request that does not arrive whole is ended', async () => {
  stage = await openWebStage({ arrivalMs: 400 });
  const socket = connect(stage.server.port, '127.0.0.1');
  const closed = new Promise<string>((resolve) => {
    let text = '';
    socket.on('data', (chunk) => (text += chunk.toString()));
    socket.on('close', () => resolve(text));
    socket.on('error', () => undefined);
  });
  socket.write(`POST /login HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 4000\r\n`);
  socket.write('content-type: application/x-www-form-urlencoded\r\n\r\n');
  const drip = setInterval(() => socket.write('a'), 50);
  expect(await closed).toMatch(/^HTTP\/1\.1 408|^$/);
  clearInterval(drip);
});

it('a stream lives longer than a request may take to arrive', async () => {
  stage = await openWebStage({ arrivalMs: 1_000, heartbeatMs: 100 });
  const response = await stream(await newBrowser());
  const reader = response.body?.getReader();
  // Requests that take too long are looked for once in that time.
  const until = performance.now() + 3_000;
  let beats = 0;
  while (performance.now() < until || beats <= 5) {
    const chunk = await reader?.read();
    expect(chunk?.done).toBe(false);
    beats += 1;
  }
});

it('a made-up, cut or foreign visitor cookie names nobody', async () => {
  stage = await openWebStage();
  const real = decodeURIComponent(await newBrowser()).replace('switchyard_visitor=', '');
  const [room = '', mark = ''] = real.split('.');
  const other = `v${randomBytes(16).toString('hex')}`;
  for (const forged of [`${other}.${mark}`, `${room}.`, room, `${room}.${mark.slice(0, -2)}`, `operator.${mark}`, '']) {
    const response = await fetch(`${stage.server.url}/chat/api/threads`, {
      headers: { cookie: `switchyard_visitor=${encodeURIComponent(forged)}` },
    });
    expect(response.status, forged).toBe(401);
  }
});
