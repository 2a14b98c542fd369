import { request as rawRequest } from 'node:http';
import { connect } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { newId } from '#core/kit/ids.ts';
import { putMessages } from '#core/outbox/put-messages.ts';
import { startServer } from '#server/start-server.ts';
import { type ConsoleStage, openConsoleStage } from '#tests/support/console-stage.ts';
import { readEvents, type WireEvent } from '#tests/support/event-stream.ts';
import { eventually } from '#tests/support/eventually.ts';

let stage: ConsoleStage;

beforeAll(async () => {
  stage = await openConsoleStage({ heartbeatMs: 50, loginAttemptsMax: 3 });
});
afterAll(() => stage[Symbol.asyncDispose]());
beforeEach(() => {
  Object.assign(stage.state, { refusals: 0, undelivered: 0, notReady: undefined, lane: undefined, turns: [] });
});

const post = (path: string, body: unknown, init: RequestInit = {}) =>
  stage.request(path, {
    method: 'POST',
    body: JSON.stringify(body),
    ...init,
    headers: { 'content-type': 'application/json', ...init.headers },
  });
const say = (room: string, text: string, key = newId()) =>
  post('/api/console/messages', { key, room, user: 'ada', text });
const codeOf = async (response: Response) => ((await response.json()) as { error: { code: string } }).error.code;

async function follow(
  room: string,
  headers: Record<string, string> = {},
): Promise<{ events: WireEvent[]; stop(): void }> {
  const stop = new AbortController();
  // The server may not have noticed yet that those before have left.
  const response = await eventually(async () => {
    const answer = await stage.request(`/api/console/stream?room=${room}`, { headers, signal: stop.signal });
    expect(answer.status).toBe(200);
    return answer;
  });
  const events: WireEvent[] = [];
  void readEvents(response, events);
  await expect.poll(() => events.map(({ event }) => event)).toContain('ready');
  return { events, stop: () => stop.abort() };
}

/** A login from an address of its own, so that tests do not use up each other's attempts. */
async function logIn(address: string, token: string): Promise<{ status: number; cookie: string; text: string }> {
  return await new Promise((resolve, reject) => {
    const request = rawRequest(
      `${stage.server.url}/login`,
      {
        method: 'POST',
        localAddress: address,
        headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'text/html' },
      },
      (response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => {
          text += chunk.toString();
        });
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, cookie: response.headers['set-cookie']?.[0] ?? '', text }),
        );
      },
    );
    request.on('error', reject);
    request.end(new URLSearchParams({ token, next: '/queues' }).toString());
  });
}

describe('health', () => {
  it('a live process says so, and a missing need makes it not ready with the reason', async () => {
    expect((await stage.request('/healthz')).status).toBe(200);
    expect((await stage.request('/readyz')).status).toBe(200);
    stage.state.notReady = 'connection refused\nwith a long story';
    const response = await stage.request('/readyz');
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({
      status: 'not ready',
      checks: [{ name: 'database', isOk: false, reason: 'connection refused' }],
    });
  });
});

describe('the door', () => {
  it('a foreign host name is refused on a loopback listener', async () => {
    const status = await new Promise((resolve, reject) => {
      rawRequest(`${stage.server.url}/healthz`, { headers: { host: 'evil.example:80' } }, (response) =>
        resolve(response.statusCode),
      )
        .on('error', reject)
        .end();
    });
    expect(status).toBe(403);
  });

  it('a state change asked for by another web site is refused', async () => {
    const response = await post('/api/console/messages', {}, { headers: { origin: 'https://evil.example' } });
    expect(response.status).toBe(403);
  });

  it('unknown addresses answer 404 as JSON, without a stack', async () => {
    const response = await stage.request('/wp-admin/setup.php');
    expect(response.status).toBe(404);
    expect(await response.json()).toEqual({
      error: { code: 'request.not_found', message: 'There is nothing at this address.' },
    });
  });

  it('every answer carries the security headers', async () => {
    const { headers } = await stage.request('/login');
    expect(headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('x-frame-options')).toBe('DENY');
  });

  it('a port in use is told with the mend', async () => {
    await expect(
      startServer(
        {
          console: { ...Object(undefined) },
          web: { ...Object(undefined), uploadBytesMax: 1 },
          queues: [],
          reads: { ...Object(undefined) },
          outbox: { ...Object(undefined) },
          checks: [],
          hooks: [],
          log: { ...console, child: () => console } as never,
        },
        {
          host: '127.0.0.1',
          port: stage.server.port,
          operatorToken: 'o',
          loginToken: 'l',
          cookieKey: 'c',
          signal: new AbortController().signal,
        },
      ),
    ).rejects.toMatchObject({ code: 'config.invalid', mend: expect.stringContaining('SWITCHYARD_PORT') });
  });
});

