import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hostedConversation } from '#bots/hosted/hosted-channel.ts';
import { newToken } from '#core/kit/ids.ts';
import { openWebStage, type WebStage } from '#tests/support/web-stage.ts';

let stage: WebStage;
beforeAll(async () => {
  stage = await openWebStage({ loginAttemptsMax: 1_000 });
});
afterAll(async () => await stage[Symbol.asyncDispose]());

const thread = 'abcdefgh12345678';

/** A browser that keeps its cookies. */
class Visitor {
  cookie = '';

  async request(path: string, init: RequestInit = {}): Promise<Response> {
    const response = await fetch(`${stage.server.url}${path}`, {
      redirect: 'manual',
      ...init,
      headers: { ...(this.cookie === '' ? {} : { cookie: this.cookie }), ...init.headers },
    });
    for (const set of response.headers.getSetCookie()) {
      const [pair = ''] = set.split(';');
      this.cookie = [...this.cookie.split('; ').filter((known) => known !== ''), pair].join('; ');
    }
    return response;
  }

  async post(path: string, body: object, headers: Record<string, string> = {}): Promise<Response> {
    return await this.request(`/chat/api/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ thread, key: newToken(12), ...body }),
    });
  }

  get room(): string {
    return /switchyard_visitor=(v[0-9a-f]{32})\./.exec(this.cookie)?.[1] ?? '';
  }
}

async function stranger(): Promise<Visitor> {
  const visitor = new Visitor();
  expect((await visitor.request('/chat/api/me')).status).toBe(200);
  return visitor;
}

async function operator(): Promise<Visitor> {
  const visitor = new Visitor();
  const body = new URLSearchParams({ token: stage.loginToken, next: '/chat' });
  expect((await visitor.request('/login', { method: 'POST', body })).headers.get('location')).toBe('/chat');
  return visitor;
}

async function paired(): Promise<Visitor> {
  const visitor = await stranger();
  await stage.database.query(`insert into person (id, display_name, role) values (gen_random_uuid(), 'P', 'member')`);
  await stage.database.query(
    `insert into identity (id, channel, account, external_id, display_name, person_id)
     select gen_random_uuid(), 'web', 'local', $1, 'P', (select id from person limit 1)
     on conflict (channel, account, external_id) do update set person_id = excluded.person_id`,
    [visitor.room],
  );
  return visitor;
}

describe('the page', () => {
  it('is served to anybody, holds nothing of anybody, and may run our script only', async () => {
    const response = await fetch(`${stage.server.url}/chat`);
    const policy = response.headers.get('content-security-policy') ?? '';
    expect(policy).toContain("script-src 'self'");
    expect(policy).not.toContain('unsafe-inline');
    expect(policy).toContain("require-trusted-types-for 'script'");
    expect(response.headers.getSetCookie()).toEqual([]);
    const page = await response.text();
    expect(page).not.toMatch(/<script(?! type="module" src="\/chat\/chat.js"><\/script>)/);
    expect(page).not.toMatch(/\son\w+=|style=/);
    for (const asset of [
      'chat.js',
      'chat-document.js',
      'chat-message.js',
      'chat-scroll.js',
      'chat-server.js',
      'chat-uploads.js',
      'chat.css',
    ]) {
      expect((await fetch(`${stage.server.url}/chat/${asset}`)).status).toBe(200);
    }
  });

  it('the front door leads operators to the queues and everybody else to the chat', async () => {
    const open = await fetch(`${stage.server.url}/`, { redirect: 'manual' });
    expect(open.headers.get('location')).toBe('/chat');
    expect((await (await operator()).request('/')).headers.get('location')).toBe('/queues');
  });
});

describe('who is who', () => {
  it('a browser without a name gets a signed one that scripts cannot read', async () => {
    const response = await fetch(`${stage.server.url}/chat/api/me`);
    const [cookie = ''] = response.headers.getSetCookie();
    expect(cookie).toMatch(/^switchyard_visitor=v[0-9a-f]{32}\.[\w-]{43};/);
    expect(cookie).toContain('HttpOnly');
    expect(cookie).toContain('SameSite=Lax');
    expect(cookie).toContain('Path=/chat');
    expect(await response.json()).toMatchObject({ isOperator: false, isKnown: false });
  });

  it('somebody who only looks is not listed as a stranger', async () => {
    const visitor = await stranger();
    const rows = await stage.database.query('select 1 from identity where external_id = $1', [visitor.room]);
    expect(rows).toEqual([]);
  });

  it('whoever logged in is the operator', async () => {
    const visitor = await operator();
    expect(await (await visitor.request('/chat/api/me')).json()).toMatchObject({ isOperator: true, isKnown: true });
    await visitor.post('messages', { text: 'hello', files: [] });
    expect(stage.received.at(-1)?.raw).toMatchObject({ room: 'operator', isOperator: true, text: 'hello' });
  });

  it('a page cannot say that it is somebody else', async () => {
    const visitor = await stranger();
    const lies = { text: 'hi', files: [], room: 'operator', isOperator: true, user: 'Operator', at: 'never' };
    expect((await visitor.post('messages', lies)).status).toBe(200);
    expect(stage.received.at(-1)?.raw).toMatchObject({ room: visitor.room, isOperator: false });
    const [event] = stage.channel.normalise(stage.received.at(-1)?.raw);
    expect(event?.actor).toMatchObject({ externalId: visitor.room, isOperator: false });
  });

  it.each(['', `v${'0'.repeat(32)}`, `v${'0'.repeat(32)}.AAAA`, 'operator.x', 'x'])(
    'the made-up cookie "%s" is nobody',
    async (value) => {
      const visitor = new Visitor();
      visitor.cookie = `switchyard_visitor=${value}`;
      expect((await visitor.request('/chat/api/threads')).status).toBe(401);
      expect((await visitor.post('messages', { text: 'x', files: [] })).status).toBe(401);
    },
  );

  it('nobody reads the conversations or files of another browser', async () => {
    const [one, two] = [await paired(), await paired()];
    await one.post('messages', { text: 'mine alone', files: [] });
    const upload = (await (
      await one.request('/chat/api/uploads?name=a.txt', {
        method: 'POST',
        headers: { 'content-type': 'application/octet-stream' },
        body: 'secret',
      })
    ).json()) as { id: string };
    expect(await (await one.request(`/chat/api/history?thread=${thread}`)).text()).toContain('mine alone');
    expect(await (await two.request(`/chat/api/history?thread=${thread}`)).json()).toMatchObject({ messages: [] });
    expect(await (await two.request('/chat/api/threads')).json()).toEqual({ threads: [] });
    // Not even by naming the upload.
    expect((await two.post('messages', { text: 'give me', files: [upload.id] })).status).toBe(400);
    expect((await one.post('messages', { text: '', files: [upload.id] })).status).toBe(200);
  });
});

describe('what is refused', () => {
  it.each([{ origin: 'https://evil.example' }, { 'sec-fetch-site': 'cross-site' }])(
    'a request that another site made the browser send (%j)',
    async (headers) => {
      const visitor = await operator();
      const before = stage.received.length;
      expect((await visitor.post('messages', { text: 'x', files: [] }, headers)).status).toBe(403);
      expect(stage.received.length).toBe(before);
    },
  );

  it('a form of another site, which needs no leave to be sent', async () => {
    const visitor = await operator();
    const body = new URLSearchParams({ thread, key: '12345678', text: 'x' });
    expect((await visitor.request('/chat/api/messages', { method: 'POST', body })).status).toBeGreaterThanOrEqual(400);
  });

  it.each([
    { text: '' },
    { text: 7 },
    { text: 'x', thread: '../x' },
    { text: 'x', key: 'short' },
    { text: 'x', files: ['nonsense'] },
    { text: 'x', files: ['00000000-0000-8000-8000-000000000000'] },
  ])('the message %j', async (body) => {
    expect((await (await operator()).post('messages', body)).status).toBe(400);
  });

  it('a text that is too long, with the mend', async () => {
    const response = await (await operator()).post('messages', { text: 'ä'.repeat(150_000), files: [] });
    expect(response.status).toBe(413);
    expect(await response.text()).toContain('file');
  });

  it('files of strangers, files without content, files that are too large', async () => {
    const send = async (visitor: Visitor, body: Uint8Array<ArrayBuffer>) =>
      await visitor.request('/chat/api/uploads?name=a', {
        method: 'POST',
        headers: { 'content-type': 'application/octet-stream' },
        body,
      });
    expect((await send(await stranger(), new Uint8Array(1))).status).toBe(403);
    expect((await send(await operator(), new Uint8Array(0))).status).toBe(400);
    expect((await send(await operator(), new Uint8Array(20 * 1024 * 1024 + 2))).status).toBe(413);
  });

  it('a stranger who floods: long texts, many conversations, many messages', async () => {
    await using own = await openWebStage();
    const visitor = new Visitor();
    const ask = async (path: string, body?: object) =>
      await fetch(`${own.server.url}/chat/api/${path}`, {
        ...(body === undefined
          ? {}
          : { method: 'POST', body: JSON.stringify({ key: newToken(12), files: [], ...body }) }),
        headers: { 'content-type': 'application/json', cookie: visitor.cookie },
      });
    visitor.cookie = (await ask('me')).headers.getSetCookie()[0]?.split(';')[0] ?? '';
    expect((await ask('messages', { thread, text: 'x'.repeat(2_001) })).status).toBe(400);
    const statuses: number[] = [];
    for (let index = 0; index < 6; index += 1) {
      statuses.push((await ask('messages', { thread: `conversation${index}`, text: 'x' })).status);
    }
    expect(statuses).toEqual([200, 200, 200, 200, 200, 429]);
    const more = await Promise.all(
      Array.from({ length: 20 }, async () => (await ask('messages', { thread: 'conversation0', text: 'x' })).status),
    );
    expect(more).toContain(429);
    // A new name does not help: strangers are counted by address.
    visitor.cookie = (await fetch(`${own.server.url}/chat/api/me`)).headers.getSetCookie()[0]?.split(';')[0] ?? '';
    expect((await ask('messages', { thread, text: 'x' })).status).toBe(429);
  });
});

describe('files', () => {
  it('a page sent by an agent is saved, never shown; a picture is shown', async () => {
    const visitor = await operator();
    const conversation = hostedConversation('web', { room: 'operator', thread });
    const data = (text: string | Buffer) => Buffer.from(text).toString('base64');
    await stage.channel.send(
      conversation,
      {
        parts: [
          { type: 'file', name: 'x"\r\n.html', mime: 'text/html', dataBase64: data('<script>alert(1)</script>') },
          { type: 'file', name: 'ü.png', mime: 'image/png', dataBase64: data('not really') },
          { type: 'file', name: 'x.svg', mime: 'image/svg+xml', dataBase64: data('<svg onload="alert(1)"/>') },
        ],
      },
      'files-1',
    );
    const get = async (index: number) =>
      await visitor.request(`/chat/api/files?thread=${thread}&message=files-1&index=${index}`);
    for (const index of [0, 2]) {
      const { headers } = await get(index);
      expect(headers.get('content-type')).toBe('application/octet-stream');
      expect(headers.get('content-disposition')).toMatch(/^attachment; filename\*=UTF-8''[\w%.-]+$/);
      expect(headers.get('content-security-policy')).toBe("default-src 'none'; sandbox");
      expect(headers.get('x-content-type-options')).toBe('nosniff');
    }
    expect((await get(1)).headers.get('content-type')).toBe('image/png');
    expect((await get(9)).status).toBe(404);
  });
});

describe('following', () => {
  type Reader = ReadableStreamDefaultReader<Uint8Array> | undefined;

  async function readUntil(reader: Reader, until: RegExp): Promise<string> {
    const decoder = new TextDecoder();
    let text = '';
    while (!until.test(text)) {
      const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
      if (done) break;
      text += decoder.decode(value, { stream: true });
    }
    return text;
  }

  async function read(response: Response, until: RegExp): Promise<string> {
    const reader = response.body?.getReader();
    const text = await readUntil(reader, until);
    await reader?.cancel();
    return text;
  }

  it('a stream goes on behind the last event its browser saw', async () => {
    const visitor = await operator();
    const name = 'resume0123456789';
    const conversation = hostedConversation('web', { room: 'operator', thread: name });
    const send = async (text: string) =>
      await stage.channel.send(conversation, { parts: [{ type: 'markdown', markdown: text }] }, `m-${text}`);
    await send('one');
    const first = await read(await visitor.request(`/chat/api/stream?thread=${name}&since=0`), /event: ready/);
    expect(first).toContain('"one"');
    const lastId = /id: (\d+)/.exec(first)?.[1] ?? '';
    await send('two');
    const second = await read(
      await visitor.request(`/chat/api/stream?thread=${name}&since=0`, { headers: { 'last-event-id': lastId } }),
      /event: ready/,
    );
    expect(second).toContain('"two"');
    expect(second).not.toContain('"one"');
  });

  it('a long growing text is put together from notifications that hold only its end', async () => {
    const visitor = await operator();
    const name = 'drafts0123456789';
    const conversation = hostedConversation('web', { room: 'operator', thread: name });
    const words = Array.from({ length: 3_000 }, (_, index) => `word${index}`).join(' ');
    const response = await visitor.request(`/chat/api/stream?thread=${name}&since=0`);
    const reader = response.body?.getReader();
    // Whoever comes in the middle of a text sees its end only.
    await readUntil(reader, /event: ready/);
    const reading = readUntil(reader, /word2999/);
    for (let end = 2_000; end < words.length + 2_000; end += 2_000) {
      await stage.channel.draft(conversation, 3, words.slice(0, end));
      await new Promise((resolve) => setImmediate(resolve));
    }
    const last = (await reading).split('event: draft\n').at(-1) ?? '';
    await reader?.cancel();
    expect(last).toContain('word0 word1 ');
    expect(last).toContain('word2999');
  });
});
