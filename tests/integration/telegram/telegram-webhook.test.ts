import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RawEvent } from '#bots/channel.ts';
import { eventually } from '#tests/support/eventually.ts';
import { group, person, TelegramStage } from '../../support/telegram-stage.ts';

const secret = 'a-Secret_of-tests';
const publicUrl = 'https://bots.example';

describe('Telegram by web hook', () => {
  let stage: TelegramStage;
  let proxy: Server;
  let stored: RawEvent[];
  let refusals: number;
  let stop: AbortController;
  let running: Promise<void> | undefined;

  const texts = () =>
    stored
      .flatMap(({ raw }) => stage.channel.normalise(raw))
      .flatMap((event) => (event.type === 'message' ? [event.text] : []));
  const becomes = async (state: string) =>
    await eventually(() => expect(stage.channel.health().state).toBe(state), { interval: 10 });
  const run = async () => {
    stop = new AbortController();
    running = stage.channel.run(async (events) => {
      if (refusals > 0) {
        refusals -= 1;
        throw new Error('the database is down');
      }
      stored.push(...events);
    }, stop.signal);
    await becomes('connected');
  };

  beforeEach(async () => {
    stored = [];
    refusals = 0;
    running = undefined;
    stop = new AbortController();
    stage = await TelegramStage.open({ webhook: { url: publicUrl, secret } });
    // What ends TLS in front of the product and hands bodies on byte for byte.
    proxy = createServer((request, response) => {
      const route = stage.channel.routes.find(({ path }) => request.url === `/hooks/${path}`);
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const headers = Object.fromEntries(
          Object.entries(request.headers).map(([name, value]) => [name, String(value)]),
        );
        const reply =
          route?.handle({ headers, query: {}, body: Buffer.concat(chunks) }) ?? Promise.resolve({ status: 404 });
        void reply.then(({ status }) => response.writeHead(status).end());
      });
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    const { port } = proxy.address() as AddressInfo;
    stage.fake.state.webhook.proxyTo = `http://127.0.0.1:${port}`;
  });
  afterEach(async () => {
    stop.abort();
    await running;
    await stage[Symbol.asyncDispose]();
    proxy.closeAllConnections();
    await new Promise((resolve) => proxy.close(resolve));
  });

  it('is set with a secret and everything we read, and keeps what waits', async () => {
    stage.fake.people.says(person, person, 'before');
    await run();
    expect(stage.fake.state.webhook.settings).toMatchObject({
      url: `${publicUrl}/hooks/telegram/${stage.channel.account}`,
      secret_token: secret,
      max_connections: 40,
      drop_pending_updates: false,
      allowed_updates: expect.arrayContaining(['message', 'callback_query', 'message_reaction', 'my_chat_member']),
    });
    await eventually(() => expect(texts()).toEqual(['before']));
    expect(stage.fake.callCounts.get('getUpdates')).toBeUndefined();
  });

  it('a call is answered 200 only once its update is stored; Telegram repeats it until then', async () => {
    await run();
    refusals = 2;
    stage.fake.people.says(person, person, 'keep me');
    // Stored comes before answered.
    await eventually(() => expect(stage.fake.state.webhook.statuses).toEqual([503, 503, 200]));
    expect(texts()).toEqual(['keep me']);
    await becomes('connected');
    expect(stage.fake.updates.pending).toBe(0);
  });

  it('whoever does not know the secret is refused, with any body', async () => {
    await run();
    const update = {
      update_id: 5,
      message: { message_id: 1, date: 1, chat: { id: person, type: 'private' }, text: 'x' },
    };
    expect(await stage.fake.state.webhook.forge(update, undefined)).toBe(401);
    expect(await stage.fake.state.webhook.forge(update, 'wrong')).toBe(401);
    expect(await stage.fake.state.webhook.forge(update, `${secret}x`)).toBe(401);
    expect(await stage.fake.state.webhook.forge('not json', secret)).toBe(400);
    expect(await stage.fake.state.webhook.forge({ no: 'update' }, secret)).toBe(400);
    expect(stored).toEqual([]);
  });

  it('before it runs, and after, calls are put off', async () => {
    expect(await stage.channel.routes[0]?.handle({ headers: {}, query: {}, body: Buffer.from('{}') })).toMatchObject({
      status: 401,
    });
    const headers = { 'x-telegram-bot-api-secret-token': secret };
    const call = async () =>
      await stage.channel.routes[0]?.handle({ headers, query: {}, body: Buffer.from('{"update_id":1}') });
    expect(await call()).toMatchObject({ status: 503 });
    await run();
    stop.abort();
    await running;
    expect(await call()).toMatchObject({ status: 503 });
    // It stays set: what is said meanwhile is delivered to the next start.
    expect(stage.fake.state.webhook.isActive).toBe(true);
  });

  it('deliveries that overtake each other carry the count by which they are put in order', async () => {
    await run();
    stage.fake.state.webhook.hold();
    for (const text of ['one', 'two', 'three']) stage.fake.people.says(person, person, text);
    await stage.fake.state.webhook.releaseReversed();
    expect(texts()).toEqual(['three', 'two', 'one']);
    const sequences = stored.flatMap(({ raw }) => stage.channel.normalise(raw)).map((event) => event.sequence ?? 0);
    expect(sequences).toEqual(sequences.toSorted((a, b) => b - a));
  });

  it('both announcements of a moved group have one key', async () => {
    await run();
    stage.fake.people.migrates(group, -200);
    await eventually(() => expect(stored.length).toBe(2));
    expect(new Set(stored.map(({ dedupKey }) => dedupKey)).size).toBe(1);
  });

  it('an address Telegram does not take is named, and tried again', async () => {
    await using wrong = await TelegramStage.open({ webhook: { url: 'http://bots.example', secret } });
    const end = new AbortController();
    const done = wrong.channel.run(async () => undefined, end.signal);
    await eventually(() => expect(wrong.channel.health().state).toBe('disconnected'));
    await eventually(() => expect(wrong.channel.health().detail).toMatch(/HTTPS URL.*SWITCHYARD_PUBLIC_URL/));
    await wrong.fake.waitFor(() => (wrong.fake.callCounts.get('setWebhook') ?? 0) >= 2);
    end.abort();
    await done;
  });

  it('a refused token halts, and going back to polling takes the web hook away', async () => {
    await run();
    await using polling = await TelegramStage.open({ apiRoot: stage.fake.apiRoot });
    const end = new AbortController();
    const done = polling.channel.run(async (events) => void stored.push(...events), end.signal);
    await eventually(() => expect(polling.channel.health().state).toBe('connected'));
    expect(stage.fake.state.webhook.isActive).toBe(false);
    stage.fake.people.says(person, person, 'polled');
    await eventually(() => expect(texts()).toEqual(['polled']));
    end.abort();
    await done;
    await using revoked = await TelegramStage.open({
      apiRoot: `${stage.fake.apiRoot}/elsewhere`,
      webhook: { url: publicUrl, secret },
    });
    const halt = new AbortController();
    const halted = revoked.channel.run(async () => undefined, halt.signal);
    await eventually(() => expect(revoked.channel.health().state).toBe('halted'));
    expect(revoked.channel.health().detail).toMatch(/does not accept the bot token/);
    halt.abort();
    await halted;
  });
});