describe('login', () => {
  it('a browser without a session is sent to the login page and back', async () => {
    const response = await stage.request('/queues', { headers: { accept: 'text/html' } });
    expect(response.status).toBe(302);
    expect(response.headers.get('location')).toBe('/login?next=%2Fqueues');
    expect((await stage.request('/queues/api/queues')).status).toBe(401);
  });

  it('the token opens a session that a script cannot read and another site cannot use', async () => {
    const { status, cookie } = await logIn('127.0.0.2', stage.loginToken);
    expect(status).toBe(303);
    expect(cookie).toMatch(/HttpOnly/);
    expect(cookie).toMatch(/SameSite=Strict/);
    const session = { cookie: cookie.split(';')[0] ?? '' };
    expect((await stage.request('/queues/api/queues', { headers: session })).status).toBe(200);
    expect((await stage.request('/queues', { headers: session })).status).toBe(200);
    const logout = await stage.request('/logout', { headers: session });
    expect(logout.headers.get('location')).toBe('/login');
    expect((await stage.request('/queues/api/queues', { headers: session })).status).toBe(401);
  });

  it('a forged or altered cookie opens nothing', async () => {
    const { cookie } = await logIn('127.0.0.3', stage.loginToken);
    const value = cookie.split(';')[0] ?? '';
    for (const forged of [`${value}x`, value.replace(/=\d/, '=9'), 'switchyard_session=9999999999999.a.b', 'x=y']) {
      expect((await stage.request('/queues/api/queues', { headers: { cookie: forged } })).status).toBe(401);
    }
  });

  it('wrong tokens are refused, and too many of them lock the address out for a while', async () => {
    for (let attempt = 0; attempt < 3; attempt += 1) {
      expect((await logIn('127.0.0.4', 'wrong')).status).toBe(401);
    }
    const locked = await logIn('127.0.0.4', stage.loginToken);
    expect(locked.status).toBe(429);
    expect(locked.text).toContain('Too many attempts');
    expect((await logIn('127.0.0.5', stage.loginToken)).status).toBe(303);
  });

  it('the login page never leads to another site', async () => {
    for (const next of ['https://evil.example', '//evil.example', '/queues\\@evil', '/queuesevil', 'javascript:x']) {
      const text = await (await stage.request(`/login?next=${encodeURIComponent(next)}`)).text();
      expect(text).toContain('name="next" value="/queues"');
    }
  });

  it('no token reaches the log', () => {
    expect(stage.logLines.length).toBeGreaterThan(0);
    const log = stage.logLines.join('');
    expect(log).not.toContain(stage.loginToken);
    expect(log).not.toContain(stage.operatorToken);
  });
});

describe('queue dashboard', () => {
  it('shows the queues and changes nothing', async () => {
    const { cookie } = await logIn('127.0.0.6', stage.loginToken);
    const headers = { cookie: cookie.split(';')[0] ?? '' };
    const queues = (await (await stage.request('/queues/api/queues', { headers })).json()) as {
      queues: { name: string; readOnlyMode: boolean }[];
    };
    expect(queues.queues[0]?.readOnlyMode).toBe(true);
    const name = queues.queues[0]?.name ?? '';
    expect((await stage.request(`/queues/api/queues/${name}/pause`, { method: 'PUT', headers })).status).toBe(403);
  });

  it('a lane page shows hostile text as text, and an unknown lane is not found', async () => {
    const { cookie } = await logIn('127.0.0.7', stage.loginToken);
    const headers = { cookie: cookie.split(';')[0] ?? '', accept: 'text/html' };
    const sessionId = newId();
    expect((await stage.request(`/lanes/${sessionId}`, { headers })).status).toBe(404);
    expect((await stage.request(`/lanes/..%2f..%2fetc`, { headers })).status).toBe(404);
    stage.state.lane = {
      sessionId,
      threadKey: 'console:local:<b>:-',
      agentName: 'assistant',
      state: 'running',
      openTurns: 1,
      nextSeq: 2,
      fence: 1,
      generation: 1,
      turns: [],
      events: [{ seq: 1, kind: 'user_message', text: '<script>alert(1)</script>', createdAt: new Date() }],
    };
    const text = await (await stage.request(`/lanes/${sessionId}`, { headers })).text();
    expect(text).toContain('&lt;script&gt;alert(1)&lt;/script&gt;');
    expect(text).not.toContain('<script');
  });

  it('what did not arrive is shown with its reason, and is sent again or dropped from there', async () => {
    const { cookie } = await logIn('127.0.0.8', stage.loginToken);
    const headers = { cookie: cookie.split(';')[0] ?? '', accept: 'text/html' };
    const { db } = stage.database;
    await putMessages(
      db,
      ['<b>one</b>', 'two'].map((markdown) => ({
        key: newId(),
        conversation: { channel: 'telegram', account: '7', room: '5', kind: 'dm' as const },
        importance: 'result' as const,
        body: { parts: [{ type: 'markdown' as const, markdown }] },
      })),
    );
    await stage.database.query(
      `update outbox set state = 'unknown', last_error = 'nothing within 15 s' where thread_key = 'telegram:7:5:-'`,
    );
    expect((await stage.request('/outbox', { redirect: 'manual' })).status).not.toBe(200);
    const text = await (await stage.request('/outbox', { headers })).text();
    expect(text).toContain('&lt;b&gt;one&lt;/b&gt;');
    expect(text).toContain('nothing within 15 s');
    const [one = '', two = ''] = [...text.matchAll(/action="\/outbox\/([\w-]+)"/g)].map((match) => match[1]);
    const act = async (id: string, action: string) =>
      await stage.request(`/outbox/${id}`, {
        method: 'POST',
        redirect: 'manual',
        headers: { ...headers, 'content-type': 'application/x-www-form-urlencoded' },
        body: `action=${action}`,
      });
    expect((await act(one, 'resend')).status).toBe(303);
    expect((await act(two, 'drop')).status).toBe(303);
    expect((await act(two, 'drop')).status).toBe(404);
    expect((await act(one, 'explode')).status).toBe(400);
    expect((await act('not-an-id', 'drop')).status).toBe(404);
    expect(await (await stage.request('/outbox', { headers })).text()).toContain(
      'Everything that was said has arrived.',
    );
    const states = await stage.database.query<{ state: string }>(
      `select state from outbox where thread_key = 'telegram:7:5:-'`,
    );
    expect(states.map(({ state }) => state).sort()).toEqual(['pending', 'unknown']);
  });
});

describe('console API', () => {
  it('needs the operator token', async () => {
    for (const authorization of ['', 'Bearer wrong', stage.operatorToken]) {
      const response = await stage.request('/api/console/history?room=ada', { headers: { authorization } });
      expect(response.status).toBe(401);
    }
  });

  it('a message is accepted once, however often it is sent', async () => {
    const key = newId();
    expect((await say('once', 'hello', key)).status).toBe(200);
    expect((await say('once', 'hello', key)).status).toBe(200);
    expect(stage.received.filter((event) => event.dedupKey === key)).toHaveLength(1);
    const history = (await (await stage.request('/api/console/history?room=once')).json()) as { messages: unknown[] };
    expect(history.messages).toHaveLength(1);
  });

  it('a message that could not be stored is answered 503 and not shown', async () => {
    stage.state.refusals = 1;
    const key = newId();
    const refused = await say('refused', 'hello', key);
    expect(refused.status).toBe(503);
    expect(await codeOf(refused)).toBe('database.unavailable');
    const history = async () =>
      ((await (await stage.request('/api/console/history?room=refused')).json()) as { messages: unknown[] }).messages;
    expect(await history()).toEqual([]);
    expect((await say('refused', 'hello', key)).status).toBe(200);
    expect(await history()).toHaveLength(1);
  });

  it('a message over 1 MB, even of 10 MB, is answered 413', async () => {
    expect(await codeOf(await say('big', 'é'.repeat(500_001)))).toBe('message.too_large');
    const response = await say('big', 'x'.repeat(10_000_000));
    expect(response.status).toBe(413);
    expect(await codeOf(response)).toBe('message.too_large');
    expect((await say('big', 'x'.repeat(1_000_000))).status).toBe(200);
  });

  it('junk is answered 400 and stores nothing', async () => {
    const before = stage.received.length;
    for (const body of [null, [], 'x', { room: '../etc' }, { key: newId(), room: 'a b', user: 'u', text: 't' }]) {
      expect((await post('/api/console/messages', body)).status).toBe(400);
    }
    const broken = await stage.request('/api/console/messages', {
      method: 'POST',
      body: '{"key":',
      headers: { 'content-type': 'application/json' },
    });
    expect(broken.status).toBe(400);
    expect(stage.received).toHaveLength(before);
  });

  it('lone surrogates and NUL are stored and come back readable', async () => {
    expect((await say('odd', 'a\ud800b\u0000c')).status).toBe(200);
    const text = await (await stage.request('/api/console/history?room=odd')).text();
    expect(text).toContain('a\ufffdbc');
  });
});

describe('console stream', () => {
  const send = (room: string, markdown: string, id = newId()) =>
    stage.channel.send(
      { channel: 'console', account: 'local', room, kind: 'dm' },
      { parts: [{ type: 'markdown', markdown }] },
      id,
    );
  const messageIds = (events: readonly WireEvent[]) =>
    events.filter(({ event }) => event === 'message').map(({ data }) => data['messageId']);

  it('messages, edits, deletions, drafts and acknowledgements arrive in order', async () => {
    const conversation = { channel: 'console', account: 'local', room: 'live', kind: 'dm' } as const;
    const { events, stop } = await follow('live');
    await stage.channel.draft(conversation, 7, 'thinking');
    const ref = await send('live', 'one');
    await stage.channel.edit(conversation, ref, { parts: [{ type: 'markdown', markdown: 'two' }] }, newId());
    await stage.channel.delete(conversation, ref);
    await stage.channel.acknowledge(JSON.stringify({ room: 'live', key: 'action-1' }), {
      text: 'Noted.',
      isAlert: true,
    });
    await expect.poll(() => events.at(-1)?.event).toBe('ack');
    expect(events.at(-1)?.data).toEqual({ actionId: 'action-1', text: 'Noted.', isAlert: true });
    expect(events.find(({ event }) => event === 'draft')?.data).toMatchObject({ draftId: 7, markdown: 'thinking' });
    const last = events.findLast(({ event }) => event === 'message');
    expect(last?.data).toMatchObject({ messageId: ref.ids[0], isDeleted: true, parts: [] });
    stop();
  });

  it('a client that comes back gets exactly what it missed', async () => {
    const first = await follow('resume');
    await send('resume', 'seen', 'seen');
    await expect.poll(() => messageIds(first.events)).toEqual(['seen']);
    const lastId = first.events.findLast(({ id }) => id !== undefined)?.id ?? '';
    first.stop();
    await send('resume', 'missed', 'missed');
    const second = await follow('resume', { 'last-event-id': lastId });
    await send('resume', 'later', 'later');
    await expect.poll(() => messageIds(second.events)).toEqual(['missed', 'later']);
    second.stop();
  });

  it('no message is missed or repeated while many are written at once', async () => {
    const { events, stop } = await follow('many');
    const ids = Array.from({ length: 300 }, (_, index) => `many-${index}`);
    await Promise.all(ids.map((id) => send('many', id, id)));
    await expect.poll(() => messageIds(events).length).toBeGreaterThanOrEqual(300);
    expect(messageIds(events).toSorted()).toEqual(ids.toSorted());
    const changes = events.flatMap(({ id }) => (id === undefined ? [] : [Number(id)]));
    expect(changes).toEqual(changes.toSorted((a, b) => a - b));
    stop();
  });

  it('a lost database connection of the feed loses no message', async () => {
    const { events, stop } = await follow('lost');
    await stage.database.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where application_name = 'switchyard feed' and datname = current_database()`,
    );
    await send('lost', 'said meanwhile', 'meanwhile');
    await expect.poll(() => messageIds(events)).toEqual(['meanwhile']);
    stop();
  });

  it('the end of a turn is told only after all it said was shown', async () => {
    const { events, stop } = await follow('turns');
    stage.state.undelivered = 1;
    await stage.turn('turns', 'started');
    await expect.poll(() => events.at(-1)?.data).toMatchObject({ state: 'started', turnId: 't1' });
    await stage.turn('turns', 'done', { messageId: 'm1' });
    await send('turns', 'the answer', 'answer');
    await expect.poll(() => messageIds(events)).toEqual(['answer']);
    expect(events.some(({ data }) => data['state'] === 'done')).toBe(false);
    stage.state.undelivered = 0;
    await expect.poll(() => events.at(-1)?.data).toMatchObject({ state: 'done', messageId: 'm1' });
    stop();
  });

  it('turns of another conversation are not told here', async () => {
    const { events, stop } = await follow('quiet');
    await stage.turn('elsewhere', 'started');
    await send('quiet', 'marker', 'marker');
    await expect.poll(() => messageIds(events)).toEqual(['marker']);
    expect(events.some(({ event }) => event === 'turn')).toBe(false);
    stop();
  });

  it('a draft too long for a notification keeps its end, in whole characters', async () => {
    const conversation = { channel: 'console', account: 'local', room: 'draft', kind: 'dm' } as const;
    const { events, stop } = await follow('draft');
    for (const filler of ['x', '😀', '\u0001', '"\\']) {
      await stage.channel.draft(conversation, 1, `${filler.repeat(20_000)} the end`);
      await expect.poll(() => events.at(-1)?.event).toBe('draft');
      const draft = events.pop()?.data;
      expect(draft).toMatchObject({ isTail: true });
      expect(String(draft?.['markdown']).isWellFormed()).toBe(true);
      expect(draft?.['markdown']).toMatch(/ the end$/);
      expect(String(draft?.['markdown']).length).toBeGreaterThan(1_000);
    }
    stop();
  });

  it('a client that does not read is cut off, and the others go on', async () => {
    const { events, stop } = await follow('slow');
    const socket = connect(stage.server.port, '127.0.0.1');
    socket.pause();
    const closed = new Promise((resolve) => socket.on('close', resolve).on('error', () => undefined));
    socket.write(
      `GET /api/console/stream?room=slow HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${stage.operatorToken}\r\n\r\n`,
    );
    const text = 'x'.repeat(90_000);
    for (let round = 0; round < 25; round += 1) {
      await Promise.all(Array.from({ length: 10 }, (_, index) => send('slow', text, `slow-${round}-${index}`)));
      // This one reads, so that it has no backlog to be cut off for.
      await expect.poll(() => messageIds(events).length).toBe((round + 1) * 10);
    }
    socket.resume();
    await closed;
    await send('slow', 'still here', 'slow-last');
    await expect.poll(() => messageIds(events).at(-1)).toBe('slow-last');
    stop();
  });

  it('a server with terminals on it ends their streams when it stops, and does not cut them', async () => {
    const response = await stage.request('/api/console/stream?room=stopping');
    expect(response.status).toBe(200);
    const seen = response.text().then(
      (text) => ({ how: 'ended', text }),
      () => ({ how: 'cut off', text: '' }),
    );
    await stage.restart();
    await send('stopping', 'after', 'after');
    expect(await seen).toEqual({ how: 'ended', text: expect.not.stringContaining('"after"') as string });
  });

  it('only so many terminals may follow at once, and one that leaves makes room', async () => {
    const open = await Promise.all(Array.from({ length: 64 }, () => follow('crowd')));
    const refused = await stage.request('/api/console/stream?room=crowd');
    expect(refused.status).toBe(429);
    for (const { stop } of open) stop();
    await expect
      .poll(async () => {
        const stop = new AbortController();
        const { status } = await stage.request('/api/console/stream?room=crowd', { signal: stop.signal });
        stop.abort();
        return status;
      })
      .toBe(200);
  });

  it('a file is named in the stream and fetched on its own', async () => {
    const { events, stop } = await follow('files');
    await stage.channel.send(
      { channel: 'console', account: 'local', room: 'files', kind: 'dm' },
      {
        parts: [
          { type: 'file', name: 'a.html', mime: 'text/html', dataBase64: Buffer.from('<b>hi</b>').toString('base64') },
        ],
      },
      'file-1',
    );
    await expect.poll(() => messageIds(events)).toEqual(['file-1']);
    expect(events.at(-1)?.data['parts']).toEqual([
      { type: 'file', name: 'a.html', mime: 'text/html', bytes: 9, index: 0 },
    ]);
    const file = await stage.request('/api/console/files?room=files&message=file-1&index=0');
    expect(file.headers.get('content-type')).toBe('application/octet-stream');
    expect(await file.text()).toBe('<b>hi</b>');
    expect((await stage.request('/api/console/files?room=files&message=file-1&index=1')).status).toBe(404);
    stop();
  });
});
